"""The non-uniform transform against the exact sum at the rounded points, and what it refuses."""

import numpy as np
import pytest
import torch
from tests.operators.table import difference, phases, trajectory

from rayfold.operators import FFT, NUFFT, CoilSensitivities

FLOOR = {"complex64": 1e-7, "complex128": 2e-16}
REAL = {"complex64": np.float32, "complex128": np.float64}
ACCURACIES = {"complex64": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), "complex128": (1e-2, 1e-4, 1e-6, 1e-9, 1e-12)}
SHAPES = [(64,), (33,), (16, 21), (9, 1), (31, 8), (6, 7, 9)]


def exact(k, shape):
    """Matrix of the sum, its points taken as they are."""
    matrix = np.ones((len(k), 1))
    for axis, n in enumerate(shape):
        wave = np.exp(-1j * k[:, axis].astype(float)[:, None] * (np.arange(n) - n // 2))
        matrix = (matrix[:, :, None] * wave[:, None]).reshape(len(k), -1)
    return matrix / np.sqrt(np.prod(shape))


def relative(a, b):
    return np.linalg.norm(np.ravel(a) - np.ravel(b)) / np.linalg.norm(b)


@pytest.mark.parametrize("engine", ["finufft", "gridding"])
@pytest.mark.parametrize("kind", FLOOR)
@pytest.mark.parametrize("shape", SHAPES)
def test_error_keeps_the_contract(shape, kind, engine):
    k = trajectory(80, len(shape)).astype(REAL[kind]).astype(float)
    k[1:3] = [[np.pi], [0]]
    matrix = exact(k.astype(REAL[kind]), shape)
    x, y = phases((2, *shape)).astype(kind), phases((2, 80)).astype(kind)
    for eps in ACCURACIES[kind]:
        A = NUFFT(shape, k, eps=eps, engine=engine)
        bound = max(2 * eps, FLOOR[kind] * max(shape))
        assert A(x).dtype == A.H(y).dtype == kind
        assert relative(A(x), x.reshape(2, -1) @ matrix.T) <= bound
        assert relative(A.H(y), y @ matrix.conj()) <= bound


@pytest.mark.parametrize(("kind", "bound"), [("complex64", 1e-6), ("complex128", 1e-13)])
@pytest.mark.parametrize("shape", [(8,), (7, 10), (4, 5, 6)])
def test_at_the_grid_it_is_the_fft(shape, kind, bound):
    """Scale and centre, odd and even."""
    k = [2 * np.pi * (np.arange(n) - n // 2) / n for n in shape]
    k = np.stack(np.meshgrid(*k, indexing="ij"), axis=-1)
    A, F = NUFFT(shape, k), FFT(shape)
    x = phases(shape).astype(kind)
    assert A.out_shape == shape
    assert relative(A(x), F(x)) < bound and relative(A.H(x), F.H(x)) < bound


def test_precision_of_the_input_is_kept_and_real_images_are_promoted():
    A = NUFFT((4, 5), trajectory(9, 2))
    for real, kind in (("float32", "complex64"), ("float64", "complex128")):
        x = np.ones((4, 5), real)
        assert A(x).dtype == kind and A(x.astype(kind)).dtype == kind
        assert np.array_equal(A(x), A(x.astype(kind)))
        t = torch.ones(4, 5, dtype=getattr(torch, real), requires_grad=True)
        A(t).abs().square().sum().backward()
        assert t.grad.dtype == t.dtype
        truth = 2 * A.H(A(x)).real  # the real part of the gradient
        assert difference(t.grad.numpy(), truth) < (1e-6 if real == "float32" else 1e-12)


def test_half_of_the_shots_is_half_of_the_data():
    k = trajectory(12, 2).reshape(4, 3, 2)
    A, x = NUFFT((4, 5), k, basis=phases((2, 4, 3))), phases((2, 4, 5))
    assert A[::2].points == (2, 3, 2) and difference(A[::2](x), A(x)[::2]) < 1e-12


def test_the_operator_keeps_its_own_trajectory():
    k = trajectory(9, 2)
    A, x = NUFFT((4, 5), k), phases((4, 5))
    before = A(x)
    k *= 0.5
    assert np.array_equal(A(x), before) and not A.trajectory.flags.writeable


def test_numbers_stay_out_of_the_text():
    A = NUFFT((16, 16), trajectory(12, 2).reshape(3, 4, 2)).over((8,))
    assert repr(A) == "NUFFT((16, 16), trajectory=<3 x 4 x 2 float64>).over((8,))"
    assert "kernel=<1 x 32 x 32 float64>" in repr(NUFFT((16, 16), trajectory(4, 2)).gram)
    assert (
        repr(CoilSensitivities(np.ones((2, 3, 4), "c8"))) == "CoilSensitivities(maps=<2 x 3 x 4 complex64>)"
    )
    bound = NUFFT((4, 4), trajectory(4, 2)).bind(trajectory=torch.zeros(3, 4, 2))
    assert repr(bound).endswith(".bind(trajectory=<3 x 4 x 2 float32>)")


LITTLE = NUFFT((4, 4), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NUFFT((4, 4), np.full((3, 2), 3.2)), r"3\.2 rad/voxel; .* within \+-pi: multiply"),
        (lambda: NUFFT((4, 4), np.full((3, 2), np.nan)), "reaches nan rad/voxel; it must be finite"),
        (lambda: NUFFT((4, 4), np.zeros((3, 3))), r"shape \(3, 3\); for an image of 2 axes it must end in"),
        (lambda: NUFFT((4, 4), np.zeros(2)), "must end in"),
        (lambda: NUFFT((4,) * 4, np.zeros((3, 4))), "one to three axes"),
        (lambda: NUFFT((4, 0), np.zeros((3, 2))), "positive length"),
        (lambda: NUFFT((4, 4), np.zeros((3, 2)), eps=0.0), "must lie between 0 and 1, as 1e-6"),
        (lambda: NUFFT((4, 4), np.zeros((3, 2)), eps=np.nan), "eps is nan"),
        (lambda: NUFFT((4, 4), np.zeros((3, 2)), engine="fftw"), "engine is 'fftw'; it must be one of auto"),
        (lambda: NUFFT((4, 4), np.zeros((3, 2)), basis=np.ones((2, 4))), r"it must be \(components, 3\)"),
        (
            lambda: NUFFT((4, 4), torch.zeros(3, 2, requires_grad=True)),
            r"the trajectory belongs to a graph .* A\.bind\(trajectory=\.\.\.\)",
        ),
        (lambda: NUFFT((4, 4), np.zeros((3, 2)), engine="cufinufft")(np.ones((4, 4))), "on a GPU"),
        (
            lambda: LITTLE(np.ones((4, 4)), trajectory=np.full((3, 2), np.inf)),
            "reaches inf rad/voxel",
        ),
        (lambda: LITTLE.weighted_gram(np.ones(4)), r"must be real and broadcast to \(3,\)"),
        (lambda: LITTLE.weighted_gram(np.full(3, np.nan)), "the weight 0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_refused_trajectory_leaves_no_trace(monkeypatch):
    from rayfold.operators import plans

    monkeypatch.setattr(plans, "KEPT", 1)
    A = NUFFT((4, 4), np.zeros((3, 2)))
    for bad in (np.full((3, 2), 9.0), np.full((3, 2), np.nan)):
        with pytest.raises(ValueError, match="rad/voxel"):
            A(np.ones((4, 4), "c8"), trajectory=bad)
    for n in (5, 6, 7):
        assert NUFFT((4, 4), np.zeros((n, 2)))(np.ones((4, 4))).shape == (n,)
