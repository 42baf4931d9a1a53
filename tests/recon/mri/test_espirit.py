"""ESPIRiT: against known maps, SigPy, finite differences, and its own symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import coil_maps, disc, grid, measured, misfit

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.combine import combine_mvue
from rayfold.recon.mri.espirit_maps import calibration_matrix, espirit
from rayfold.recon.mri.virtual_coil import virtual_coil


@pytest.mark.parametrize("shape", [(32, 32), (33, 30), (31, 40)])
def test_known_maps(shape):
    """Maps to 1 % (sine of the angle, 99 of 100 voxels of the object), odd and even sizes."""
    y, image, truth = measured(shape)
    found = espirit(y, width=20, threshold=1e-3, crop=0.8)
    inside = abs(image) > 0
    assert found.maps.shape == y.shape and found.eigenvalues.shape == shape
    assert np.quantile(misfit(found.maps, truth)[inside], 0.99) < 0.01
    assert found.eigenvalues[inside].min() > 0.98 and found.eigenvalues.max() < 1 + 1e-9
    np.testing.assert_allclose((abs(found.maps) ** 2).sum(axis=0)[inside], 1, atol=1e-9)


def test_ten_lines():
    """From ten lines of a long readout, 0::4 elsewhere: still the maps."""
    y, image, truth = measured((64, 48), noise=1e-3)
    lines = np.arange(64) % 4 == 0
    lines[27:37] = True
    found = espirit(y * lines[:, None], sampled=lines[:, None])
    inside = abs(image) > 0
    assert (found.maps[:, inside] != 0).any(axis=0).mean() > 0.98
    assert np.median(misfit(found.maps, truth)[inside]) < 0.01


def test_nothing_outside_the_object():
    y = measured((48, 48), noise=1e-3)[0]
    far = grid((48, 48))
    outside = far[0] ** 2 + far[1] ** 2 > 1.2
    assert (espirit(y, crop=0.9).maps[:, outside] == 0).all()


def test_soft_mask_is_between():
    """The soft mask equals the sharp one away from the step and never leaves it by more than the step."""
    y = measured(noise=1e-3)[0]
    plain = espirit(y, crop=0.0)
    soft = espirit(y, crop=0.8, soft=0.1)
    weight = np.sqrt((abs(soft.maps) ** 2).sum(axis=0))
    e = plain.eigenvalues
    t = np.clip((e - 0.7) / 0.2, 0, 1)
    np.testing.assert_allclose(weight, t**2 * (3 - 2 * t), atol=1e-12)
    assert ((weight > 0.01) & (weight < 0.99)).any()


def test_two_sets_for_an_object_larger_than_the_field_of_view():
    """An object folded onto itself has two eigenvalues of 1 where it overlaps; two maps explain it."""
    full, inner = (64, 32), (40, 32)
    image, maps = disc(full, 0.75), coil_maps(full, 8)
    y = fft(maps * image, (1, 2))
    # every 64/40th line: the object of 48 voxels is seen in a window of 40 and folds
    position = (np.arange(40) - 20) * 64 / 40
    kernel = np.exp(-2j * np.pi * np.outer(position, np.arange(64) - 32) / 64) / 8
    y = np.einsum("ky,cyx->ckx", kernel, ifft(y, (1, 2)))
    y = fft(y, (2,))
    one, two = (espirit(y, sets=n, width=28, threshold=2e-3, crop=0.9) for n in (1, 2))
    assert two.maps.shape == (8, 2, *inner) and two.eigenvalues.shape == (2, *inner)
    folded, overlap = ifft(y, (1, 2)), two.eigenvalues[1] > 0.95

    def unexplained(found):
        m = found.maps if found.maps.ndim == 4 else found.maps[:, None]
        basis = np.moveaxis(m, (0, 1), (-2, -1))
        x = np.moveaxis(folded, 0, -1)[..., None]
        left = (x - basis @ (np.conj(np.swapaxes(basis, -1, -2)) @ x))[overlap]
        return np.linalg.norm(left) / np.linalg.norm(x[overlap])

    assert unexplained(one) > 0.1
    assert unexplained(two) < 0.02
    assert overlap[[1, -2], 16].all() and not overlap[20, 16]


def test_scale_and_coil_order():
    y = measured(noise=1e-3)[0]
    base = espirit(y)
    scaled = espirit(1e-9j * y)
    np.testing.assert_allclose(scaled.maps, base.maps, atol=1e-6)
    order = np.array([3, 0, 5, 1, 4, 2])
    turned = espirit(y[order]).maps
    # the reference phase is unique up to one constant: its largest weight may be another coil
    reference = np.vdot(base.maps[order], turned)
    np.testing.assert_allclose(turned, base.maps[order] * reference / abs(reference), atol=1e-6)


def test_phase_is_that_of_the_virtual_coil():
    y = measured()[0]
    maps = espirit(y, width=20).maps
    along = np.tensordot(virtual_coil(y[:, 6:26, 6:26]).conj(), maps, 1)
    assert abs(along.imag).max() < 1e-9 and along.real.min() >= 0


def test_batch_is_a_loop():
    y = np.stack([measured(seed=s, noise=2e-3)[0] for s in range(3)]).astype(np.complex64)
    together = espirit(y, ndim=2)
    for i in range(3):
        one = espirit(y[i])
        assert (together.maps[i] == one.maps).all()
        assert (together.eigenvalues[i] == one.eigenvalues).all()


def test_three_dimensions():
    maps, image = coil_maps((12, 16, 18), 5), disc((12, 16, 18))
    found = espirit(fft(maps * image, (1, 2, 3)), kernel=3, threshold=1e-3, crop=0.7)
    assert np.median(misfit(found.maps, maps)[abs(image) > 0]) < 0.02


def test_slabs_do_not_change_the_maps(monkeypatch):
    y = measured()[0]
    whole = espirit(y).maps
    monkeypatch.setattr("rayfold.recon.mri.espirit_maps.SLAB", 6 * 6 * 32 * 5)
    np.testing.assert_allclose(espirit(y).maps, whole, atol=1e-12)


def test_calibration_block_alone():
    y = measured()[0]
    whole, block = espirit(y, width=20), espirit(y[:, 6:26, 6:26], shape=(32, 32))
    assert (whole.maps == block.maps).all()


def test_intensity():
    """With intensity, maps are the unit ones times the brightness: an image made with them is flatter."""
    y = measured((48, 48))[0]
    plain, weighted = espirit(y, soft=0), espirit(y, soft=0, intensity=True)
    ratio = np.sqrt((abs(weighted.maps) ** 2).sum(axis=0))
    assert ratio.max() <= 1 + 1e-9 and ratio.max() > 0.9
    inside = grid((48, 48))[0] ** 2 + grid((48, 48))[1] ** 2 < 0.3
    x = [abs(combine_mvue(ifft(y, (1, 2)), m.maps))[inside] for m in (plain, weighted)]
    assert x[1].std() / x[1].mean() < 0.7 * x[0].std() / x[0].mean()
    np.testing.assert_allclose(weighted.maps, plain.maps * ratio, atol=1e-9)


def test_calibration_matrix_holds_every_patch(rng):
    block = rng.standard_normal((2, 5, 4))
    found = calibration_matrix(block, (3, 2))
    windows = np.lib.stride_tricks.sliding_window_view(block, (3, 2), axis=(1, 2))
    assert (found == windows.transpose(0, 3, 4, 1, 2).reshape(12, 9)).all()


# --- other libraries and derivatives ---


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_torch_is_numpy(dtype):
    torch = pytest.importorskip("torch")
    y = measured(noise=1e-3)[0].astype(dtype)
    ours, theirs = espirit(y), espirit(torch.as_tensor(y))
    tolerance = 2e-3 if dtype == "complex64" else 1e-8
    assert str(theirs.maps.dtype).endswith(dtype) and ours.maps.dtype == dtype
    sure = abs(ours.eigenvalues - 0.9) > 1e-3
    np.testing.assert_allclose(theirs.maps.numpy()[:, sure], ours.maps[:, sure], atol=tolerance)
    np.testing.assert_allclose(theirs.eigenvalues, ours.eigenvalues, atol=tolerance)


def test_jax_compiled_is_numpy():
    jax = pytest.importorskip("jax")
    y, image, _ = measured((12, 12), coils=3)
    ours = espirit(y.astype(np.complex64), kernel=3, crop=0.0)
    theirs = jax.jit(lambda v: espirit(v, kernel=3, crop=0.0))(jax.numpy.asarray(y.astype(np.complex64)))
    np.testing.assert_allclose(theirs.eigenvalues, ours.eigenvalues, atol=1e-3)
    inside = abs(image) > 0
    np.testing.assert_allclose(np.asarray(theirs.maps)[:, inside], ours.maps[:, inside], atol=5e-3)


@pytest.mark.parametrize("options", [{"crop": 0.0}, {"crop": 0.5, "soft": 0.5, "intensity": True}])
def test_gradcheck(options):
    """Maps and eigenvalues differentiate with respect to k-space: the phase reference fixes the gauge."""
    torch = pytest.importorskip("torch")
    y = torch.as_tensor(measured((7, 6), coils=3, noise=0.01)[0], dtype=torch.complex128)
    y.requires_grad_(True)
    torch.autograd.gradcheck(
        lambda v: espirit(v, kernel=2, threshold=0.1, shape=(4, 5), **options), y, atol=1e-4, fast_mode=True
    )


def test_sigpy():
    """The same settings give SigPy's eigenvectors where its power iteration has one to find."""
    app = pytest.importorskip("sigpy.mri.app")
    y, image, _ = measured((32, 32), coils=5, noise=2e-3)
    options = {"kernel_width": 5, "thresh": 0.02, "crop": 0.0}
    theirs = app.EspiritCalib(y, calib_width=18, show_pbar=False, **options).run()
    ours = espirit(y, width=18, kernel=5, threshold=0.02, crop=0.0).maps
    assert misfit(ours, theirs)[abs(image) > 0].max() < 1e-3


# --- bad input ---


def test_too_few_lines():
    y = measured()[0]
    lines = abs(np.arange(32) - 16) < 2
    with pytest.raises(ValueError, match=r"\(3, 32\) calibration lines are too few"):
        espirit(y, sampled=lines[:, None])
    with pytest.raises(ValueError, match="too few"):
        espirit(y, width=6, kernel=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": 7}, "sets is 7"),
        ({"threshold": 0.0}, "threshold 0.0"),
        ({"crop": 1.0}, "crop 1.0"),
        ({"kernel": (3, 3, 3)}, "kernel is"),
        ({"shape": (32,)}, "must have 2 axes"),
        ({"ndim": 3}, "no coil axis"),
        ({"sampled": np.ones((5, 7), bool)}, "must broadcast"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        espirit(measured()[0], **options)


def test_nan_and_nothing():
    y = measured()[0]
    with pytest.raises(ValueError, match="nothing to calibrate"):
        espirit(0 * y)
    y[2, 16, 16] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        espirit(y)
