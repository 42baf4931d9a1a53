"""The network: exact symmetries, sizes, tiles, levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from rayfold.recon.foundation import SIZES, Network, build, levels_of, shape_noise
from rayfold.recon.foundation.apply import POSES, apply_network
from rayfold.recon.foundation.bands import from_levels, masks

LEVELS = torch.tensor([0.2, 0.15, 0.1, 0.05])


def random(*shape, seed=0, kind=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=kind)


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max())


# --- symmetries ---


@pytest.mark.parametrize("power", [-4, -3, -1, 2, 4])
def test_scales_with_image_and_noise(net, power):
    """Both together by 10^power: eight decades."""
    x, scale = random(2, 30, 21, kind=torch.complex64), 10.0**power
    one = apply_network(net, x, LEVELS, 0.1 * x)
    assert apart(one, x) > 0.05  # it does something
    assert apart(apply_network(net, scale * x, scale * LEVELS, scale * 0.1 * x) / scale, one) < 1e-5


def test_turns_with_the_phase(net):
    x = random(30, 21, kind=torch.complex64)
    one = apply_network(net, x, LEVELS)
    for t in (0.3, 1.6, 3.1, 5.0):
        turn = torch.exp(1j * torch.tensor(t))
        assert apart(apply_network(net, turn * x, LEVELS), turn * one) < 1e-5


def test_sign_of_real_images_and_their_imaginary_part(net):
    x = random(3, 30, 21)
    levels = 5 * LEVELS  # so much that nothing is held back: of how much that would be the parts decide
    one = apply_network(net, x, levels)
    assert one.dtype == torch.float32
    assert apart(apply_network(net, -x, levels), -one) < 1e-6
    x = x + 5  # positive, as images are: of a complex image every part is turned to that
    both = apply_network(net, x + 0j, levels)
    assert apart(both.real, apply_network(net, x, levels)) < 1e-5


def test_a_phase_that_varies_slowly_turns_the_answer_with_it(prior):
    """A wave over 96 pixels: what differs is little beside what is removed."""
    noise = np.random.default_rng(2).normal(0.0, 0.1, (2, 96, 96))
    z = (1 + noise[0] + 1j * noise[1]).astype(np.complex64)
    turn = np.exp(2j * np.pi * np.arange(96) / 96).astype(np.complex64)
    one, turned = prior.denoise(z, 0.1), prior.denoise(turn * z, 0.1)
    assert np.abs(one - z).mean() > 0.005
    assert np.abs(turned - turn * one).mean() < 0.1 * np.abs(one - z).mean()


def test_no_more_is_removed_than_the_noise(net):
    """A network that would is held: to 1.1 times the noise, and to less the further it is beyond."""
    x, white = random(3, 40, 40), torch.ones(4)

    def removed(level, **how):
        return (x - apply_network(net, x, level * white, **how)).square().mean((-2, -1)).sqrt() / level

    would = x - net(torch.stack([x, 0 * x], 1), 0.03 * torch.ones(1, 4, 1, 1))[:, 0]
    assert float(would.square().mean().sqrt()) > 0.1
    held = [removed(level) for level in (1.0, 0.3, 0.1, 0.03)]
    assert all(bool((h <= 1.1001).all()) for h in held)
    assert bool((held[3] < 0.1).all()) and bool((held[3] < held[2]).all())
    # asked for a third of the noise it may remove that much, as long as the noise explains it
    assert torch.allclose(removed(0.1, strength=0.3), torch.tensor(1.1), atol=1e-3)


def test_noise_of_none_changes_nothing(net):
    x = random(2, 2, 17, 33)
    assert torch.equal(net(x, torch.zeros(1, 4, 1, 1)), x)


def test_what_is_removed_is_bounded_by_the_noise(net):
    x = random(1, 2, 32, 32)
    wild = build("small")
    torch.nn.init.normal_(wild.tail.weight, std=100.0)
    with torch.no_grad():
        assert (wild(x, LEVELS[:, None, None]) - x).abs().max() <= 8.0 * LEVELS.max() * (1 + 1e-6)


# --- sizes ---


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (5, 1), (9, 8), (17, 40), (33, 31)])
def test_any_size(net, shape):
    x = random(*shape)
    out = apply_network(net, x, LEVELS)
    assert out.shape == shape and out.isfinite().all()


def test_leading_axes_are_separate_images(net):
    x, levels = random(2, 3, 20, 18), LEVELS * (1 + torch.arange(6.0).reshape(2, 3, 1))
    out = apply_network(net, x, levels)
    for i, j in itertools.product(range(2), range(3)):
        assert apart(out[i, j], apply_network(net, x[i, j], levels[i, j])) < 1e-5
    assert apart(apply_network(net, x, levels[0]), apply_network(net, x, levels[:1].expand(2, 3, 4))) == 0


@pytest.mark.parametrize("spatial", [False, True])
def test_tiles_leave_no_seam(net, spatial):
    side = 32 + 2 * net.reach
    x = random(side + 45, side + 10)
    levels = LEVELS[:, None, None] * (0.5 + random(1, *x.shape, seed=1).abs()) if spatial else LEVELS
    change = 0.1 * random(*x.shape, seed=2)
    whole = apply_network(net, x, levels, change, tile=10**6)
    assert apart(apply_network(net, x, levels, change, tile=32), whole) < 1e-5
    assert apart(whole, x) > 0.05


@pytest.mark.parametrize(("widths", "blocks"), [((8, 16, 16), 1), ((4, 4), 2), ((4, 6, 8), 2)])
def test_reach_covers_what_a_pixel_sees(widths, blocks):
    """By the gradient of pixels at every place of a block, with positive weights: nothing cancels."""
    net = Network(widths, blocks).double()
    for p in net.parameters():
        torch.nn.init.uniform_(p, 0.1, 1.0)
        p.data /= p[0].numel()
    side = 2 * net.reach + 3 * net.multiple
    furthest = 0
    for offset in (0, net.multiple // 2, net.multiple - 1):
        at = net.reach + net.multiple + offset
        x = torch.ones(1, 2, side, side, dtype=torch.float64, requires_grad=True)
        net(x, torch.full((1, 4, 1, 1), 1e9, dtype=torch.float64))[0, 0, at, at].backward()
        seen = x.grad.abs().sum((0, 1)).nonzero() - at
        furthest = max(furthest, int(seen.abs().max()))
    assert net.reach - 3 * net.multiple < furthest <= net.reach


def test_sizes():
    million = {name: sum(p.numel() for p in build(name).parameters()) / 1e6 for name in SIZES}
    assert 0.8 < million["small"] < 1.2 and 3.5 < million["base"] < 4.8
    with pytest.raises(ValueError, match="size is 'huge'; there are: small, base"):
        build("huge")


# --- poses ---


@pytest.mark.parametrize("poses", [2, 4])
def test_poses_make_the_answer_turn_with_the_image(small, poses):
    clean = 2 + torch.linspace(-1, 1, 40)[:, None] * torch.linspace(0, 1, 52).round()
    x, levels = clean + 0.3 * random(40, 52), torch.tensor([0.3] * 4)
    uneven = levels[:, None, None] * torch.linspace(0.7, 1.3, 52).expand(40, 52)
    change = 0.1 * random(40, 52, seed=1)
    for level, more in ((levels, None), (uneven, change)):
        one = apply_network(small.network, x, level, more, poses=poses)
        assert apart(one, x) > 0.05
        for axes in POSES[1:poses]:
            turned = level if level.ndim == 1 else level.flip(axes)
            other = apply_network(
                small.network, x.flip(axes), turned, None if more is None else more.flip(axes), poses=poses
            )
            assert apart(other.flip(axes), one) < 1e-5


def test_more_poses_remove_noise_better(small):
    clean = 2 + torch.linspace(-1, 1, 64)[:, None] * torch.linspace(0, 1, 64).round()
    noisy, levels = clean + 0.2 * random(8, 64, 64), torch.tensor([0.2] * 4)
    error = [float((apply_network(small.network, noisy, levels, poses=n) - clean).std()) for n in (1, 2, 4)]
    assert error[0] > error[1] > error[2]


def test_what_depends_on_the_pose_is_not_removed(net):
    """The answers of an untrained network have nothing in common: the image stays as it is."""
    x = random(2, 30, 22)
    assert apart(apply_network(net, x, LEVELS), x) > 0.1
    assert apart(apply_network(net, x, LEVELS, poses=2), x) == 0


# --- precision and gradients ---


def test_bfloat16_is_close(net):
    x = random(1, 30, 22)
    one = apply_network(net, x, LEVELS)
    other = apply_network(net, x, LEVELS, precision="bfloat16")
    assert other.dtype == torch.float32
    assert 0 < apart(other, one) < 0.02


def test_gradient():
    twice = Network((4, 4), 1).double()
    torch.nn.init.normal_(twice.tail.weight, std=0.1)
    x, levels = random(1, 2, 6, 5, kind=torch.float64).requires_grad_(), LEVELS.double()[:, None, None]
    assert torch.autograd.gradcheck(lambda a: twice(a, levels), x, fast_mode=True)


# --- levels by octave ---


def test_bands_are_octaves_of_radial_frequency():
    parts = masks((64, 64))
    shares = (parts.sum((-2, -1)) / 64**2).tolist()
    disc = [np.pi / 4 / 4**k for k in (1, 2, 3)]  # area below r = 1/2, 1/4, 1/8
    np.testing.assert_allclose(
        shares, [1 - disc[0], disc[0] - disc[1], disc[1] - disc[2], disc[2]], atol=0.01
    )


def test_levels_of_drawn_noise():
    """Noise given four levels has them, to what its draws allow."""
    levels, n = torch.tensor([0.3, 1.0, 2.0, 4.0]), 40
    noise = shape_noise(random(n, 64, 64), levels.expand(n, 4))
    found = levels_of(torch.fft.fft2(noise, norm="ortho").abs().square().mean(0))
    counts = masks((64, 64)).sum((-2, -1)) * n / 2  # independent values: half, the others are conjugates
    for value, wanted, count in zip(found.tolist(), levels.tolist(), counts.tolist(), strict=True):
        assert abs(value / wanted - 1) < stats.norm.isf(1e-5) / np.sqrt(2 * count * 0.5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (16, 16), (31, 20)])
def test_levels_and_spectrum_are_inverse(shape):
    levels = torch.tensor([3.0, 2.0, 1.0, 0.5])
    found = levels_of(from_levels(shape, levels) ** 2)
    there = masks(shape).sum((-2, -1)) > 0
    assert found.isfinite().all() and torch.allclose(found[there], levels[there], rtol=1e-5)
