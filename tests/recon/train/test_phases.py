"""Phases that are drawn for synthetic images: of scanners, tissues and air, and nothing but phases."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.train.phases import OFTEN, random_phases, turned  # noqa: E402
from rayfold.recon.train.pool import Pool  # noqa: E402


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def head(n: int = 1, side: int = 64) -> torch.Tensor:
    """A bright disc with an empty hole."""
    t = torch.linspace(-1, 1, side)
    r, hole = torch.hypot(t[:, None], t), torch.hypot(t[:, None] + 0.4, t)
    return ((r < 0.8) & (hole > 0.15)).float().expand(n, side, side)


def test_the_seed_decides_and_images_differ():
    a, b, c = (random_phases(head(4), seeded(s), seeded(9)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert len({round(float(x.std()), 6) for x in a}) > 1


def test_the_unit_of_the_image_does_not_matter():
    a, b = (random_phases(s * head(3), seeded(), seeded(1)) for s in (1.0, 1e-4))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_an_empty_image_has_phases_too():
    assert bool(random_phases(torch.zeros(8, 16, 16), seeded(), seeded(1)).isfinite().all())


def test_parts_are_there_as_often_as_said():
    """An image of ones has no air and no tissues: what is left is flat where both other parts are missing."""
    found = random_phases(torch.ones(400, 96, 96), seeded(), seeded(1))
    flat = (found.amax((-2, -1)) - found.amin((-2, -1)) < 1e-4).float().mean()
    assert float(flat) == pytest.approx((1 - OFTEN) ** 2, abs=0.05)


def test_air_is_a_dipole():
    """Outside a round hole the field is that of a cylinder, ``cos(2 phi) / r^2``: a quarter twice as far."""
    t = torch.arange(-48.0, 48.0)
    r, phi = torch.hypot(t[:, None], t), torch.atan2(t[:, None], t)
    hole = (r > 5).float().expand(400, 96, 96)
    field = random_phases(hole, seeded(), seeded(1)) - random_phases(0 * hole + 1, seeded(), seeded(1))
    field = field - field[:, r > 40].mean(-1)[:, None, None]  # far away there is none
    wave = torch.stack([torch.cos(2 * phi), torch.sin(2 * phi)])
    size = []
    for radius in (9, 18):
        ring = (r - radius).abs() < 1
        values, waves = field[:, ring], wave[:, ring]
        part = 2 * values @ waves.T / ring.sum()
        size.append(part.norm(dim=1))
        left = (values - part @ waves).square().mean(1).sqrt()
        there = size[0] > 0.05
        assert int(there.sum()) > 100
        assert float((left / size[-1])[there].median()) < 0.4
    assert float((size[1] / size[0])[there].median()) == pytest.approx(0.25, abs=0.1)


def test_turning_keeps_the_magnitude(rng):
    x = torch.from_numpy(rng.standard_normal((2, 2, 8, 8)))
    angle = torch.from_numpy(rng.standard_normal((2, 8, 8)))
    z = torch.complex(x[:, 0], x[:, 1]) * torch.exp(1j * angle)
    torch.testing.assert_close(turned(x, angle), torch.stack([z.real, z.imag], 1))


def test_patches_of_the_pool_have_the_magnitude_of_their_image():
    truth = np.hypot(*np.mgrid[-1:1:32j, -1:1:32j]).astype(np.float32)
    pools = [
        Pool(lambda shape, seed: truth, side=32, window=1, hold=9, complex_part=part, grain=0, sharp=0)
        for part in (0.0, 1.0)
    ]
    (plain, none), (phased, all_) = (pool.draw(6, 16, seeded(3)) for pool in pools)
    assert not none.any() and all_.all() and float(plain[:, 1].abs().max()) == 0
    torch.testing.assert_close(phased.square().sum(1).sqrt(), plain[:, 0], atol=1e-6, rtol=1e-5)
    angle = torch.atan2(phased[:, 1], phased[:, 0])
    assert float(angle.std()) > 0.3 and float(angle.abs().max()) <= math.pi
