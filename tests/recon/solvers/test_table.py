"""Every solver of the table: one answer in every library, the stated minimiser, and the laws of scale."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest
from tests.recon.solvers.minimisers import Dense
from tests.recon.solvers.table import BIG, STEPS, A, Case, convert, each, one_of, problem, true_image

from rayfold.operators import Gaussian
from rayfold.recon.solvers import run


def _torch(values: Any) -> Any:
    return pytest.importorskip("torch").as_tensor(values)


def _jax(values: Any) -> Any:
    return pytest.importorskip("jax").numpy.asarray(values)


@pytest.fixture
def x64():
    """Double precision in JAX for one test."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64():
        yield jax


def near(found: Any, expected: np.ndarray, within: float) -> None:
    """Equal to a part of the largest value."""
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=within * abs(expected).max())


def arrays(state: Any) -> list[Any]:
    """The arrays of a state, those inside tuples too; operators are left out."""
    if isinstance(state, tuple):
        return [found for part in state for found in arrays(part)]
    return [state] if hasattr(state, "dtype") and hasattr(state, "shape") else []


# --- every library, one answer ---


@each()
def test_libraries_agree(x64, case: Case):
    given, _ = problem(case.kind)
    expected = run(case.solver, given, STEPS)
    for into in (_torch, _jax):
        found = run(case.solver, convert(given, into), STEPS)
        assert type(found.x) is type(into(given.y)) and str(found.x.dtype).endswith("float64")
        near(found.x, expected.x, 1e-5)
        near(found.state.residual, expected.state.residual, 1e-5)


@each()
def test_steps_under_jit(x64, case: Case):
    given, _ = problem(case.kind)
    jax_problem = convert(given, _jax)
    fixed = case.kind == "transmission"  # a noise of plain numbers is part of the program, arrays are not

    def own(y, noise):
        return jax_problem._replace(y=y, noise=jax_problem.noise if fixed else noise)

    init = x64.jit(lambda y, noise: case.solver.init(own(y, noise)))
    step = x64.jit(lambda y, noise, state: case.solver.step(own(y, noise), state))
    y, noise = jax_problem.y, None if fixed else jax_problem.noise
    state = init(y, noise)
    for _ in range(STEPS):
        state = step(y, noise, state)
    near(state.x, run(case.solver, given, STEPS).x, 1e-5)


@each()
@pytest.mark.parametrize("into", [np.asarray, _torch, _jax])
def test_single_precision_stays_single(case: Case, into):
    given = convert(problem(case.kind, dtype=np.float32)[0], into)
    found = run(case.solver, given, case.settled)
    assert type(found.x) is type(given.y)
    assert all(str(part.dtype).endswith("float32") for part in arrays(found.state))
    expected = run(case.solver, problem(case.kind)[0], case.settled).x
    near(found.x, expected, case.rounding)


# --- what is computed ---


@each()
def test_converges_to_its_minimiser(case: Case):
    given, _ = problem(case.kind, consistent=case.consistent)
    exact = true_image(case.kind) if case.exact is None else case.exact(Dense.of(given)).reshape(A.in_shape)
    near(run(case.solver, given, case.steps).x, exact, case.within)


@each()
def test_residual_is_that_of_the_image(case: Case):
    given, _ = problem(case.kind)
    found = run(case.solver, given, 5)
    r = given.A(found.x) - given.y
    assert found.state.residual == pytest.approx(np.sqrt((r * given.weigh(r)).sum()), rel=1e-9)


# --- laws ---


@each()
def test_batch_is_a_loop(case: Case):
    given, _ = problem(case.kind, batch=(2, 2))
    found = run(case.solver, given, STEPS)
    assert found.x.shape == (2, 2, *A.in_shape) and found.state.residual.shape == (2, 2)
    for i in np.ndindex(2, 2):
        near(found.x[i], run(case.solver, one_of(given, i), STEPS).x, 1e-9)


@each()
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale(case: Case, dtype):
    """Photon counts or 1/nm: the image scales with the data, over eight decades."""
    given, units = problem(case.kind, dtype=dtype)
    double = 1e-8 if case.rounding <= 2e-4 else 1e-7  # a line search on rounded sums takes other turns
    n, within = (case.short, 1e-5) if dtype is np.float32 else (STEPS, double)
    unit = run(case.make(units), given, n).x
    for power in range(-4, 5, 2):
        scaled, units = problem(case.kind, dtype=dtype, scale=10.0**power)
        near(run(case.make(units), scaled, n).x / 10.0**power, unit, within)


@each()
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_data_no_image(case: Case, dtype):
    given, _ = problem(case.kind, dtype=dtype)
    found = run(case.solver, given._replace(y=np.zeros_like(given.y)), 3)
    assert abs(found.x).max() <= 1e-30 and found.x.dtype == dtype and np.isfinite(found.state.residual)


@each()
def test_single_precision_stays_finite_after_convergence(case: Case):
    given, _ = problem(case.kind, dtype=np.float32, consistent=True)
    assert np.isfinite(run(case.solver, given, min(case.steps, 300)).x).all()


# --- bad input ---


@each()
def test_bad_input_is_refused(case: Case):
    given, _ = problem(case.kind)
    bad = given.y.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="the data hold 1 values that are not finite"):
        run(case.solver, given._replace(y=bad), 1)
    with pytest.raises(ValueError, match=r"expects \(..., 12, 9\), got \(9, 12\)"):
        run(case.solver, given._replace(y=given.y.T), 1)
    with pytest.raises(ValueError, match="x0 has shape"):
        run(case.solver, given, 1, x0=np.ones((5, 4)))
    with pytest.raises(ValueError, match="negative values; an inverse variance is 0 or more"):
        run(case.solver, given._replace(noise=Gaussian.from_weights(-np.ones_like(given.y))), 1)
    with pytest.raises(TypeError, match="floating-point"):
        run(case.solver, given._replace(y=np.ones(A.out_shape, int)), 1)


# --- memory ---


@each()
def test_memory_of_a_step(case: Case):
    """Peak beyond the old state: `images` of its largest arrays and one of the data."""
    given, _ = problem(case.kind, op=BIG, dtype=np.float32)
    solver = case.solver
    state = solver.step(given, solver.init(given))  # what is made once is made
    largest = max(part.nbytes for part in arrays(state))
    gc.collect()
    tracemalloc.start()
    new = solver.step(given, state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert new.x.dtype == np.float32
    assert peak <= 1.02 * (case.images * largest + case.data * given.y.nbytes)
