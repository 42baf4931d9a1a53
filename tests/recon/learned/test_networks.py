"""The small networks: sizes, scale, real and complex."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.learned import SmallCNN, UNet  # noqa: E402
from rayfold.recon.learned.networks import applied, channels_of, image_of, on_images, on_memory  # noqa: E402

KINDS = {
    "small": lambda **rest: SmallCNN(2, 3, width=4, **rest),
    "folded": lambda **rest: SmallCNN(2, 3, width=4, fold=2, **rest),
    "unet": lambda **rest: UNet(2, 3, width=4, levels=3, **rest),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 5), (9, 9)])
def test_the_image_keeps_its_size(kind, size):
    assert KINDS[kind]()(torch.rand(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("kind", ["small", "unet"])
@pytest.mark.parametrize("size", [(11,), (6, 7), (4, 5, 6)])
def test_one_two_and_three_axes(kind, size):
    x = torch.rand(2, 2, *size, requires_grad=True)
    out = KINDS[kind](ndim=len(size))(x)
    assert out.shape == (2, 3, *size)
    out.sum().backward()
    assert x.grad.isfinite().all() and (x.grad != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_without_bias_the_answer_scales(kind):
    net, x = KINDS[kind](bias=False), torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        for scale in (1e-3, 1e3):
            torch.testing.assert_close(net(scale * x), scale * net(x), rtol=1e-5, atol=1e-5 * scale)
    assert all(not name.endswith("bias") for name, _ in net.named_parameters())


@pytest.mark.parametrize("kind", ["small", "unet"])
def test_a_shift_of_the_image_shifts_the_answer(kind):
    net, x = KINDS[kind](bias=False), torch.zeros(1, 2, 96, 96)
    x[..., 44:52, 44:52] = torch.rand(1, 2, 8, 8)
    with torch.no_grad():
        moved = net(torch.roll(x, (4, -4), (-2, -1)))
        torch.testing.assert_close(moved, torch.roll(net(x), (4, -4), (-2, -1)), rtol=1e-4, atol=1e-6)


def test_folding_widens_the_view():
    reach = []
    for fold in (1, 2):
        x = torch.zeros(1, 1, 41, 41, requires_grad=True)
        SmallCNN(1, 1, width=4, fold=fold)(x)[0, 0, 20, 20].backward()
        reach.append(int((x.grad[0, 0].abs().sum(0) > 0).sum()))
    assert reach == [7, 14]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_channels_and_back(dtype):
    x = torch.randn(2, 3, 4, 5, dtype=dtype)
    parts = channels_of(x, 2)
    assert parts.shape == (2, 3, 2 if dtype.is_complex else 1, 4, 5)
    assert torch.equal(image_of(parts, 2, like=x), x)


def test_any_leading_axes():
    net, x = SmallCNN(1, 1, width=4), torch.rand(2, 3, 6, 6)
    with torch.no_grad():
        single = on_images(net, x[1, 2], 2)
        torch.testing.assert_close(on_images(net, x, 2)[1, 2], single)
        assert applied(net, x[:, :1], 2).shape == (2, 1, 6, 6)


def test_complex_images_are_two_channels():
    net, x = SmallCNN(2, 2, width=4), torch.randn(3, 6, 6, dtype=torch.complex64)
    with torch.no_grad():
        out, plain = on_images(net, x, 2), net(torch.stack([x.real, x.imag], 1))
        assert out.dtype == torch.complex64
        assert torch.equal(out, torch.complex(plain[:, 0], plain[:, 1]))
        memory = on_memory(SmallCNN(4, 6, width=4), x.reshape(1, 3, 6, 6)[:, :2], 2)
        assert memory.shape == (1, 3, 6, 6) and memory.is_complex()


def test_lower_precision_inside_keeps_the_precision_outside():
    with torch.autocast("cpu", torch.bfloat16):
        assert on_images(SmallCNN(1, 1, width=4), torch.rand(1, 8, 8), 2).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallCNN(1, 1, depth=1), "depth is 1; a network needs at least 2"),
        (lambda: SmallCNN(1, 1, fold=0), "fold is 0"),
        (lambda: SmallCNN(1, 1, fold=2, ndim=3), "fold is 2 for 3 image axes"),
        (lambda: SmallCNN(1, 1, ndim=4), "ndim is 4; a network takes images of 1, 2 or 3"),
        (lambda: UNet(1, 1, levels=0), "levels is 0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
