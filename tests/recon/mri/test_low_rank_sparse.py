"""Low rank plus sparse: the background and what moves are told apart, from undersampled k-space."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.simulated import coil_maps, nrmse, phantom

from rayfold.operators import CartesianMask, CoilSensitivities, Identity
from rayfold.operators.checks import dot_test
from rayfold.operators.fourier import FFT
from rayfold.recon.mri.low_rank_plus_sparse import LowRankSparsePrior, Total, low_rank_sparse

FRAMES, SHAPE = 12, (16, 18)
STILL = np.broadcast_to(phantom(SHAPE), (FRAMES, *SHAPE))


def moving():
    """A spot that never stays."""
    series = np.zeros((FRAMES, *SHAPE))
    for t in range(FRAMES):
        y, x = 4 + (3 * t) % 8, 5 + (5 * t) % 7
        series[t, y : y + 2, x : x + 2] = 1
    return series


def beating():
    """A region where every pixel repeats in its own rhythm, so that its rank is not low."""
    rng = np.random.default_rng(5)
    series = np.zeros((FRAMES, *SHAPE))
    rhythm, phase = rng.integers(1, 6, (4, 4)), rng.uniform(0, 6, (4, 4))
    t = 2 * np.pi * np.arange(FRAMES)[:, None, None] / FRAMES
    series[:, 6:10, 7:11] = np.cos(rhythm * t + phase)
    return series


def undersampled(rng, part=0.6):
    mask = (rng.random((FRAMES, SHAPE[0], 1)) < part) | (abs(np.arange(SHAPE[0]) - 8) < 3)[:, None]
    return CartesianMask((FRAMES, *SHAPE), mask) @ FFT((FRAMES, *SHAPE), (-2, -1))


@pytest.mark.parametrize(("make", "transform"), [(moving, "none"), (beating, "fourier")])
def test_parts_are_separated(make, transform, rng):
    A, change = undersampled(rng), make()
    y = A(STILL + change + 0j)
    found = low_rank_sparse(A, y, transform=transform)
    assert nrmse(A.H(y), STILL + change) > 0.1
    assert nrmse(found.image, STILL + change) < 0.03
    assert nrmse(found.low_rank, STILL) < 0.03
    assert nrmse(found.sparse, change) < 0.15


def test_multi_coil(rng):
    """The operator of dynamic parallel imaging: coils inside every frame."""
    maps = coil_maps(SHAPE, coils=4)
    mask = (rng.random((FRAMES, 1, SHAPE[0], 1)) < 0.35) | (abs(np.arange(SHAPE[0]) - 8) < 3)[:, None]
    sense = FFT((4, *SHAPE), (-2, -1)) @ CoilSensitivities(maps)
    A = CartesianMask((FRAMES, 4, *SHAPE), mask) @ sense.over((FRAMES,))
    truth = STILL + moving()
    found = low_rank_sparse(A, A(truth + 0j), transform="none", iterations=60)
    inside = abs(maps).max(axis=0) > 0.3
    assert nrmse(found.image * inside, truth * inside) < 0.08


def test_batch_and_scale(rng):
    A = undersampled(rng)
    y = A(STILL + moving() + 0j)
    one = low_rank_sparse(A, y, iterations=15)
    two = low_rank_sparse(A, np.stack([1e3 * y, 2j * y]), iterations=15)
    for part in ("low_rank", "sparse", "image"):
        assert np.allclose(getattr(two, part)[0], 1e3 * getattr(one, part), atol=1e-6)
        assert np.allclose(getattr(two, part)[1], 2j * getattr(one, part), atol=1e-9)


def test_the_objective_falls(rng):
    A = undersampled(rng)
    y = A(STILL + beating() + 0j)
    seen = []
    low_rank_sparse(A, y, iterations=40, callback=lambda status: seen.append(status.objective))
    assert seen[-1] < seen[5] < seen[0]


def test_three_axes():
    series = np.zeros((6, 2, 4, 4)) + phantom((2, 4, 4))
    found = low_rank_sparse(Identity((6, 2, 4, 4)), series + 0j, iterations=20)
    assert found.low_rank.shape == series.shape
    assert nrmse(found.image, series) < 0.05


def test_torch_gives_the_same(rng):
    torch = pytest.importorskip("torch")
    A = undersampled(rng)
    y = A(STILL + beating() + 0j)
    found = low_rank_sparse(A, torch.tensor(y), iterations=5)
    assert np.allclose(found.sparse.numpy(), low_rank_sparse(A, y, iterations=5).sparse)


def test_prox_minimises(rng):
    """Against nearby points: the value of ``1/2 |z - x|^2 + step R(z)``."""
    prior = LowRankSparsePrior(0.3, 0.2)
    x = rng.normal(size=(2, 5, 3, 4)) + 1j * rng.normal(size=(2, 5, 3, 4))

    def cost(z):
        return float(0.5 * (abs(z - x) ** 2).sum() + 0.7 * prior.value(z))

    best = prior.prox(x, 0.7)
    for size in (1e-3, 1e-1):
        for _ in range(20):
            away = rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)
            assert cost(best + size * away) > cost(best)


def test_total_is_an_operator():
    op = Total((2, 3))
    assert op.out_shape == (2, 3)
    assert dot_test(op)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": Identity((4, 4))}, "must be a series"),
        ({"y": np.ones((3, 4, 4))}, "expects"),
        ({"low_rank": 0.0}, "low_rank"),
        ({"transform": "dct"}, "must be 'fourier' or 'none'"),
        ({"y": np.full((2, 4, 4), np.nan)}, "not finite"),
    ],
)
def test_refused(change, message):
    arguments = {"A": Identity((2, 4, 4)), "y": np.ones((2, 4, 4))} | change
    with pytest.raises(ValueError, match=message) as caught:
        low_rank_sparse(**arguments)
    assert "\n" not in str(caught.value)
