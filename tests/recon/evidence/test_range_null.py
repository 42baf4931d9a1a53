"""The unseen part, what the prior put there, and the lock, against dense linear algebra and exact cases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rayfold.operators import (
    FanBeam,
    Gaussian,
    LinearOperator,
    ParallelBeam,
    PoissonTransmission,
    Select,
    Volume,
    XRay,
)
from rayfold.operators.calculus import Diagonal
from rayfold.recon import CGLS, Problem, phantoms, prepare, run, simulate
from rayfold.recon.evidence import certify
from rayfold.recon.evidence.range_null import TOLERANCE, solve
from rayfold.recon.evidence.system import System, response

FAN = XRay(
    Volume((6, 7), 1.1), FanBeam.evenly(5, 11, pitch=1.3, source_to_axis=30.0, source_to_detector=44.0)
)


class Counted(LinearOperator):
    """An operator that counts its own calls."""

    def __init__(self, op):
        self.op, self.calls = op, {False: 0, True: 0}

    in_shape = property(lambda self: self.op.in_shape)
    out_shape = property(lambda self: self.op.out_shape)

    def apply(self, x, out, *, adjoint, **operands):
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x, *, adjoint):
        self.calls[adjoint] += 1
        return self.op.evaluate(x, adjoint=adjoint)


def truth(problem, x, eps):
    """Unseen part, what was added, and the locked image from the matrix itself."""
    M = problem.A.dense(np.complex128 if problem.A.field == "complex" else np.float64)
    weights = np.broadcast_to(problem.noise.weights(problem.y), problem.y.shape).ravel()
    G = (M.conj().T * weights) @ M
    inverse = np.linalg.inv(G + eps * np.eye(len(G)))
    flat = x.ravel()
    unseen = flat - inverse @ (G @ flat)
    least = inverse @ ((M.conj().T * weights) @ problem.y.ravel())
    added = unseen - (least - inverse @ (G @ least))
    return tuple(v.reshape(x.shape) for v in (unseen, added, unseen + least))


@pytest.fixture
def fan(rng) -> tuple[Problem, np.ndarray]:
    clean = FAN(rng.random(FAN.in_shape))
    sigma = 0.1 * (0.5 + rng.random(FAN.out_shape))
    y = clean + sigma * rng.standard_normal(FAN.out_shape)
    return Problem(FAN, y, Gaussian(sigma)), rng.random(FAN.in_shape)


# --- against the matrix ---


def test_maps_are_those_of_the_matrix(fan):
    problem, x = fan
    c = certify(problem, x, pairs=400)
    unseen, added, lock = truth(problem, x, c.eps)
    size = np.linalg.norm(x)
    assert np.linalg.norm(c.unseen - unseen) < 1e-3 * size
    assert np.linalg.norm(c.added - added) < 2e-3 * size
    assert np.linalg.norm(c.lock(x, pairs=200) - lock) < 1e-3 * size
    assert c.eps == pytest.approx(1 / np.mean(x**2))


@pytest.mark.parametrize("pairs", [11, 14, 20, 30])
def test_shares_are_bracketed_whatever_the_budget(fan, pairs):
    problem, x = fan
    c = certify(problem, x, pairs=pairs)
    unseen, added, _ = truth(problem, x, c.eps)
    size, slack = np.sum(x**2), 1e-9
    assert c.pairs <= pairs
    assert c.unseen_at_least - slack <= np.sum(unseen**2) / size <= c.unseen_at_most + slack
    assert c.unseen_at_least - slack <= c.unseen_share <= c.unseen_at_most + slack
    assert np.sum(added**2) / size <= c.added_at_most + slack
    assert np.linalg.norm(c.unseen - unseen) <= c.unseen_error * np.sqrt(size) + slack
    assert c.unseen_share == pytest.approx(np.sum(c.unseen**2) / size)


def test_counted_photons_weigh_the_maps(rng):
    """The data term's own weights, not one number: dark rays see less."""
    x = 0.05 * rng.random(FAN.in_shape)
    noise = PoissonTransmission(300.0, electronic=4.0)
    problem = Problem(FAN, noise.sample(FAN(x), 3), noise)
    c = certify(problem, x, pairs=400)
    assert np.linalg.norm(c.unseen - truth(problem, x, c.eps)[0]) < 1e-3 * np.linalg.norm(x)


def test_complex_operator(rng):
    d = rng.standard_normal(12) + 1j * rng.standard_normal(12)
    d[::3] = 0
    x = rng.standard_normal(12) + 1j * rng.standard_normal(12)
    A = Diagonal((12,), d)
    problem = Problem(A, A(x) + 0.1, Gaussian(0.3))
    c = certify(problem, x, pairs=200)
    unseen, added, lock = truth(problem, x, c.eps)
    size = np.linalg.norm(x)
    assert np.linalg.norm(c.unseen - unseen) < 1e-3 * size
    assert np.linalg.norm(c.added - added) < 2e-3 * size
    assert np.linalg.norm(c.lock(x, pairs=100) - lock) < 1e-3 * size
    real = certify(problem, np.real(x), pairs=200)  # a real image is a complex one without imaginary part
    assert np.linalg.norm(real.unseen - truth(problem, np.real(x) + 0j, real.eps)[0]) < 1e-3 * size
    assert np.linalg.norm(real.lock(np.real(x), pairs=100) - real.lock(np.real(x) + 0j, pairs=100)) < 1e-9


# --- exact cases ---


def test_unmeasured_pixels_are_unseen(rng):
    rows = (0, 2, 3, 7)
    A = Select((9, 4), rows)
    x = rng.random(A.in_shape) + 0.5
    c = certify(Problem(A, A(x), Gaussian(1e-5)), x)
    mask = np.ones(9, bool)
    mask[list(rows)] = False
    np.testing.assert_allclose(c.unseen[mask], x[mask], rtol=1e-8)
    np.testing.assert_allclose(c.unseen[~mask], 0, atol=1e-8)
    assert c.unseen_share == pytest.approx(np.sum(x[mask] ** 2) / np.sum(x**2))
    np.testing.assert_allclose(c.added, c.unseen, atol=1e-8)  # the minimum-norm solution is 0 there
    assert c.pairs < 15  # two eigenvalues: two steps


@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 3.0, 100.0])
def test_a_pixel_is_seen_as_far_as_the_noise_allows(sigma):
    """For one pixel measured directly, the unseen part is sigma^2 / (sigma^2 + x^2) of it."""
    A = Diagonal((4,), np.ones(4))
    x = np.full(4, 1.7)
    c = certify(Problem(A, x, Gaussian(sigma)), x)
    np.testing.assert_allclose(c.unseen, x * sigma**2 / (sigma**2 + 1.7**2), rtol=1e-10)


def test_masked_fourier_samples(rng):
    """Cartesian sampling: what is not seen is the image of the missing frequencies."""

    class MaskedDFT(LinearOperator):
        field = "complex"
        in_shape = (8, 8)
        out_shape = (8, 8)
        mask = np.arange(8) % 3 == 0

        def apply(self, x, out, *, adjoint, **operands):
            if adjoint:
                out[...] = np.fft.ifft2(x * self.mask, norm="ortho")
            else:
                out[...] = np.fft.fft2(x, norm="ortho") * self.mask

    A = MaskedDFT()
    x = rng.standard_normal((8, 8)) + 1j * rng.standard_normal((8, 8))
    c = certify(Problem(A, A(x), Gaussian(1e-6)), x)
    missing = np.fft.ifft2(np.fft.fft2(x, norm="ortho") * ~A.mask, norm="ortho")
    np.testing.assert_allclose(c.unseen, missing, atol=1e-9)
    assert c.unseen_share == pytest.approx(c.unseen_at_least, abs=1e-9)


def test_images_that_the_data_make_are_seen_and_others_are_not(rng):
    A = Select((8,), (1, 4, 5))
    problem = Problem(A, np.ones(3), Gaussian(1e-6))
    assert certify(problem, A.H(rng.random(3) + 1)).unseen_share < 1e-9
    assert certify(problem, np.array([1.0, 0, 1, 1, 0, 0, 1, 1])).unseen_share == pytest.approx(1)


def test_an_operator_that_sees_nothing_and_an_empty_image():
    A = Diagonal((5,), np.zeros(5))
    c = certify(Problem(A, np.zeros(5), Gaussian(1.0)), np.ones(5))
    assert c.unseen_share == 1 and c.norm == 0 and c.added_share == 1
    full = Diagonal((5,), np.ones(5))
    c = certify(Problem(full, np.ones(5), Gaussian(1.0)), np.zeros(5))
    assert c.unseen_share == 0 and not c.unseen.any() and not c.added.any()
    assert "chi-square 1 per datum" in c.summary()


def test_the_minimum_norm_solution_adds_nothing(fan):
    problem, x = fan
    eps = float(1 / np.mean(x**2))
    least = run(CGLS(damping=eps), problem, 60).x
    c = certify(problem, least, scale=eps**-0.5, pairs=200)
    assert c.added_share < (3 * TOLERANCE) ** 2 < 1e-2 * c.unseen_share
    assert c.eps == pytest.approx(eps)


# --- the lock ---


def test_locking_restores_what_the_data_know_and_keeps_the_rest(rng):
    A = Select((9,), (0, 2, 3))
    x = rng.random(9)
    c = certify(Problem(A, A(x), Gaussian(1e-5)), x)
    broken = x.copy()
    broken[[0, 2]] += 5.0  # against the data
    np.testing.assert_allclose(c.lock(broken), x, atol=1e-8)
    invented = x.copy()
    invented[5] += 5.0  # where the data say nothing
    np.testing.assert_allclose(c.lock(invented), invented, atol=1e-8)


def test_locking_twice_is_locking_once(rng):
    A = XRay(Volume((6, 6)), ParallelBeam.evenly(3, 8))  # 24 data, 36 pixels: all eigenvalues 0 or large
    problem = Problem(A, A(rng.random(A.in_shape)), Gaussian(1e-7))
    x = rng.random(A.in_shape)
    c = certify(problem, x)
    once = c.lock(x, pairs=300)
    assert np.linalg.norm(once - x) > 0.1
    np.testing.assert_allclose(c.lock(once, pairs=300), once, atol=1e-3)


def test_a_locked_image_fits_no_worse_than_the_minimum_norm_solution(rng):
    A = XRay(Volume((6, 6)), ParallelBeam.evenly(3, 8))
    problem = Problem(A, A(rng.random(A.in_shape)) + 0.3 * rng.standard_normal(A.out_shape), Gaussian(0.3))
    c = certify(problem, rng.random(A.in_shape))
    least = run(CGLS(damping=c.eps), problem, 80).x
    _, values, rows = np.linalg.svd(A.dense())
    nothing = rows[int((values > 1e-8 * values[0]).sum()) :]
    assert len(nothing) > 10
    invented = least + (nothing.T @ rng.standard_normal(len(nothing))).reshape(A.in_shape)
    locked = c.lock(invented, pairs=300)
    misfit = [np.linalg.norm(problem.y - A(v)) for v in (locked, least)]
    assert misfit[0] <= misfit[1] * (1 + 1e-6)
    seen = rows[: len(rows) - len(nothing)]
    np.testing.assert_allclose(nothing @ (locked - invented).ravel(), 0, atol=1e-9)
    assert np.linalg.norm(seen @ (locked - invented).ravel()) > 1e-3


def test_locking_moves_each_component_by_its_own_factor(fan):
    """Distance from the data shrinks by eps / (g + eps), component by component."""
    problem, x = fan
    c = certify(problem, x)
    root = np.sqrt(np.broadcast_to(problem.noise.weights(problem.y), problem.y.shape)).ravel()
    M = root[:, None] * FAN.dense()
    left, values, _ = np.linalg.svd(M, full_matrices=False)
    before, after = (left.T @ (root * (problem.y - FAN(v)).ravel()) for v in (x, c.lock(x, pairs=300)))
    np.testing.assert_allclose(after, before * c.eps / (values**2 + c.eps), atol=2e-2 * np.abs(before).max())


# --- laws ---


@pytest.mark.parametrize("power", [-40, -20, 20, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units(fan, power, dtype):
    """Data, noise and image times one number: the same shares, maps times that number."""
    problem, x = fan
    y, sigma, x = (np.asarray(v, dtype) for v in (problem.y, problem.noise.sigma, x))
    unit = certify(Problem(FAN, y, Gaussian(sigma)), x)
    scale = dtype(2.0**power)
    c = certify(Problem(FAN, scale * y, Gaussian(scale * sigma)), scale * x)
    assert c.unseen_share == unit.unseen_share and c.added_share == unit.added_share
    assert c.chi_square == unit.chi_square and c.pairs == unit.pairs
    np.testing.assert_array_equal(c.unseen, scale * unit.unseen)
    np.testing.assert_array_equal(c.lock(scale * x), scale * unit.lock(x))
    assert c.unseen.dtype == c.added.dtype == c.lock(scale * x).dtype == dtype


def test_less_noise_is_never_less_seen(fan):
    problem, x = fan
    shares = [
        certify(Problem(FAN, problem.y, Gaussian(s)), x, pairs=300).unseen_share
        for s in (1e-2, 1e-1, 1.0, 10.0)
    ]
    assert shares == sorted(shares) and shares[-1] > 0.5 > shares[0] > 0


def test_batch_is_a_loop(fan, rng):
    problem, _ = fan
    y = np.stack([[problem.y, 2 * problem.y], [rng.random(FAN.out_shape), 0 * problem.y]])
    x = rng.random((2, 2, *FAN.in_shape))
    whole = certify(Problem(FAN, y, Gaussian(0.2)), x, pairs=14)
    assert whole.views.shape == (2, 2, 5) and whole.unseen.shape == x.shape
    for i in np.ndindex(2, 2):
        one = certify(Problem(FAN, y[i], Gaussian(0.2)), x[i], pairs=14)
        for name in (
            "chi_square",
            "p_value",
            "unseen_share",
            "unseen_at_least",
            "unseen_at_most",
            "added_share",
            "norm",
            "eps",
        ):
            assert getattr(whole, name)[i] == pytest.approx(getattr(one, name), rel=1e-9)
        np.testing.assert_allclose(whole.added[i], one.added, atol=1e-12)
        np.testing.assert_allclose(whole.spectrum[i], one.spectrum)
    assert "4 problems" in whole.summary()


def test_the_budget_of_pairs_is_kept(fan):
    problem, x = fan
    for pairs in (11, 15, 30):
        A = Counted(FAN)
        c = certify(problem._replace(A=A), x, pairs=pairs)
        assert A.calls[False] <= pairs and A.calls[True] <= pairs
        assert max(A.calls.values()) == c.pairs
    A = Counted(FAN)
    certify(problem._replace(A=A), x).lock(x, pairs=9)
    assert A.calls[False] <= 39


# --- the numerics underneath ---


@pytest.mark.parametrize("n", [0, 1, 3, 6, 16])
@pytest.mark.parametrize("known", [False, True])
def test_bounds_of_the_solver(rng, n, known):
    d = np.sqrt(np.r_[0, 0, np.geomspace(1e-3, 1e4, 8)])
    w = rng.random(10) + 0.5
    A = Diagonal((10,), d)
    problem = Problem(A, np.zeros(10), Gaussian.from_weights(w))
    b = rng.standard_normal(10)
    system = System(
        problem, np.array(2.0), response(A, A(rng.standard_normal(10))) if known else np.zeros(11)
    )
    found = solve(system, b, n, tolerance=0.0)
    H = d**2 + 1 / (4 * w)
    missing = d * (b / 2 / H) - found.image
    left = b / 2 - H * found.u
    assert np.sum(left**2 * 4 * w) <= found.white * (1 + 1e-6) + 1e-12
    assert np.sum(left**2 / H) <= found.energy * (1 + 1e-6) + 1e-12
    assert np.linalg.norm(missing) <= found.error * (1 + 1e-6) + 1e-9
    assert np.linalg.norm(missing / (1 + 4 * w * d**2)) <= found.error_unseen * (1 + 1e-6) + 1e-9
    assert found.steps <= n
    if n == 16:
        np.testing.assert_allclose(found.image, d * b / 2 / H, atol=1e-6)


def test_the_preconditioner_is_positive_and_below_its_bound(rng):
    """T is symmetric and positive, and no eigenvalue of T H is below the bound."""
    w = np.exp(rng.uniform(-4, 4, FAN.out_shape))
    system = System(
        Problem(FAN, FAN(rng.random(FAN.in_shape)), Gaussian.from_weights(w)),
        np.array(0.3),
        response(FAN, FAN(rng.standard_normal(FAN.in_shape))),
    )
    n = w.size
    rows = np.eye(n).reshape(n, *FAN.out_shape)
    T = np.stack([system.precondition(row).ravel() for row in rows])
    M = FAN.dense()
    H = M @ M.T + np.diag(1 / w.ravel() / 0.3**2)
    np.testing.assert_allclose(T, T.T, atol=1e-9 * np.abs(T).max())
    assert np.linalg.eigvalsh((T + T.T) / 2)[0] > 0
    assert system.least <= np.linalg.eigvals(T @ H).real.min() * (1 + 1e-9)


def test_data_of_no_weight_say_nothing(rng, fan):
    """They may hold anything, and the rest of the maps is that of the others alone."""
    problem, x = fan
    w = problem.noise.weights(problem.y).copy()
    w[1:3] = w[:, 4] = 0
    noise = Gaussian.from_weights(w)
    c = certify(Problem(FAN, problem.y, noise), x, pairs=400)
    unseen, added, _ = truth(Problem(FAN, problem.y, noise), x, c.eps)
    assert np.linalg.norm(c.unseen - unseen) < 1e-3 * np.linalg.norm(x)
    assert np.linalg.norm(c.added - added) < 2e-3 * np.linalg.norm(x)
    other = certify(Problem(FAN, np.where(w > 0, problem.y, 1e6), noise), x)
    np.testing.assert_array_equal(other.unseen, certify(Problem(FAN, problem.y, noise), x).unseen)
    np.testing.assert_array_equal(other.added, certify(Problem(FAN, problem.y, noise), x).added)


@pytest.mark.parametrize("axis", [-1, -2])
def test_correlated_noise(rng, axis):
    n = FAN.out_shape[axis]
    root = rng.standard_normal((n, n)) + 3 * np.eye(n)
    covariance = 0.01 * root @ root.T
    x = rng.random(FAN.in_shape)
    problem = Problem(FAN, FAN(x) + 0.1, Gaussian(covariance=covariance, axis=axis))
    c = certify(problem, x, pairs=400)
    inverse = np.linalg.inv(covariance)
    W = (
        np.kron(np.eye(FAN.out_shape[0]), inverse)
        if axis == -1
        else np.kron(inverse, np.eye(FAN.out_shape[1]))
    )
    M = FAN.dense()
    G = M.T @ W @ M
    unseen = c.eps * np.linalg.solve(G + c.eps * np.eye(len(G)), x.ravel())
    assert np.linalg.norm(c.unseen.ravel() - unseen) < 1e-3 * np.linalg.norm(x)
    assert np.sum(unseen**2) <= c.unseen_at_most * np.sum(x**2) * (1 + 1e-9)


@pytest.mark.parametrize("photons", [1e3, 3e4])
def test_a_thorax_in_counted_photons_is_resolved_within_the_budget(photons):
    """Weights over more than two decades; the truth by dense linear algebra."""
    beam = FanBeam.evenly(40, 90, pitch=10.0, source_to_axis=595.0, source_to_detector=1085.6)
    A = XRay(Volume((64, 64), 400 / 64), beam)
    table = phantoms.thorax_table(0)
    scan = prepare(simulate(table, beam, PoissonTransmission(photons), seed=1))
    y, x = (v.astype(np.float64) for v in (scan.sinograms, phantoms.ellipses(A.volume, table).array))
    c = certify(Problem(A, y, PoissonTransmission(photons)), x)
    M = A.dense()
    variance = c.eps / PoissonTransmission(photons).weights(y).ravel()
    assert variance.max() > 100 * variance.min()
    unseen = x.ravel() - M.T @ np.linalg.solve(M @ M.T + np.diag(variance), M @ x.ravel())
    share, size = np.sum(unseen**2) / np.sum(x**2), np.linalg.norm(x)
    assert c.pairs <= 30
    assert np.linalg.norm(c.unseen.ravel() - unseen) < 0.06 * size
    assert c.unseen_at_least <= share <= c.unseen_at_most
    assert c.unseen_at_most < 1.5 * (x.ravel() @ unseen) / size**2  # what the bound would settle at
    if photons == 1e3:
        assert c.unseen_share == pytest.approx(share, rel=0.25)


def test_bounds_tighten_with_steps(fan):
    problem, x = fan
    found = [certify(problem, x, pairs=pairs) for pairs in range(11, 60, 4)]
    tops = [c.unseen_at_most for c in found]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(tops))
    assert found[-1].unseen_error < 0.1 * found[0].unseen_error
    assert found[-1].unseen_at_least > 0.5 * tops[-1]


def test_nothing_that_is_unseen_is_ever_called_seen(rng):
    """Many rays' worth of noise-free data and few steps: the null space must be in the map whole."""
    A = XRay(Volume((16, 16)), ParallelBeam.evenly(6, 24))
    x = rng.random(A.in_shape)
    _, values, rows = np.linalg.svd(A.dense())
    nothing = rows[int((values > 1e-8 * values[0]).sum()) :]
    for sigma in (1e-1, 1e-3, 1e-5):
        c = certify(Problem(A, A(x), Gaussian(sigma)), x, pairs=12)
        np.testing.assert_allclose(nothing @ c.unseen.ravel(), nothing @ x.ravel(), atol=1e-9)
        assert c.unseen_share >= np.sum((nothing @ x.ravel()) ** 2) / np.sum(x**2)
