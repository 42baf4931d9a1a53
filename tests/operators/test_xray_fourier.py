"""The Fourier model of parallel beams: closed forms, Joseph's model, and when its gram is a convolution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tests.operators.table import AXES, FAN, IMAGE, SLICES, TURN, difference, operator, random, weights
from tests.operators.test_projector import blob_image, blob_integrals, rms

from rayfold.operators import FanBeam, ParallelBeam, Toeplitz, VectorBeam, Volume, XRay
from rayfold.operators.base import Composed
from rayfold.recon.ellipses import rasterise

every = pytest.mark.parametrize("name", SLICES)
FULL = [name for name in SLICES if "narrow" not in name and "uneven" not in name]


def fourier(volume, beam):
    return XRay(volume, beam, model="fourier")


def waves(n, spacing):
    """Frequencies of n samples in rad/mm below the Nyquist frequency, and a weight for each."""
    m = np.arange(-((n - 1) // 2), (n - 1) // 2 + 1)
    return 2 * np.pi * m / (n * spacing)


@pytest.mark.parametrize(
    ("volume", "beam"),
    [
        (Volume((9, 8)), ParallelBeam(TURN, 16)),
        (Volume((8, 7), (0.7, 1.9), (0.3, -0.2)), ParallelBeam(TURN, 61, 0.3, detector_offset=0.1)),
        (Volume((6, 9), 0.5), ParallelBeam(AXES, 4, 1.4)),
    ],
    ids=["bins as pixels", "oblong pixels, fine bins", "coarse bins"],
)
def test_is_the_slice_theorem_written_out(volume, beam):
    """Every entry by the sum of the docstring, in mm, with exponentials."""
    ys, xs = (c.ravel() for c in np.meshgrid(*volume.coordinates(), indexing="ij"))
    s = (np.arange(beam.n_cols) - (beam.n_cols - 1) / 2) * beam.pitch + beam.detector_offset
    q = waves(beam.n_cols, beam.pitch)
    dense = []
    for t in beam.angles:
        held = np.maximum(abs(q * math.cos(t)) * volume.steps[1], abs(q * math.sin(t)) * volume.steps[0])
        few = q[held <= np.pi * (1 + 1e-9)]
        along = xs * math.cos(t) + ys * math.sin(t)
        view = np.exp(1j * few * s[:, None]) @ np.exp(-1j * few[:, None] * along)
        dense.append(view.real * math.prod(volume.steps) / (beam.n_cols * beam.pitch))
    assert difference(fourier(volume, beam).dense(), np.concatenate(dense)) < 1e-12


def test_a_narrow_detector_sees_nothing_wrap_around():
    volume, beam = Volume((48, 48)), ParallelBeam(TURN, 15)
    wide = fourier(volume, ParallelBeam(TURN, 97))
    x = blob_image(volume, (10.0, -9.0), 2.0)
    y, whole = fourier(volume, beam)(x), wide(x)
    assert difference(y, whole[:, 41:56]) < 1e-6
    assert isinstance(wide.gram, Toeplitz) and isinstance(fourier(volume, beam).gram, Composed)


def test_gaussian_blob():
    """Bounds: 1e-4 at 512, second order or better; here faster than any power of the pixel."""
    errors, centre = [], (-3.0, 2.0)
    for n in (12, 18, 24, 64):
        volume = Volume((n, 2 * n), (100 / n, 50 / n), (1.5, -2.0))
        beam = ParallelBeam.evenly(12, 3 * n // 2, pitch=100 / n, start=0.01)
        y = fourier(volume, beam)(blob_image(volume, centre, 6.0))
        errors.append(rms(y, blob_integrals(beam, centre, 6.0)))
    assert errors[-1] < 1e-12 and errors[0] > 10 * errors[1] > 100 * errors[2]


def test_disc_is_that_of_joseph():
    volume = Volume((128, 128), 0.8)
    disc = rasterise([(1.0, 35.0, 30.0, 3.0, -4.0, 0.2)], volume)
    beam = ParallelBeam.evenly(40, 184, pitch=0.8)
    y, rays = fourier(volume, beam)(disc), XRay(volume, beam)(disc)
    assert rms(y, rays) < 0.01 and difference(y, rays) < 0.03


@every
@pytest.mark.parametrize("scale", [1e-3, 0.1, 7.0, 1e3])
def test_all_lengths_scaled(name, scale):
    A = operator(name)
    steps, middle = (tuple(scale * v for v in values) for values in (A.volume.steps, A.volume.middle))
    vectors = np.concatenate([A.beam.vectors[:, :2], scale * A.beam.vectors[:, 2:]], axis=1)
    scaled = fourier(Volume(A.in_shape, steps, middle), VectorBeam(vectors, A.beam.n_cols, kind="parallel"))
    x = random(A.in_shape, A, "float32")
    assert difference(scaled(x) / np.float32(scale), A(x)) < 1e-5
    assert type(scaled.gram) is type(A.gram)


@every
def test_views_in_chunks_are_the_whole(name):
    A = operator(name)
    x, y = (random(shape, A, "float32") for shape in (A.in_shape, A.out_shape))
    chunks = [slice(0, 3), slice(3, 4), slice(4, None)]
    assert difference(np.concatenate([A[c](x) for c in chunks]), A(x)) < 1e-6
    assert difference(sum(A[c].H(y[c]) for c in chunks), A.H(y)) < 1e-6
    assert A[1:3].model == "fourier" and A[1:3].out_shape == (2, A.out_shape[1])


def test_geometry_per_sample():
    A = operator("Fourier slices")
    vectors = np.stack([A.beam.vectors, ParallelBeam(TURN + 0.4, 16, 0.7).vectors])
    x, y = random((2, *A.in_shape), A), random((2, *A.out_shape), A)
    each = [fourier(IMAGE, VectorBeam(v, 16, kind="parallel")) for v in vectors]
    bound = A.bind(vectors=torch.as_tensor(vectors))
    for got, expected in (
        (A(x, vectors=vectors), [B(one) for B, one in zip(each, x, strict=True)]),
        (bound.H(torch.as_tensor(y)), [B.H(one) for B, one in zip(each, y, strict=True)]),
    ):
        assert difference(np.asarray(got), np.stack(expected)) < 1e-13
    assert type(bound.gram) is Composed  # a geometry of the caller's graph: no kernel is made of it
    with pytest.raises(NotImplementedError, match="no derivative with respect to vectors"):
        A(torch.as_tensor(x), vectors=torch.as_tensor(vectors).requires_grad_()).sum().backward()


# --- the gram ---


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("per_view", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 5e-7), ("float64", 1e-12)])
def test_gram_is_a_convolution_where_the_detector_sees_the_grid(name, per_view, dtype, bound):
    A = operator(name)
    w = weights((A.out_shape[0], 1)) ** 2 if per_view else np.float64(0.3)
    gram = A.weighted_gram(w)
    x = random((2, *A.in_shape), A)
    assert isinstance(gram, Toeplitz) and gram.field == "real"
    assert difference(gram(x.astype(dtype)), A.H(w * A(x))) < bound
    assert A.weighted_gram(w) is gram and A.weighted_gram(2 * w) is not gram
    once = A.weighted_gram(np.broadcast_to(w, A.out_shape))  # one weight per ray, the same in a view
    assert difference(once(x), gram(x)) < 1e-14


@every
def test_weights_that_vary_in_a_view_and_weights_of_a_graph_take_both_ways(name):
    A = operator(name)
    w, x = weights(A.out_shape) ** 2, random(A.in_shape, A)
    gram = A.weighted_gram(w)
    assert isinstance(gram, Composed)
    assert difference(gram(x), A.H(w * A(x))) < 1e-13
    learned = torch.ones((A.out_shape[0], 1), dtype=torch.float64, requires_grad=True)
    (A.weighted_gram(learned)(torch.as_tensor(x)) ** 2).sum().backward()
    assert learned.grad.abs().min() > 0
    with jax.enable_x64(True):
        traced = jax.jit(lambda w: A.weighted_gram(w)(jnp.asarray(x)))(jnp.ones((A.out_shape[0], 1)))
        mapped = jax.jit(A.gram)(jnp.asarray(x))
    truth = A.H(A(x))
    assert difference(np.asarray(traced), truth) < 1e-12 and difference(np.asarray(mapped), truth) < 1e-12


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="takes parallel beams, got a fan beam; use model='joseph'"):
        fourier(IMAGE, FanBeam(TURN, 15, 1.7, **FAN))
    with pytest.raises(ValueError, match="knows 'joseph' and 'fourier'"):
        XRay(IMAGE, ParallelBeam(TURN, 15), model="strip")
    with pytest.raises(ValueError, match="may have negative entries"):
        operator("Fourier slices").norm_bound()
    assert not operator("Fourier slices").nonnegative and operator("parallel").nonnegative
