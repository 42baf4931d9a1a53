"""Every operator: its adjoint, linearity, batches, equality."""

import copy
import math
import pickle

import numpy as np
import pytest
from tests.operators.table import AXES, IMAGE, PROJECTORS, TABLE, TURN, difference, operator, parallel, random

from rayfold.operators import FanBeam, Identity, ParallelBeam, Stack, Volume, XRay, dot_test
from rayfold.operators.calculus import Diagonal, Pad

DENSE = {"float32": 1e-6, "float64": 1e-13}
every = pytest.mark.parametrize("name", TABLE)
both = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every
@both
@pytest.mark.parametrize("seed", [0, 1])
def test_dot(name, dtype, seed):
    result = dot_test(operator(name), dtype=dtype, seed=seed)
    assert result, str(result)


@every
@both
def test_dense_matrices_agree_entry_by_entry(name, dtype):
    A = operator(name)
    kind = {"float32": "complex64", "float64": "complex128"}[dtype] if A.field == "complex" else dtype
    assert difference(A.H.dense(kind).conj().T, A.dense(kind)) <= DENSE[dtype]


@every
def test_linear(name):
    A = operator(name)
    x, y = (random(A.in_shape, A, seed=s) for s in (1, 2))
    assert difference(A(2 * x - 3 * y), 2 * A(x) - 3 * A(y)) < 1e-12


@every
def test_batch_is_loop(name):
    for A in (operator(name), operator(name).H):
        x = random((2, 3, *A.in_shape), A, "float32")
        assert difference(A(x), np.stack([np.stack([A(one) for one in row]) for row in x])) < 1e-6


@every
def test_shapes_and_adjoint_of_the_adjoint(name):
    A = operator(name)
    assert A.H.H == A
    assert A(np.zeros(A.in_shape)).shape == A.out_shape
    assert A.gram.in_shape == A.gram.out_shape == A.in_shape
    assert difference(A.gram(random(A.in_shape, A)), A.H(A(random(A.in_shape, A)))) < 1e-12


@every
@pytest.mark.parametrize("again", [copy.deepcopy, lambda A: pickle.loads(pickle.dumps(A))])
def test_copies_are_equal_and_compute_the_same(name, again):
    import torch

    A = operator(name)
    x = torch.as_tensor(random(A.in_shape, A))
    expected = A(x)  # fills what an operator keeps for torch, which must not travel
    twin = again(A)
    assert twin == A and hash(twin) == hash(A) and repr(twin) == repr(A)
    assert (twin(x) == expected).all()


def test_different_operators_are_not_equal():
    ops = [operator(name) for name in TABLE]
    for i, a in enumerate(ops):
        assert all(a != b for b in ops[:i])


@pytest.mark.parametrize("name", PROJECTORS)
def test_projectors_are_non_negative_and_bounded(name):
    A = operator(name)
    assert A.nonnegative and (A.dense() >= 0).all()
    largest = np.linalg.svd(A.dense(), compute_uv=False)[0]
    assert largest <= A.norm_bound() * (1 + 1e-6)
    assert 0.97 * largest <= A.norm() <= largest * (1 + 1e-5)


def test_norm_of_complex_and_empty():
    A = operator("composed, complex")
    assert A.norm(100) == pytest.approx(np.linalg.svd(A.dense(complex), compute_uv=False)[0], rel=1e-2)
    assert (0 * parallel()).norm() == 0
    with pytest.raises(ValueError, match=r"may have negative entries; use norm\(\)"):
        operator("ramp filter").norm_bound()


def test_algebra_matches_the_matrices():
    A, B = parallel(), XRay(IMAGE, ParallelBeam(TURN + 0.5, 14))
    D = Diagonal((9, 11), np.arange(99.0).reshape(9, 11))
    a, b, d = A.dense(), B.dense(), D.dense()
    for got, expected in [
        (A + B, a + b), (A - B, a - b), (-A, -a), (2 * A, 2 * a), (A * 0.5, a / 2), (A / 4, a / 4),
        (A @ D, a @ d), (A.H, a.T), ((A @ D).H, (a @ d).T), ((A @ D).gram, (a @ d).T @ (a @ d)),
        (Stack((A, B)), np.concatenate([a, b])), (np.float32(2) * A, 2 * a), (A * np.float64(2), 2 * a),
        ((A + B).H @ (A + B), (a + b).T @ (a + b)),
    ]:  # fmt: skip
        assert difference(got.dense(), expected) < 1e-12
    scaled = (2 - 1j) * A
    assert difference(scaled.dense(complex), (2 - 1j) * a) < 1e-12
    assert difference(scaled.H.dense(complex), (2 + 1j) * a.T) < 1e-12
    x = np.ones(A.in_shape)
    assert (A @ x == A(x)).all()


def test_identities_vanish_in_products():
    A = parallel()
    assert A @ Identity(A.in_shape) is A and Identity(A.out_shape) @ A is A
    eye = Identity((3,))
    assert eye @ eye == eye and eye.H is eye


@pytest.mark.parametrize("rows", [slice(None, None, 2), 3, -1, [4, 1], np.array([True, False] * 3 + [True])])
@pytest.mark.parametrize("name", ["fan flat", "fan moving", "scaled"])
def test_selected_views_are_views_of_the_sinogram(name, rows):
    A = operator(name)
    x, few = random(A.in_shape, A, "float32"), A[rows]
    expected = A(x)[np.atleast_1d(np.arange(7)[rows])]
    assert few(x).shape == few.out_shape == expected.shape
    assert difference(few(x), expected) < 1e-6
    assert dot_test(few)


def test_selecting_from_a_projector_gives_a_smaller_projector():
    few = parallel()[2:4]
    assert isinstance(few, XRay) and few.beam == ParallelBeam(TURN[2:4], 14)
    assert parallel()[:][:].beam == parallel().beam
    with pytest.raises(TypeError, match="bare structure"):
        parallel().structure[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: parallel() @ parallel(),
            r"cannot compose XRay @ XRay: shapes \(9, 11\) and \(7, 14\) differ",
        ),
        (lambda: parallel() + parallel().H, r"cannot add operators"),
        (lambda: Stack(()), "at least one"),
        (lambda: Stack((parallel(), Identity((9, 11)))), "cannot stack"),
        (lambda: Pad((3,), -1, 0), "both must be 0 or more"),
        (lambda: XRay(Volume((2, 3, 4)), ParallelBeam(AXES, 4)), "use one slice"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_only_numbers_scale():
    with pytest.raises(TypeError):
        "2" * parallel()
    with pytest.raises(TypeError):
        parallel() + 1


def any_projector(rng):
    """Grids from one pixel up, any bins, and sources from far away to just outside the grid."""
    volume = Volume(
        tuple(rng.integers(1, 30, 2)), tuple(10 ** rng.uniform(-0.5, 0.5, 2)), tuple(rng.uniform(-5, 5, 2))
    )
    angles = rng.uniform(-7, 7, 5)
    n_cols, pitch = int(rng.integers(1, 60)), 10 ** rng.uniform(-1, 0.7)
    offset = rng.choice([0.0, rng.uniform(-20, 20)])
    if rng.random() < 0.3:
        return XRay(volume, ParallelBeam(angles, n_cols, pitch, detector_offset=offset))
    reach = (
        math.hypot(*(n + 3 for n in volume.extent)) / 2 + math.hypot(*volume.middle) + 2 * max(volume.steps)
    )
    source = reach * (1.02 + 10 ** rng.uniform(-2, 2))
    distance = source + rng.uniform(0, 3) * reach
    curved = bool(rng.random() < 0.5 and n_cols * pitch < 3 * distance)
    return XRay(
        volume,
        FanBeam(angles, n_cols, pitch, source, distance, curved=curved, detector_offset=offset,
                source_offset=rng.choice([0.0, rng.uniform(-3, 3)])),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_any_geometry_has_an_exact_adjoint(seed):
    try:
        A = any_projector(np.random.default_rng(seed))
    except ValueError as error:
        assert "reaches the source" in str(error) or "half a turn" in str(error)
        return
    for dtype, bound in DENSE.items():
        assert difference(A.H.dense(dtype).T, A.dense(dtype)) <= bound
