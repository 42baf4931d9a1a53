"""GRAPPA: exact where the neighbours say all, accurate on smooth coils, and plain about what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.simulated import measured, nrmse

from rayfold.recon.mri.grappa_kernels import Grappa, grappa
from rayfold.recon.mri.sampling_patterns import accelerations, lattice, lines_and_columns, patterns

SHAPE = (64, 48)
FULL = measured(SHAPE)


def every(step, n=SHAPE[0], calibration=24, start=1):
    """Every so manieth line, and a block around the centre, as a column."""
    lines = (np.arange(n) % step == start) | (abs(np.arange(n) - n // 2) < calibration // 2)
    return lines[:, None]


# --- accuracy ---


@pytest.mark.parametrize(("step", "bound"), [(2, 0.012), (3, 0.025), (4, 0.06)])
def test_smooth_coils(step, bound):
    mask = every(step)
    found = grappa(FULL * mask, mask)
    assert nrmse(found, FULL) < bound
    assert np.array_equal(found[:, mask[:, 0]], FULL[:, mask[:, 0]])


def regular_3d(z, y):
    return (z % 2 == 0) & (y % 2 == 0)


def sheared_3d(z, y):
    return (z % 2 == 0) & ((y + z // 2) % 2 == 0)


@pytest.mark.parametrize("outside", [regular_3d, sheared_3d])
def test_two_accelerated_axes(outside):
    shape = (20, 24, 18)
    full = measured(shape)
    z, y = np.ogrid[:20, :24]
    mask = (outside(z, y) | ((abs(z - 10) < 6) & (abs(y - 12) < 6)))[:, :, None]
    found = grappa(full * mask, mask, width=3)
    assert nrmse(found, full) < 0.07 < 0.2 < nrmse(full * mask, full)
    assert np.array_equal(found[:, mask[..., 0]], full[:, mask[..., 0]])
    kernels = Grappa.calibrate(full[:, 4:16, 6:18], mask, shape, width=3)
    assert len(kernels.patterns) == 3  # one for each place between the lines
    assert kernels.filled.all()


def test_random_lines():
    lines = np.random.default_rng(4).random(64) < 0.55
    lines[[0, 63]] = True
    mask = lines[:, None] | every(99)
    found = grappa(FULL * mask, mask)
    assert nrmse(found, FULL) < 0.15 * nrmse(FULL * mask, FULL)


def linear_relation(rng, coils=3, n=40, nx=30):
    """k-space whose odd lines are known sums of their even neighbours."""
    k = rng.normal(size=(coils, n, nx)) + 1j * rng.normal(size=(coils, n, nx))
    weights = rng.normal(size=(coils, 2, 3, coils)) + 1j * rng.normal(size=(coils, 2, 3, coils))
    padded = np.pad(k, ((0, 0), (0, 1), (1, 1)))
    for line in range(1, n, 2):
        k[:, line] = sum(
            weights[:, s, j] @ padded[:, line - 1 + 2 * s, j : j + nx] for s in range(2) for j in range(3)
        )
    return k, weights


def test_weights_of_an_exact_relation(rng):
    mask = np.arange(40)[:, None] % 2 == 0
    # only odd lines are such sums: three lines around one of them calibrate
    k, weights = linear_relation(rng, nx=400)
    kernels = Grappa.calibrate(k[:, 10:13], mask, (40, 30), lines=2, width=3, regularisation=0)
    assert np.allclose(kernels.weights[0], weights, atol=1e-6)
    filled = Grappa.calibrate(k[:, 10:13], mask, (40, 400), lines=2, width=3, regularisation=0)(k * mask)
    assert abs(filled - k)[:, 1:-1, 1:-1].max() < 1e-6 * abs(k).max()


def test_regularisation_shrinks_the_weights():
    sizes = []
    for value in (1e-4, 1e-2, 1):
        kernels = Grappa.calibrate(FULL[:, 20:44], every(2), SHAPE, regularisation=value)
        sizes.append(sum(float((abs(w) ** 2).sum()) for w in kernels.weights))
    assert sizes[0] > sizes[1] > sizes[2]


# --- laws ---


def test_scale_batch_and_single_precision(rng):
    mask = every(3)
    one = grappa(FULL * mask, mask)
    many = grappa(np.stack([FULL, 1e-6j * FULL, FULL[::-1]]) * mask, mask)
    assert np.allclose(many[0], one, rtol=0, atol=1e-9 * abs(one).max())
    assert np.allclose(many[1], 1e-6j * one, rtol=0, atol=1e-15 * abs(one).max())
    assert np.allclose(many[2], one[::-1], rtol=0, atol=1e-6 * abs(one).max())
    single = grappa((FULL * mask).astype(np.complex64), mask)
    assert single.dtype == np.complex64
    assert nrmse(single, one) < 1e-4


def test_values_where_nothing_was_measured_do_not_matter():
    mask = every(3)
    assert np.array_equal(grappa(np.where(mask, FULL, 7.0), mask), grappa(FULL * mask, mask))


def test_readout_along_rows():
    mask = every(2)
    turned = grappa(np.moveaxis(FULL * mask, -1, -2), mask.T, readout=-2)
    assert np.allclose(np.moveaxis(turned, -1, -2), grappa(FULL * mask, mask))


def test_separate_calibration():
    mask = np.arange(64)[:, None] % 2 == 0
    small = grappa(FULL * mask, mask, FULL[:, 20:44])
    where = (abs(np.arange(64) - 32) < 12)[:, None]
    grid = grappa(FULL * mask, mask, FULL * where, calibration_sampled=where)
    assert nrmse(small, FULL) < 0.02
    # one calibration for a series
    series = grappa(np.stack([FULL, 2 * FULL])[:, None] * mask, mask, FULL[:, 20:44])
    assert np.allclose(series[0, 0], small)
    assert np.allclose(series[1, 0], 2 * small)
    assert nrmse(grid, FULL) < 0.02


def test_partial_fourier_and_partial_echo_stay_empty():
    mask = every(2) & (np.arange(64) < 48)[:, None] & (np.arange(48) > 5)
    found = grappa(FULL * mask, mask)
    assert not found[:, 49:].any()
    assert not found[..., :6].any()
    # line 48 lies beside a measured one
    assert nrmse(found[:, :48, 8:], FULL[:, :48, 8:]) < 0.03


def test_full_data_are_returned():
    assert np.array_equal(grappa(FULL, np.ones((64, 1), bool)), FULL)


def test_odd_lengths():
    full = measured((63, 47))
    mask = every(3, 63)
    assert nrmse(grappa(full * mask, mask), full) < 0.03


def test_torch_gradient():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    k = torch.tensor(rng.normal(size=(2, 12, 6)) + 1j * rng.normal(size=(2, 12, 6)), requires_grad=True)
    block = torch.tensor(rng.normal(size=(2, 8, 8)) + 1j * rng.normal(size=(2, 8, 8)), requires_grad=True)
    mask = np.arange(12)[:, None] % 2 == 0

    def fill(k, block):
        return grappa(k, mask, block, lines=2, width=3)[:, 1:6]

    with torch.no_grad():
        same = grappa(k.numpy(), mask, block.numpy(), lines=2, width=3)[:, 1:6]
        assert np.allclose(fill(k, block).numpy(), same)
    assert torch.autograd.gradcheck(fill, (k, block), fast_mode=True)


def test_jax():
    jax = pytest.importorskip("jax")
    mask = every(2)
    data = (FULL * mask).astype(np.complex64)
    found = jax.jit(lambda k: grappa(k, mask, lines=2, width=3))(jax.numpy.asarray(data))
    assert nrmse(np.asarray(found), grappa(data, mask, lines=2, width=3)) < 1e-3


# --- patterns ---


def test_lattices():
    line = np.arange(20) % 3 == 1
    assert np.array_equal(lattice(line, accelerations(line))[20:40], line)
    disc = np.hypot(*np.ogrid[-8:9, -8:9]) < 8.5
    z, y = np.ogrid[:17, :17]
    for shape in (regular_3d(z, y), sheared_3d(z, y)):
        cut = shape & disc
        found = lattice(cut, accelerations(cut))
        assert np.array_equal(found[17:34, 17:34], shape)
    assert lattice(np.array([1, 0, 1, 0, 0, 1, 0, 1], bool), (3,)) is None


def test_every_missing_line_has_one_pattern():
    lines = every(4)[:, 0]
    found = patterns(lines, (7,), (4,))
    targets = np.concatenate([p.targets for p in found])
    assert np.array_equal(np.sort(targets), np.flatnonzero(~lines))
    assert len(found) == 3


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampled": (np.arange(64) % 2 == 1)[:, None]}, "the centre of k-space .* was not measured"),
        ({"sampled": (np.arange(64) % 2 == 0)[:, None]}, "calibration block is 1 x 48, a kernel spans"),
        ({"sampled": np.zeros((64, 1), bool), "calibration": FULL}, "marks nothing as measured"),
        ({"sampled": np.ones((63, 1), bool)}, "must broadcast"),
        ({"sampled": np.eye(64, 48, dtype=bool), "calibration": FULL}, "whole lines along the readout"),
        ({"calibration": FULL[:4]}, "calibration has 4 coils, k-space 8; use"),
        ({"calibration": FULL[:, 30:33]}, "measure more calibration lines"),
        ({"width": 4}, "width is 4; it must be odd"),
        ({"lines": 0}, "lines is 0"),
        ({"regularisation": -1.0}, "regularisation is -1.0"),
        ({"readout": 1}, "count the axis from the end"),
        ({"kspace": FULL[0]}, r"must be \(..., coils, 2 axes\)"),
    ],
)
def test_refused(change, message):
    arguments = {"kspace": FULL, "sampled": every(3)} | change
    with pytest.raises(ValueError, match=message) as caught:
        grappa(**arguments)
    assert "\n" not in str(caught.value)


def test_kernels_meet_other_data():
    kernels = Grappa.calibrate(FULL[:, 20:44], every(2), SHAPE)
    with pytest.raises(ValueError, match="k-space has 3 coils, the calibration 8"):
        kernels(FULL[:3])
    with pytest.raises(ValueError, match="these kernels fill"):
        kernels(FULL[:, :60])
    with pytest.raises(ValueError, match="in part only"):
        lines_and_columns(np.eye(4), (4, 4))
