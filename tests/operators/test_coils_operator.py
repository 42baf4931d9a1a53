"""Coil sensitivities: sets, components, batches, and maps that do not fit."""

import numpy as np
import pytest
import torch
from tests.operators.table import difference, phases

from rayfold.operators import FFT, CoilSensitivities


def test_every_coil_multiplies_by_its_map():
    s, x = phases((3, 4, 5)), phases((2, 4, 5))
    S = CoilSensitivities(s)
    assert (S.in_shape, S.out_shape, S.n_coils) == ((4, 5), (3, 4, 5), 3)
    assert difference(S(x), s * x[:, None]) == 0
    y = phases((2, 3, 4, 5))
    assert difference(S.H(y), (s.conj() * y).sum(1)) < 1e-15
    assert difference(S.gram(x), (abs(s) ** 2).sum(0) * x) < 1e-14


def test_sets_add_up():
    s, x, y = phases((3, 2, 4, 5)), phases((6, 2, 4, 5)), phases((6, 3, 4, 5))
    S = CoilSensitivities(s, sets=True)
    assert (S.in_shape, S.out_shape) == ((2, 4, 5), (3, 4, 5))
    assert difference(S(x), np.einsum("csyx,bsyx->bcyx", s, x)) < 1e-14
    assert difference(S.H(y), np.einsum("csyx,bcyx->bsyx", s.conj(), y)) < 1e-14


def test_sets_and_components_keep_their_order():
    s = phases((3, 2, 4, 5))
    S = CoilSensitivities(s, sets=True, components=6)
    x, y = phases(S.in_shape), phases(S.out_shape)
    assert S.out_shape == (3, 6, 4, 5) and S.in_shape == (6, 2, 4, 5)
    assert difference(S(x), np.einsum("csyx,ksyx->ckyx", s, x)) < 1e-14
    assert abs(np.vdot(y, S(x)) - np.vdot(S.H(y), x)) < 1e-12 * np.linalg.norm(x) * np.linalg.norm(y)


def test_slices_see_the_same_coils_and_batches_their_own():
    s = phases((3, 4, 5))
    S, x = CoilSensitivities(s), phases((2, 4, 5))
    assert difference(S.over((2,))(x), S(x)) == 0
    own = phases((2, 3, 4, 5))
    for make in (np.asarray, torch.tensor):
        B = S.bind(maps=make(own))
        y = np.asarray(B(make(x)))
        assert difference(y, own * x[:, None]) < 1e-15
        assert difference(np.asarray((FFT((4, 5)) @ B)(make(x))), FFT((4, 5))(y)) < 1e-14


def test_precision_is_that_of_the_image():
    S = CoilSensitivities(phases((3, 4, 5)))
    for kind, expected in (("complex64",) * 2, ("float32", "complex64"), ("float64", "complex128")):
        assert S(np.ones((4, 5), kind)).dtype == expected
    x = torch.ones(4, 5, requires_grad=True)
    S(x).abs().square().sum().backward()
    assert x.grad.dtype == torch.float32
    assert difference(x.grad.numpy(), 2 * (abs(S.maps) ** 2).sum(0)) < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CoilSensitivities(np.ones(4)), r"maps have shape \(4,\); they need coils and one or"),
        (lambda: CoilSensitivities(np.ones((4, 4)), sets=True), "they need coils, sets and one or more"),
        (lambda: CoilSensitivities(None), "maps have shape None"),
        (lambda: CoilSensitivities(np.ones((3, 4, 5)))(np.ones((5, 4))), r"expects \(..., 4, 5\), got \(5"),
        (
            lambda: CoilSensitivities(np.ones((3, 4, 5))).H(np.ones((2, 4, 5))),
            r"CoilSensitivities.H expects \(..., 3, 4, 5\), got \(2, 4, 5\)",
        ),
        (
            lambda: CoilSensitivities(np.ones((3, 4, 5)))(np.ones((4, 5)), maps=np.ones((2, 4, 5))),
            r"operand maps must end in shape \(3, 4, 5\), got \(2, 4, 5\)",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="has no operand 'map'; it has: 'maps'"):
        CoilSensitivities(np.ones((3, 4, 5))).bind(map=1)
