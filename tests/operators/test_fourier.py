"""Fourier transforms, sampling masks, and how they compose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tests.operators.table import difference, nufft, phases

from rayfold.operators import FFT, BlockDiagonal, CartesianMask, CoilSensitivities, Identity
from rayfold.operators.fourier import fft, ifft

SHAPES = [(1,), (6,), (7,), (4, 6), (5, 7), (4, 7), (3, 4, 5)]


@pytest.mark.parametrize("axes", [None, (0,), (-1,), (0, -1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_shifted_transform_of_numpy(shape, axes):
    if axes == (0, -1) and len(shape) == 1:
        axes = (0,)
    F, x, every = FFT(shape, axes), phases((2, *shape)), axes or tuple(range(len(shape)))
    at = tuple(a % len(shape) - len(shape) for a in every)
    truth = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes=at), axes=at, norm="ortho"), axes=at)
    assert difference(F(x), truth) < 1e-14
    assert np.linalg.norm(F(x)) == pytest.approx(np.linalg.norm(x), rel=1e-14)  # Parseval
    assert difference(F.H(F(x)), x) < 1e-14 and F.gram == Identity(shape) and F.norm_bound() == 1
    assert difference(ifft(fft(x, at), at), x) < 1e-14


def test_the_origin_is_at_the_middle_voxel():
    for n in (6, 7):
        k = np.arange(n) - n // 2
        matrix = np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)
        assert difference(FFT((n,)).dense(complex), matrix) < 1e-14


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_precision_is_kept_in_every_library(library):
    make = {"numpy": np.asarray, "torch": torch.from_numpy, "jax": jnp.asarray}[library]
    x = phases((5, 6)).astype("complex64")
    for given, expected in ((x, "complex64"), (x.real, "complex64")):
        y = fft(make(given.copy()))
        assert str(y.dtype).endswith(expected) and difference(np.asarray(y), fft(given)) < 1e-6
    if library != "jax":
        assert str(fft(make(phases((5, 6)))).dtype).endswith("complex128")
        assert str(FFT((5, 6))(make(phases((5, 6)).real.copy())).dtype).endswith("complex128")


def test_axes_are_named_once():
    for axes in ((2,), (-3,), (0, -2), (1, 1)):
        with pytest.raises(ValueError, match="give each of them once, from -2 to 1"):
            FFT((4, 5), axes)
    assert FFT((4, 5), (0, 1)) == FFT((4, 5)) == FFT([4, 5], (-1, -2))


def test_masks_of_every_kind():
    x, lines = phases((3, 4, 5)), np.array([True, False, True, True])
    for mask in (lines[:, None], lines[:, None].astype(int), np.broadcast_to(lines[:, None], (4, 5))):
        y = CartesianMask((4, 5), mask)(x)
        assert np.array_equal(y, np.where(lines[:, None], x, 0))
    weights = phases((4, 5))  # any weight, also complex
    M = CartesianMask((4, 5), weights)
    assert difference(M(x), weights * x) < 1e-15 and difference(M.H(x), weights.conj() * x) < 1e-15


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((4, 4)), r"the mask has shape \(4, 4\), k-space \(4, 5\); it must broadcast"),
        (np.ones(4), "it must broadcast"),
        (np.array([1, 1, np.nan, 1, 1]), "not finite; it must be 0, 1 or a weight"),
    ],
)
def test_masks_that_do_not_fit(mask, message):
    with pytest.raises(ValueError, match=message):
        CartesianMask((4, 5), mask)


def test_a_mask_for_every_element_of_a_batch_may_be_learned():
    """The weights of each element get the gradient of that element, through coils and transform."""
    S, F = CoilSensitivities(phases((2, 4, 5))), FFT((4, 5))
    x, w = torch.tensor(phases((3, 4, 5))), torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    A = CartesianMask((4, 5), np.ones((4, 5))).bind(weights=w) @ F @ S
    y = A(x)
    assert y.shape == (3, 2, 4, 5)
    loss = (y.abs() ** 2).sum()
    (g,) = torch.autograd.grad(loss, w)
    energy = (F.over((2,)) @ S)(x).abs().square().sum(1)
    assert torch.allclose(g, 2 * w.detach() * energy)
    for i in range(3):
        one = CartesianMask((4, 5), w[i].detach().numpy()) @ F @ S
        assert torch.allclose(y[i], one(x[i]))


def test_composition_acts_along_the_axes_a_factor_lacks():
    lines = np.array([1.0, 0, 1, 1])[:, None]
    M, F, S = CartesianMask((4, 5), lines), FFT((4, 5)), CoilSensitivities(phases((3, 4, 5)))
    x, y = phases((2, 4, 5)), phases((2, 3, 4, 5))
    expected = lines * fft(S.maps * x[:, None], (-2, -1))
    back = (S.maps.conj() * ifft(lines * y, (-2, -1))).sum(1)
    for A in (M @ F @ S, (M @ F) @ S, M @ (F @ S), M.over((3,)) @ F.over((3,)) @ S):
        assert A.in_shape == (4, 5) and A.out_shape == (3, 4, 5)
        assert difference(A(x), expected) < 1e-14 and difference(A.H(y), back) < 1e-14
        assert difference(A.gram(x), A.H(A(x))) < 1e-13
    for A in (S.H @ F.H @ M, (S.H @ F.H) @ M, S.H @ (F.H @ M)):
        assert A.in_shape == (3, 4, 5) and difference(A(y), back) < 1e-14
    twice = F.over((3,)).over((2,))
    assert twice == F.over((2, 3)) and twice.in_shape == (2, 3, 4, 5) and F.over(()) is F
    slices = (M @ F @ S).over((2,))
    assert slices.out_shape == (2, 3, 4, 5) and difference(slices(x), expected) < 1e-14
    assert difference(slices.H(y), back) < 1e-14


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (FFT((4, 6)), CoilSensitivities(np.ones((3, 4, 5)))),
        (CoilSensitivities(np.ones((3, 4, 5))), FFT((5, 5))),
        (nufft((4, 5)), FFT((5, 4))),
        (FFT((4, 5)), nufft((4, 5))),
    ],
)
def test_what_does_not_fit_is_refused(left, right):
    with pytest.raises(ValueError, match=r"cannot compose \w+ @ \w+: shapes .* and .* differ"):
        left @ right


def test_frames_of_their_own_sampling():
    frames = tuple(CartesianMask((4, 5), np.arange(4)[:, None] % 3 == t) @ FFT((4, 5)) for t in range(3))
    A, x, y = BlockDiagonal(frames), phases((2, 3, 4, 5)), phases((2, 3, 4, 5))[::-1]
    assert difference(A(x), np.stack([frames[t](x[:, t]) for t in range(3)], axis=1)) == 0
    assert difference(A.gram(x), A.H(A(x))) < 1e-14
    assert abs(np.vdot(y, A(x)) - np.vdot(A.H(y), x)) < 1e-12
    whole = A @ CoilSensitivities(phases((3, 4, 5)))  # first axis: coils as frames, of equal number
    assert whole.in_shape == (4, 5)
    for parts, message in (((), "at least one"), ((FFT((4,)), FFT((5,))), "they must be alike")):
        with pytest.raises(ValueError, match=message):
            BlockDiagonal(parts)


def sense():
    lines = np.array([1.0, 0, 1, 1])[:, None]
    S = CoilSensitivities(phases((3, 4, 5)))
    return {"Cartesian": CartesianMask((4, 5), lines) @ FFT((4, 5)) @ S, "radial": nufft((4, 5)) @ S}


@pytest.mark.parametrize("name", ["Cartesian", "radial"])
def test_sense_compiles_whole(name):
    """One graph for the transform and for the gradient of its input."""
    A = sense()[name]
    x = torch.tensor(phases((2, 4, 5)), requires_grad=True)

    def loss(x):
        return A(x).abs().square().sum()

    truth = torch.autograd.grad(loss(x), x)[0]
    torch._dynamo.reset()
    f = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert torch.allclose(f(x), loss(x))
    assert torch.allclose(torch.autograd.grad(f(x), x)[0], truth)


def test_sense_maps_over_images_and_trajectories_in_torch():
    A, S = sense()["radial"], CoilSensitivities(phases((3, 4, 5)))
    x = torch.tensor(phases((2, 4, 5)))
    assert torch.allclose(torch.func.vmap(A)(x), A(x))
    ks = torch.rand(2, 14, 2, dtype=torch.float64)
    F = nufft((4, 5))
    both = torch.func.vmap(lambda k, v: (F.bind(trajectory=k) @ S)(v))(ks, x)
    for i in range(2):
        assert torch.allclose(both[i], (nufft((4, 5)).bind(trajectory=ks[i]) @ S)(x[i]))


def test_sense_in_jax():
    """jit, vmap over images and trajectories, and the transpose, which is A^T and not A^H."""
    with jax.enable_x64(True):
        A, S, F = sense()["radial"], CoilSensitivities(phases((3, 4, 5))), nufft((4, 5))
        x, y = jnp.asarray(phases((2, 4, 5))), jnp.asarray(phases(A.out_shape))
        assert difference(jax.jit(jax.vmap(A))(x), A(np.asarray(x))) < 1e-13
        transpose = jax.linear_transpose(A, x[0])
        assert difference(transpose(y)[0], np.conj(A.H(np.conj(np.asarray(y))))) < 1e-13
        ks = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (2, 14, 2)))
        both = jax.jit(jax.vmap(lambda k, v: (F.bind(trajectory=k) @ S)(v)))(ks, x)
        for i in range(2):
            truth = (F.bind(trajectory=np.asarray(ks[i])) @ S)(np.asarray(x[i]))
            assert difference(both[i], truth) < 1e-12
