"""Masks: exact positions, exact numbers, fastMRI's own drawing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.recon.trajectories import (
    actual_acceleration,
    equispaced,
    fastmri_mask,
    gaussian_mask,
    partial_fourier,
    poisson_disc,
    random_mask,
)


def transcribed(kind, n, acceleration, fraction, name):
    """fastMRI's rule written out once more, with torch's place taken by lists."""
    state = np.random.RandomState()
    state.seed([ord(letter) for letter in name])
    pick = state.randint(1)
    assert pick == 0
    low = round(n * fraction)
    lines = set()
    if kind == "random":
        probability = (n / acceleration - low) / (n - low)
        lines = {i for i, u in enumerate(state.uniform(size=n)) if u < probability}
    elif kind == "equispaced":
        lines = set(range(state.randint(0, high=round(acceleration)), n, acceleration))
    else:
        adjusted = (acceleration * (low - n)) / (low * acceleration - n)
        offset, i = state.randint(0, high=round(adjusted)), 0
        while offset + i * adjusted < n - 1:
            lines.add(round(offset + i * adjusted))  # half to even, as NumPy's around
            i += 1
    pad = (n - low + 1) // 2
    return sorted(lines | set(range(pad, pad + low)))


@pytest.mark.parametrize("kind", ["random", "equispaced", "equispaced_fraction"])
@pytest.mark.parametrize(("rate", "fraction"), [(4, 0.08), (8, 0.04)])
@pytest.mark.parametrize("n", [368, 372, 320, 33])
def test_fastmri_masks_are_those_of_the_file_name(kind, rate, fraction, n):
    for name in ("file1000001.h5", "file1002571.h5", "file_brain_AXT2_200_2000019.h5"):
        mask = fastmri_mask(n, kind, acceleration=rate, center_fraction=fraction, seed=name)
        assert np.flatnonzero(mask).tolist() == transcribed(kind, n, rate, fraction, name)
        again = fastmri_mask(n, kind, acceleration=rate, center_fraction=fraction, seed=tuple(map(ord, name)))
        np.testing.assert_array_equal(mask, again)


def test_fastmri_positions_written_down():
    """Drawn by NumPy's legacy generator, whose stream is frozen: they may never move."""
    mask = fastmri_mask(64, "random", acceleration=4, center_fraction=0.08, seed="file1000001.h5")
    assert np.flatnonzero(mask).tolist() == [3, 6, 7, 11, 15, 16, 30, 31, 32, 33, 34, 35, 38, 48, 50, 52, 57]
    mask = fastmri_mask(
        64, "equispaced_fraction", acceleration=4, center_fraction=0.08, seed="file1000001.h5"
    )
    assert np.flatnonzero(mask).tolist() == [3, 8, 14, 19, 24, 30, 31, 32, 33, 34, 35, 41, 46, 51, 57, 62]


def test_fastmri_actual_acceleration_is_not_the_nominal_one():
    names = [f"file{1000000 + i}.h5" for i in range(60)]
    rate = {
        kind: [actual_acceleration(fastmri_mask(368, kind, seed=name)) for name in names]
        for kind in ("random", "equispaced", "equispaced_fraction")
    }
    assert np.std(rate["random"]) > 0.2 and abs(368 / 4 - np.mean(368 / np.array(rate["random"]))) < 3
    assert max(rate["equispaced"]) < 3.3
    assert np.abs(np.array(rate["equispaced_fraction"]) - 4).max() < 0.15


def test_fastmri_draws_one_of_several_accelerations():
    rates = [
        round(actual_acceleration(fastmri_mask(368, "equispaced_fraction", acceleration=(4, 8),
                                               center_fraction=(0.08, 0.04), seed=f"f{i}.h5")))
        for i in range(40)
    ]  # fmt: skip
    assert set(rates) == {4, 8} and 8 <= rates.count(8) <= 32


def test_fastmri_without_a_seed_and_with_an_offset():
    drawn = {fastmri_mask(256).tobytes() for _ in range(4)}
    assert len(drawn) == 4
    mask = fastmri_mask(32, "equispaced", center_fraction=0.0, offset=3)
    assert np.flatnonzero(mask).tolist() == list(range(3, 32, 4))


def test_no_global_random_state_is_touched():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.RandomState(5).uniform()
    fastmri_mask(64, seed="a.h5")
    random_mask(64, 4, seed=1)
    assert np.random.uniform() == expected  # noqa: NPY002


@pytest.mark.parametrize("n", [12, 13, 256])
@pytest.mark.parametrize("rate", [1, 2, 3, 5])
def test_equispaced_holds_the_centre_and_every_r_th_line(n, rate):
    mask = equispaced(n, rate)
    assert mask[n // 2] and set(np.diff(np.flatnonzero(mask))) <= {rate}
    assert np.flatnonzero(equispaced(n, rate, offset=rate - 1))[0] == rate - 1
    block = equispaced(n, rate, calibration=6)
    assert block[n // 2 - 3 : n // 2 + 3].all() and block.sum() >= mask.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.floats(1, 9), st.integers(0, 3), st.integers(0, 9))
def test_random_masks_have_exactly_the_number_asked_for(ny, nx, rate, calibration, seed):
    for make in (random_mask, gaussian_mask):
        count = round(ny * nx / rate)
        if count < calibration**2:
            with pytest.raises(ValueError, match="calibration"):
                make((ny, nx), rate, calibration=calibration, seed=seed)
            continue
        mask = make((ny, nx), rate, calibration=calibration, seed=seed)
        assert mask.sum() == count
        low = ny // 2 - calibration // 2, nx // 2 - calibration // 2
        assert mask[low[0] : low[0] + calibration, low[1] : low[1] + calibration].all()
        np.testing.assert_array_equal(mask, make((ny, nx), rate, calibration=calibration, seed=seed))


def test_seeds_differ_and_density_is_gaussian():
    assert not np.array_equal(random_mask(256, 4, seed=0), random_mask(256, 4, seed=1))
    k = np.abs(np.arange(256) - 128) / 128
    picks = np.mean([gaussian_mask(256, 10, width=0.25, seed=s) for s in range(400)], axis=0)
    inner, middle, outer = (picks[(k >= a) & (k < b)].mean() for a, b in ((0, 0.1), (0.3, 0.4), (0.7, 0.8)))
    assert inner > 1.5 * middle > 6 * outer
    flat = np.mean([random_mask(256, 10, seed=s) for s in range(400)], axis=0)
    assert abs(flat[k < 0.5].mean() / flat[k >= 0.5].mean() - 1) < 0.05


def nearest(mask, where):
    points = np.argwhere(mask)
    from scipy.spatial import cKDTree

    return cKDTree(points).query(np.argwhere(mask & where), k=2)[0][:, 1]


@pytest.mark.parametrize(("shape", "rate"), [((96, 96), 4), ((128, 80), 8), ((61, 75), 2.5)])
def test_poisson_disc_has_the_number_and_keeps_the_distance(shape, rate):
    mask = poisson_disc(shape, rate, calibration=8, slope=2.0, seed=3)
    assert mask.sum() == round(shape[0] * shape[1] / rate)
    y, x = ((np.arange(n) - n // 2) / (n / 2) for n in shape)
    k = np.hypot(y[:, None], x)
    assert not mask[k > 1].any()
    inside, outside = nearest(mask, (k > 0.3) & (k < 0.5)), nearest(mask, (k > 0.8) & (k < 1))
    assert outside.mean() > 1.15 * inside.mean()
    # random points of the same density come as near as one voxel; these do not
    loose = random_mask(shape, 1 / mask[(k > 0.8) & (k < 1)].mean(), seed=0)
    assert nearest(loose, k > 0).min() == 1
    if rate >= 4:
        assert outside.min() > 1.4


def test_poisson_disc_of_one_density_is_even():
    mask = poisson_disc((120, 120), 9, slope=0, corners=True, seed=1)
    distances = nearest(mask, np.ones_like(mask))
    assert distances.min() >= 2 and mask.sum() == 1600
    counts = mask.reshape(6, 20, 6, 20).sum(axis=(1, 3))
    assert counts.std() < 4.0  # Poisson's law would give 6.7


def test_poisson_disc_seeds():
    first = poisson_disc((64, 64), 5)
    np.testing.assert_array_equal(first, poisson_disc((64, 64), 5))
    assert not np.array_equal(first, poisson_disc((64, 64), 5, seed=1))


@pytest.mark.parametrize("n", [8, 9, 256])
@pytest.mark.parametrize("fraction", [0.625, 0.75, 1.0])
def test_partial_fourier_keeps_the_centre(n, fraction):
    late, early = partial_fourier(n, fraction, early=False), partial_fourier(n, fraction)
    assert late.sum() == early.sum() == np.ceil(fraction * n)
    assert late[n // 2] and early[n // 2] and late[0] and early[-1]
    np.testing.assert_array_equal(late, early[::-1])


def test_actual_acceleration():
    assert actual_acceleration(np.eye(4)) == 4.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: equispaced(16, 2.5), "no whole distance.*fastmri_mask"),
        (lambda: equispaced(16, 4, offset=4), "offset 4 is not 0 to 3"),
        (lambda: equispaced(16, 4, calibration=17), "does not fit k-space"),
        (lambda: random_mask(16, 0.5), "at least 1"),
        (lambda: random_mask(0, 2), "needs at least 1"),
        (lambda: random_mask(64, 8, calibration=24), "allows 8 positions, calibration alone takes 24"),
        (lambda: gaussian_mask(64, 4, width=0), "width 0 must be positive"),
        (lambda: poisson_disc((64,), 4), "has 1 axes"),
        (lambda: poisson_disc((64, 64), 4, slope=-1), "slope -1"),
        (lambda: poisson_disc((64, 64), 1.1), "use corners=True"),
        (lambda: partial_fourier(64, 0.5), "not above 0.5"),
        (lambda: actual_acceleration(np.zeros(4)), "measures nothing"),
        (lambda: fastmri_mask(64, "magic"), "'magic' is not one of 'random'"),
        (lambda: fastmri_mask(64, acceleration=(4, 8)), "2 accelerations and 1 center fractions"),
        (lambda: fastmri_mask(64, acceleration=16), "the middle takes 5; lower one"),
        (lambda: fastmri_mask(64, "equispaced", acceleration=3.5), "use kind 'equispaced_fraction'"),
        (lambda: fastmri_mask(64, "equispaced", offset=64), "offset 64 is not one of the 64 columns"),
        (lambda: fastmri_mask(64, center_fraction=1.0), "0 <= share < 1"),
    ],
)
def test_bad_input_is_one_line_with_a_cure(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
