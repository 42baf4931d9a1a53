"""Every prior: optimality of its proximal operator, derivatives, libraries, batches and scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.recon.priors.penalties import FAR, NEAR, Kind, each

from rayfold.recon.priors.prior import Analysis, Split

STEP = 0.7


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


def total(values: Any) -> float:
    return float(np.sum(np.asarray(values)))


def rivals(x: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Images near and far from `z`, smoother and rougher."""
    rng = np.random.default_rng(5)
    size = abs(x).max()
    noise = [h * size * rng.standard_normal(x.shape).astype(x.dtype) for h in (1e-4, 1e-2, 1.0)]
    between = [z + t * (x - z) for t in (-0.1, 1e-3, 0.1, 1.0)]
    return [
        *(z + n for n in noise),
        *between,
        0 * z,
        1.01 * z,
        0.99 * z,
        0 * z + z.mean(),
        np.clip(z.real, 0.1, 0.9),
    ]


def check_proximal_point(prior: Any, x: np.ndarray, z: np.ndarray, step: Any, within: float) -> None:
    """``F(a) >= F(z) + |a - z|^2 / 2`` for every a holds at the proximal point and nowhere else.

    F is 1-strongly convex in the metric of the step.
    """

    def objective(a: np.ndarray) -> float:
        return float((abs(a - x) ** 2 / (2 * step)).sum()) + total(prior.value(a))

    at_z, slack = objective(z), within * objective(0.9 * x + 0.1 * x.mean() if within > 1e-11 else z)
    for a in rivals(x, z):
        assert objective(a) >= at_z + float((abs(a - z) ** 2 / (2 * step)).sum()) - slack


# --- the proximal operator ---


@each(exact=True)
@pytest.mark.parametrize("step", [0.05, STEP, 5.0])
def test_prox_is_the_proximal_point(kind: Kind, step: float):
    prior, x = kind.make(1.0, FAR), kind.image()
    check_proximal_point(prior, x, prior.prox(x, step), step, kind.within)


@each(complex=True, exact=True)
def test_prox_of_complex_images(kind: Kind):
    prior, x = kind.make(1.0, FAR), kind.image(kind=np.complex128)
    z = prior.prox(x, STEP)
    assert z.dtype == np.complex128
    check_proximal_point(prior, x, z, STEP, kind.within)
    turned = prior.prox(1j * x, STEP)  # no penalty knows the phase as a whole
    np.testing.assert_allclose(turned, 1j * z, atol=1e-9)


@each(pixels=True, exact=True)
def test_prox_with_a_step_per_pixel(kind: Kind):
    prior, x = kind.make(1.0, FAR), kind.image()
    step = 0.2 + np.random.default_rng(2).random(kind.shape)
    z = prior.prox(x, step)
    check_proximal_point(prior, x, z, step, max(kind.within, 1e-8))
    same = prior.prox(x, np.full(kind.shape, STEP))
    np.testing.assert_allclose(same, prior.prox(x, STEP), atol=30 * kind.within**0.5 + 1e-6)


@each()
def test_prox_with_a_step_per_problem(kind: Kind):
    prior, x = kind.make(1.0, NEAR), kind.image(lead=(2, 3))
    steps = np.array([[0.1, 0.5, 2.0], [0.3, 0.7, 1.0]]).reshape(2, 3, *(1,) * len(kind.shape))
    found, alike = prior.prox(x, steps), prior.prox(x, STEP)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(found[i], prior.prox(x[i], float(steps[i].item())), atol=1e-12)
        np.testing.assert_allclose(alike[i], prior.prox(x[i], STEP), atol=1e-12)
    np.testing.assert_allclose(prior.value(x)[1, 2], prior.value(x[1, 2]), rtol=1e-12)


@each()
def test_no_step_moves_nothing(kind: Kind):
    prior, x = kind.make(1.0, NEAR), np.clip(kind.image(), 0.1, 0.9)
    np.testing.assert_allclose(prior.prox(x, 0.0), x, atol=1e-13)


@each(exact=True)
def test_prox_goes_on_where_it_ended(kind: Kind):
    """Ten short calls from the last inner variables come to where one long call comes to."""
    short, long, x = kind.make(1.0, 1), kind.make(1.0, FAR), kind.image()
    warm = short.warm(x)
    for _ in range(60):
        z, warm = short.prox_from(x, STEP, warm)
    np.testing.assert_allclose(z, long.prox(x, STEP), atol=20 * kind.within**0.5)


@each()
def test_prox_does_not_write_into_its_input(kind: Kind):
    prior, x = kind.make(1.0, NEAR), kind.image()
    kept = x.copy()
    prior.prox(x, STEP)
    prior.value(x)
    np.testing.assert_array_equal(x, kept)


# --- derivatives ---


@each()
def test_gradient_and_curvature(kind: Kind):
    prior, x = kind.make(1.0, NEAR), kind.image()
    if not prior.smooth:
        with pytest.raises(NotImplementedError, match="not smooth"):
            prior.gradient(x)
        return
    g, rng = prior.gradient(x), np.random.default_rng(1)
    for _ in range(5):
        d = rng.standard_normal(x.shape)
        h = 1e-6
        slope = (total(prior.value(x + h * d)) - total(prior.value(x - h * d))) / (2 * h)
        assert slope == pytest.approx(float((g * d).sum()), rel=1e-5)
        bend = float(((prior.gradient(x + d) - g) * d).sum())
        assert 0 <= bend <= float((prior.curvature(x) * d * d).sum()) * (1 + 1e-12)


@each()
def test_value_and_prox_differentiate(kind: Kind):
    """Piecewise smooth maps: a random image lies on no kink."""
    torch = pytest.importorskip("torch")
    prior = kind.make(1.0, 1)
    for name in ("iterations",):
        if hasattr(prior, name):
            prior = type(prior)(**{**vars(prior), name: 3})
    x = torch.as_tensor(kind.image()).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: prior.prox(a, STEP), x, eps=1e-7, atol=1e-4)
    if not kind.name.startswith("box"):
        assert torch.autograd.gradcheck(prior.value, x, eps=1e-7, atol=1e-4)


@each()
def test_flat_images_have_a_gradient(kind: Kind):
    """Where lengths vanish, derivatives are 0, not infinite."""
    torch = pytest.importorskip("torch")
    prior = kind.make(1.0, NEAR)
    x = torch.full(kind.shape, 0.5, dtype=torch.float64, requires_grad=True)
    z = prior.prox(x, STEP)
    if not kind.name.startswith("low rank"):  # equal singular values have no derivative
        (z.sum() + (0 if kind.name == "box" else prior.value(x).sum())).backward()
        assert torch.isfinite(x.grad).all()


# --- libraries ---


@each()
def test_libraries_agree(x64, kind: Kind):
    prior = kind.make(1.0, NEAR)
    for dtype in (np.float64, np.complex128) if kind.complex else (np.float64,):
        x = kind.image(kind=dtype, lead=(2,))
        z, value = prior.prox(x, STEP), prior.value(x)
        for into in (_torch, _jax):
            found = prior.prox(into(x), STEP)
            assert type(found) is type(into(x))
            np.testing.assert_allclose(np.asarray(found), z, atol=1e-10)
            np.testing.assert_allclose(np.asarray(prior.value(into(x))), value, rtol=1e-10)
        jitted = x64.jit(lambda a, s: (prior.prox(a, s), prior.value(a)))
        found, at = jitted(_jax(x), 0.7 * x64.numpy.ones((1,) * len(kind.shape)))
        np.testing.assert_allclose(np.asarray(found), z, atol=1e-10)
        np.testing.assert_allclose(np.asarray(at), value, rtol=1e-10)


@each()
@pytest.mark.parametrize("into", [np.asarray, _torch, _jax])
def test_single_precision_stays_single(kind: Kind, into):
    prior, x = kind.make(1.0, NEAR), kind.image()
    given = into(x.astype(np.float32))
    for step in (STEP, into(np.full((1,) * len(kind.shape), STEP, np.float32))):
        z = prior.prox(given, step)
        assert str(z.dtype).endswith("float32") and str(prior.value(given).dtype).endswith("float32")
        np.testing.assert_allclose(np.asarray(z), prior.prox(x, STEP), atol=2e-5)
    if prior.smooth:
        assert str(prior.gradient(given).dtype).endswith("float32")


# --- scale ---


@each()
@pytest.mark.parametrize(("dtype", "within"), [(np.float32, 2e-5), (np.float64, 1e-10)])
def test_scale(kind: Kind, dtype, within):
    """Hounsfield units or 1/mm: over sixteen decades of the image, two of them per step."""
    x = kind.image(kind=dtype)
    z, value = kind.make(1.0, NEAR).prox(x, STEP), kind.make(1.0, NEAR).value(x)
    for power in range(-8, 9, 2):
        u = 10.0**power
        prior, scaled = kind.make(u, NEAR), (x.astype(np.float64) * u).astype(dtype)
        np.testing.assert_allclose(prior.prox(scaled, STEP) / u, z, atol=within)
        np.testing.assert_allclose(prior.value(scaled) / u / u, value, rtol=10 * within)


@each()
def test_an_empty_image_stays_empty(kind: Kind):
    prior, x = kind.make(1.0, NEAR), np.zeros(kind.shape)
    if kind.name != "box":
        assert prior.value(x) == 0 and not prior.prox(x, STEP).any()


# --- the parts that primal-dual methods use ---


@each()
def test_parts(kind: Kind):
    """Adjoint, norm, and Moreau's identity for g: what `dual_prox` leaves is the threshold of g itself."""
    prior, x = kind.make(1.0, NEAR), kind.image()
    if not isinstance(prior, Split):
        return
    rng, n = np.random.default_rng(4), x.size
    w = prior.auxiliary(x)
    w = None if w is None else rng.standard_normal(w.shape)
    Kx = prior.analyse(x, w)
    z = rng.standard_normal(Kx.shape)
    on_x, on_w = prior.synthesise(z, x)
    paired = (on_x * x).sum() + (0 if w is None else (on_w * w).sum())
    assert (Kx * z).sum() == pytest.approx(paired, rel=1e-12)
    columns = []
    for k in range(n + (0 if w is None else w.size)):
        e = np.eye(1, n + (0 if w is None else w.size), k)[0]
        columns.append(
            prior.analyse(e[:n].reshape(x.shape), None if w is None else e[n:].reshape(w.shape)).ravel()
        )
    norm = np.linalg.norm(np.stack(columns), 2) ** 2
    assert norm <= prior.squared_norm(x) * (1 + 1e-12) and prior.squared_norm(x) < 1.6 * norm
    # the dual point is a projection or a shrinkage: firmly nonexpansive, and idempotent for indicator duals
    a, b = prior.dual_prox(3 * z, 0.4), prior.dual_prox(2.9 * z + 0.1, 0.4)
    assert ((a - b) * (3 * z - 2.9 * z - 0.1)).sum() >= ((a - b) ** 2).sum() - 1e-12


@each()
def test_value_is_attained_by_the_dual(kind: Kind):
    """``sup <K x, p> - g*(p)`` over the dual set is R(x): no p in the set beats the one along K x."""
    prior, x = kind.make(1.0, NEAR), kind.image()
    if not isinstance(prior, Analysis) or prior.smooth:
        return
    Kx = prior.analyse(x, None)
    p = prior.dual_prox(1e12 * Kx, 1.0)
    assert float((p * Kx).sum()) == pytest.approx(total(prior.value(x)), rel=1e-9)
    other = prior.dual_prox(np.random.default_rng(0).standard_normal(Kx.shape), 1.0)
    assert float((other * Kx).sum()) < total(prior.value(x))
