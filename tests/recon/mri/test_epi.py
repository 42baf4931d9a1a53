"""EPI: ghosts of a known phase, ramp sampling against the exact sum."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.simulated import measured, nrmse

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.epi import GhostPhase, correct_ghost, ghost_phase, ghost_phase_blind, regrid_readout

SHAPE = (32, 40)
FULL = measured(SHAPE, coils=3)
BACK = np.arange(32) % 2 == 1


def ghosted(kspace, back, constant, slope):
    """Reversed lines turned by a phase across the readout."""
    nx = kspace.shape[-1]
    turn = np.exp(1j * (constant + slope * (np.arange(nx) - nx // 2)))
    return np.where(back[:, None], fft(ifft(kspace, (-1,)) * turn, (-1,)), kspace)


def navigator(constant, slope, lines=3, drift=0.0, nx=40):
    """Lines without phase encoding, with a phase that grows from line to line."""
    middle = measured((32, nx), coils=3)[:, 16:17] * np.exp(1j * drift * np.arange(lines))[:, None]
    back = np.arange(lines) % 2 == 1
    return ghosted(middle, back, constant, slope), back


@pytest.mark.parametrize("slope", [0.0, 0.11, -0.4])
@pytest.mark.parametrize("constant", [-3.0, 0.2, 1.8])
def test_a_known_phase_is_removed(constant, slope):
    reference, back = navigator(constant, slope)
    found = ghost_phase(reference, back)
    assert float(found.constant) == pytest.approx(constant, abs=1e-6)
    assert float(found.slope) == pytest.approx(slope, abs=1e-8)
    bad = ghosted(FULL, BACK, constant, slope)
    mended = correct_ghost(bad, BACK, found)
    # both directions meet half way: the object itself may be moved by half of the shift
    truth = correct_ghost(FULL, BACK, GhostPhase(np.array(0.0), np.array(0.0)))
    x = np.arange(40) - 20
    truth = fft(ifft(truth, (-1,)) * np.exp(0.5j * (constant + slope * x)), (-1,))
    assert nrmse(mended, truth) < 1e-6
    assert nrmse(bad, truth) > 0.05


@pytest.mark.parametrize("nx", [40, 41])
@pytest.mark.parametrize("first_back", [False, True])
def test_drift_and_order_do_not_matter(nx, first_back):
    reference, back = navigator(0.5, 0.05, lines=5, drift=0.3, nx=nx)
    if first_back:
        reference, back = reference[:, 1:], back[1:]
    found = ghost_phase(reference, back)
    assert float(found.constant) == pytest.approx(0.5, abs=1e-6)
    assert float(found.slope) == pytest.approx(0.05, abs=1e-8)


def test_ghost_with_noise(rng):
    reference, back = navigator(0.7, -0.2, lines=3)
    noise = rng.normal(size=(2, *reference.shape)) * 0.01 * abs(reference).max()
    found = ghost_phase(reference + noise[0] + 1j * noise[1], back)
    mended = correct_ghost(ghosted(FULL, BACK, 0.7, -0.2), BACK, found)
    ghost = np.linalg.norm(ifft(mended, (-2, -1)), axis=0)[:2]  # the object leaves these rows empty
    clean = np.linalg.norm(ifft(FULL, (-2, -1)), axis=0)
    assert ghost.max() < 0.02 * clean.max()


def test_batch_scale_and_precision():
    pairs = [(0.5, 0.1), (-1.0, 0.0)]
    references = np.stack([navigator(*p)[0] for p in pairs])
    back = navigator(0, 0)[1]
    found = ghost_phase(references, back)
    assert np.allclose(found.constant, [0.5, -1.0])
    data = np.stack([ghosted(FULL, BACK, *p) for p in pairs])
    together = correct_ghost(data, BACK, found)
    for i, p in enumerate(pairs):
        one = ghost_phase(1e-5j * references[i], back)
        assert np.allclose(correct_ghost(data[i], BACK, one), together[i])
        assert float(one.constant) == pytest.approx(p[0])
    single = correct_ghost(data.astype(np.complex64), BACK, found)
    assert single.dtype == np.complex64
    assert ghost_phase(references.astype(np.complex64), back).slope.dtype == np.float32


def test_without_reference():
    bad = ghosted(FULL, BACK, 0.6, 0.15)
    found = ghost_phase_blind(bad, BACK)
    assert float(found.constant) == pytest.approx(0.6, abs=0.02)
    assert float(found.slope) == pytest.approx(0.15, abs=0.002)


def test_torch_gradient():
    torch = pytest.importorskip("torch")
    reference, back = navigator(0.5, 0.05, nx=8)
    data = torch.tensor(measured((4, 8), coils=3), requires_grad=True)
    reference = torch.tensor(reference, requires_grad=True)

    def mend(data, reference):
        return correct_ghost(data, BACK[:4], ghost_phase(reference, back))

    assert torch.autograd.gradcheck(mend, (data, reference), fast_mode=True)
    same = correct_ghost(data.detach().numpy(), BACK[:4], ghost_phase(reference.detach().numpy(), back))
    assert np.allclose(mend(data, reference).detach().numpy(), same)


def test_jax_gives_the_same():
    jax = pytest.importorskip("jax")
    reference, back = navigator(0.5, 0.05)
    bad = ghosted(FULL, BACK, 0.5, 0.05).astype(np.complex64)
    phase = ghost_phase(jax.numpy.asarray(reference.astype(np.complex64)), back)
    found = correct_ghost(jax.numpy.asarray(bad), BACK, phase)
    assert isinstance(found, jax.Array)
    assert nrmse(np.asarray(found), correct_ghost(bad, BACK, ghost_phase(reference, back))) < 1e-5
    even = 2 * np.pi * (np.arange(40) - 20) / 40
    assert nrmse(np.asarray(regrid_readout(found, even, 40)), np.asarray(found)) < 1e-5


@pytest.mark.parametrize("nx", [40, 39])
def test_ramp_sampling(nx):
    """Lines measured to and fro, dense on the ramps, against the exact sum over the object."""
    profile = np.random.default_rng(0).normal(size=(3, 6, nx)) + 0j
    profile[..., :4] = profile[..., -4:] = 0
    places = (
        0.99 * np.pi * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 72)) * np.where(BACK[:6], -1, 1)[:, None]
    )
    kernel = np.exp(-1j * places[:, :, None] * (np.arange(nx) - nx // 2)) / np.sqrt(nx)
    data = np.einsum("lsx,clx->cls", kernel, profile)
    found = regrid_readout(data, places, nx)
    assert nrmse(found, fft(profile, (-1,))) < 1e-6
    one = regrid_readout(data[:, ::2], places[0], nx)
    assert np.allclose(one, found[:, ::2])
    assert regrid_readout(data.astype(np.complex64), places, nx).dtype == np.complex64


def test_grid_positions_change_nothing():
    even = 2 * np.pi * (np.arange(40) - 20) / 40
    assert np.allclose(regrid_readout(FULL, even, 40), FULL)
    assert np.allclose(regrid_readout(FULL[..., ::-1], even[::-1], 40), FULL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ghost_phase(FULL[:, :1], [False]), "two or more lines that alternate"),
        (lambda: ghost_phase(FULL[:, :3], [False, False, True]), "two or more lines that alternate"),
        (lambda: correct_ghost(FULL, [True], GhostPhase(0.0, 0.0)), "one flag per line"),
        (lambda: regrid_readout(FULL, np.zeros(7), 40), r"positions have shape \(7,\)"),
        (lambda: regrid_readout(FULL, np.linspace(-20, 20, 40), 40), "within"),
        (lambda: ghost_phase_blind(FULL[None], BACK), "give one image"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
