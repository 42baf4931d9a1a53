"""Off-resonance by time segments against the exact signal equation."""

from itertools import pairwise

import numpy as np
import pytest
from tests.operators.table import difference, phases, trajectory

from rayfold.operators import NUFFT, OffResonance, time_segments

SHAPE, N = (8, 9), 60
FIELD = 60 * np.sin(np.linspace(0, 5, 72)).reshape(SHAPE)
TIMES = np.linspace(1.0, 13.0, N)
K = trajectory(N, 2)


def model(found, field=FIELD):
    return NUFFT(SHAPE, K, basis=found.basis, eps=1e-14) @ OffResonance(field, tuple(found.centres))


def exact(field):
    """``sum_r x_r exp(-i k_j r - 2 pi i f_r t_j)``, times in ms."""
    r = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPE], indexing="ij")).reshape(2, -1)
    phase = K @ r + 2e-3 * np.pi * np.outer(TIMES, field.reshape(-1))
    return np.exp(-1j * phase) / np.sqrt(np.prod(SHAPE))


def error(found, field=FIELD):
    x, truth = phases(SHAPE), exact(field)
    y, back = model(found, field)(x), model(found, field).H(phases((N,)))
    forward = np.linalg.norm(y - truth @ x.reshape(-1)) / np.linalg.norm(y)
    adjoint = np.linalg.norm(back.reshape(-1) - truth.conj().T @ phases((N,))) / np.linalg.norm(back)
    return max(forward, adjoint)


@pytest.mark.parametrize("interpolator", ["measured", "uniform"])
def test_error_falls_with_the_number_of_segments(interpolator):
    errors = [
        error(time_segments(TIMES, FIELD, n_segments=n, interpolator=interpolator)) for n in (1, 3, 5, 7, 9)
    ]
    assert errors[0] > 0.3 and all(b < a / 3 for a, b in pairwise(errors))
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_tolerance_is_kept_by_the_fewest_segments(tolerance):
    found = time_segments(TIMES, FIELD, tolerance=tolerance)
    assert found.error <= tolerance
    assert error(found) < 2 * tolerance
    n = len(found.centres)
    assert n == 3 or time_segments(TIMES, FIELD, n_segments=n - 1).error > tolerance


def test_uniform_interpolators_serve_any_map_within_the_range():
    rng = np.random.default_rng(1)
    still = np.where(rng.random(SHAPE) < 0.5, -60.0, 60.0)  # two frequencies only
    other = rng.uniform(-60, 60, SHAPE)
    found = {
        kind: time_segments(TIMES, still, n_segments=4, interpolator=kind) for kind in ("measured", "uniform")
    }
    assert error(found["measured"], still) < 1e-10  # exact for the map it was made for
    assert error(found["uniform"], other) < 0.1 * error(found["measured"], other)


def test_no_off_resonance_is_no_change():
    zero = np.zeros(SHAPE)
    found = time_segments(TIMES, zero)
    x = phases(SHAPE)
    assert difference(model(found, zero)(x), NUFFT(SHAPE, K, eps=1e-14)(x)) < 1e-12


def test_shots_keep_their_axes():
    found = time_segments(TIMES.reshape(3, 20), FIELD, n_segments=5)
    assert found.basis.shape == (5, 3, 20)
    A = NUFFT(SHAPE, K.reshape(3, 20, 2), basis=found.basis) @ OffResonance(FIELD, tuple(found.centres))
    flat = time_segments(TIMES, FIELD, n_segments=5)
    assert difference(A(phases(SHAPE)).reshape(-1), model(flat)(phases(SHAPE))) < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: time_segments(TIMES, np.full(SHAPE, np.nan)), "must be finite and not empty; mask the map"),
        (lambda: time_segments([], FIELD), "must be finite and not empty"),
        (lambda: time_segments(TIMES, FIELD, n_segments=0), "n_segments is 0; it must be 1 or more"),
        (lambda: time_segments(TIMES, FIELD, interpolator="linear"), "it must be 'measured' or 'uniform'"),
        (lambda: time_segments(TIMES * 1e3, FIELD), "check that times are in ms and the map in Hz"),
        (lambda: OffResonance(FIELD, ()), "at least one segment; time_segments finds them"),
        (lambda: OffResonance(FIELD + 0j, (0.0,)), "real numbers, in Hz"),
        (lambda: OffResonance(FIELD, (0.0,))(np.ones((9, 8))), r"expects \(..., 8, 9\)"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
