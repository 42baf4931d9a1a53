"""Motions of images."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.train import Transform  # noqa: E402
from rayfold.recon.train.transforms import rotated  # noqa: E402


@pytest.mark.parametrize("shape", [(6, 6), (5, 8)])
def test_pixels_are_moved_not_made(generator, shape):
    x = torch.rand(2, *shape)
    seen = set()
    for _ in range(60):
        moved = Transform(shifts=2)(x, generator)
        assert moved.shape == x.shape
        assert torch.equal(moved.flatten(1).sort().values, x.flatten(1).sort().values)
        seen.add(tuple(moved.flatten().tolist()))
    assert len(seen) > 20


def test_the_generator_decides():
    x = torch.rand(6, 6)
    transform = Transform(shifts=2, rotation=1.0)
    first, second, third = (transform(x, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_nothing_asked_nothing_done(generator):
    x = torch.rand(3, 4)
    assert torch.equal(Transform(turns=False, flips=False)(x, generator), x)


@pytest.mark.parametrize("shape", [(7, 7), (8, 8)])
def test_quarter_turns_are_exact(shape):
    x = torch.rand(2, *shape, dtype=torch.float64)
    torch.testing.assert_close(rotated(x, math.pi / 2), torch.rot90(x, -1, (-2, -1)), rtol=0, atol=1e-12)
    torch.testing.assert_close(rotated(rotated(x, math.pi), math.pi), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(41, 41), (41, 61)])
def test_a_blob_goes_where_it_should(shape):
    """From the x axis towards the y axis, in pixels that stay square."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape), indexing="ij")
    moved = rotated(torch.exp(-((x - 12) ** 2 + y**2) / 8), 0.6)
    mass = moved.sum()
    assert float((moved * x).sum() / mass) == pytest.approx(12 * math.cos(0.6), abs=0.02)
    assert float((moved * y).sum() / mass) == pytest.approx(12 * math.sin(0.6), abs=0.02)


def test_complex_images_turn_part_by_part():
    x = torch.randn(5, 5, dtype=torch.complex128)
    expected = torch.complex(rotated(x.real, 0.4), rotated(x.imag, 0.4))
    assert torch.equal(rotated(x, 0.4), expected)


@pytest.mark.parametrize("options", [{"shifts": -1}, {"rotation": -0.1}])
def test_bad_input(options):
    with pytest.raises(ValueError, match="both must be 0 or more"):
        Transform(**options)
