"""The gram as a convolution against A.H W A in double precision, and where it must not be one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tests.operators.table import difference, nufft, phases, trajectory

from rayfold.operators import (
    FFT,
    NUFFT,
    CoilSensitivities,
    OffResonance,
    Toeplitz,
    time_segments,
)

N = 60
WEIGHTS = np.random.default_rng(3).uniform(0, 2, N)
BOUND = {"complex64": 5e-7, "complex128": 1e-12}


def F(shape, **options):
    return NUFFT(shape, trajectory(N, len(shape)), eps=1e-14, **options)


def coils(shape, **options):
    return CoilSensitivities(phases((3, *shape)), **options)


def field_map():
    f = np.linspace(-40.0, 40.0, 72).reshape(8, 9)
    found = time_segments(np.linspace(0.0, 8.0, N), f, n_segments=4)
    return F((8, 9), basis=found.basis) @ OffResonance(f, tuple(found.centres))


CASES = {
    "one axis": lambda: F((11,)),
    "even": lambda: F((8, 12)),
    "odd": lambda: F((9, 7)),
    "mixed": lambda: F((8, 13)),
    "one row": lambda: F((1, 9)),
    "3D": lambda: F((5, 6, 7)),
    "coils": lambda: F((8, 9)) @ coils((8, 9)),
    "coils in 3D": lambda: F((4, 5, 6)) @ coils((4, 5, 6)),
    "two sets": lambda: F((8, 9)) @ CoilSensitivities(phases((3, 2, 8, 9)), sets=True),
    "subspace": lambda: F((8, 9), basis=phases((2, N))),
    "real subspace": lambda: F((8, 9), basis=phases((2, N)).real),
    "coils and subspace": lambda: F((8, 9), basis=phases((2, N))) @ coils((8, 9), components=2),
    "field map": field_map,
    "stack of stars": lambda: F((6, 7)) @ FFT((4, 6, 7), axes=(-3,)),
    "gridding": lambda: F((8, 9), engine="gridding"),
}


def contains(A, kind):
    return type(A).__name__ in kind or any(contains(part, kind) for part in getattr(A, "parts", ()))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_gram_keeps_the_contract(name, weighted):
    A = CASES[name]()
    w = WEIGHTS if weighted else np.ones(N)
    T = A.weighted_gram(WEIGHTS) if weighted else A.gram
    assert contains(T, {"Toeplitz", "SenseGram"})
    x = phases((2, *A.in_shape))  # a batch
    for kind, bound in BOUND.items():
        one = x.astype(kind)
        truth = A.H(w * A(one.astype(complex)))
        found = T(one)
        assert found.dtype == kind
        assert np.linalg.norm(found - truth) <= bound * np.linalg.norm(truth)


@pytest.mark.parametrize("name", ["mixed", "3D", "subspace", "coils"])
def test_gram_is_hermitian_and_positive(name):
    T = CASES[name]().gram
    x, y = phases(T.in_shape), phases(T.in_shape)[..., ::-1].copy()
    assert abs(np.vdot(y, T(x)) - np.conj(np.vdot(x, T(y)))) < 1e-12 * abs(np.vdot(x, T(x)))
    assert np.vdot(x, T(x)).real > 0
    assert difference(T.H(x), T(x)) < 1e-14


def test_real_weights_have_a_real_kernel_and_complex_bases_do_not():
    assert F((8, 9)).weighted_gram(WEIGHTS).kernel.dtype == np.float64
    assert F((8, 9), basis=phases((2, N)).real).gram.kernel.dtype == np.float64
    assert F((8, 9), basis=phases((2, N))).gram.kernel.dtype == np.complex128
    k = trajectory(N // 2, 2)
    both = NUFFT((6, 7), np.concatenate([k, -k]))  # symmetric sampling: real images stay real
    T = Toeplitz.of(both, real=True)
    x = phases((6, 7)).real
    assert T(x).dtype == np.float64 and difference(T(x), both.H(both(x)).real) < 1e-12


def test_gram_is_made_once_per_weights_and_few_are_kept():
    A = F((8, 9))
    assert A.gram is A.gram and A.over((3,)).gram.kernel is A.over((3,)).gram.kernel
    assert A.weighted_gram(WEIGHTS) is A.weighted_gram(WEIGHTS.copy()) is not A.gram
    for scale in range(1, 20):
        A.weighted_gram(WEIGHTS * scale)
    assert len(vars(A)["_grams"]) <= 4
    assert A.weighted_gram(WEIGHTS[None]).kernel.shape == A.gram.kernel.shape  # one for all coils


def test_leading_axes_of_the_transform_are_those_of_its_gram():
    A = F((8, 9)).over((3,))
    x = phases((3, 8, 9))
    assert difference(Toeplitz.of(A, WEIGHTS)(x), A.H(WEIGHTS * A(x))) < 1e-12
    per_coil = np.stack([WEIGHTS, 2 * WEIGHTS, 3 * WEIGHTS])  # no convolution for all coils alike
    T = A.weighted_gram(per_coil)
    assert not contains(T, {"Toeplitz"}) and difference(T(x), A.H(per_coil * A(x))) < 1e-12


def test_gram_of_a_trajectory_in_a_graph_is_not_a_convolution_and_has_its_gradient():
    A, x = nufft((4, 5), 9), torch.tensor(phases((4, 5)))
    k0 = torch.tensor(trajectory(9, 2, 8))
    weights = torch.linspace(0.5, 1.5, 9, dtype=torch.float64)

    def through_gram(k, w):
        return (A.bind(trajectory=k).weighted_gram(w)(x).abs() ** 2).sum()

    def by_hand(k, w):
        B = A.bind(trajectory=k)
        return (B.H(w * B(x)).abs() ** 2).sum()

    grads = []
    for f in (through_gram, by_hand):
        leaves = k0.clone().requires_grad_(), weights.clone().requires_grad_()
        grads.append(torch.autograd.grad(f(*leaves), leaves))
    for a, b in zip(*grads, strict=True):
        assert b.abs().max() > 0 and difference(a.numpy(), b.numpy()) < 1e-10
    w = weights.clone().requires_grad_()  # weights alone in the graph
    (g,) = torch.autograd.grad((A.weighted_gram(w)(x).abs() ** 2).sum(), w)
    w2 = weights.clone().requires_grad_()
    (truth,) = torch.autograd.grad((A.H(w2 * A(x)).abs() ** 2).sum(), w2)
    assert difference(g.numpy(), truth.numpy()) < 1e-10
    over_weights = torch.func.vmap(lambda v: A.weighted_gram(v)(x))(torch.stack([weights, 2 * weights]))
    assert difference(over_weights[1].numpy(), A.H(2 * weights.numpy() * A(x.numpy()))) < 1e-10


def test_gram_of_a_traced_trajectory_in_jax():
    with jax.enable_x64(True):
        A, x = nufft((4, 5), 9), jnp.asarray(phases((4, 5)))

        def energy(k, w):
            B = A.bind(trajectory=k)
            return (abs(B.weighted_gram(w)(x)) ** 2).sum()

        def by_hand(k, w):
            B = A.bind(trajectory=k)
            return (abs(B.H(w * B(x))) ** 2).sum()

        at = jnp.asarray(trajectory(9, 2, 8)), jnp.linspace(0.5, 1.5, 9)
        for a, b in zip(*(jax.jit(jax.grad(f, argnums=(0, 1)))(*at) for f in (energy, by_hand)), strict=True):
            assert difference(a, b) < 1e-10


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_other_libraries_get_the_same_numbers(library):
    A = CASES["coils"]()
    x = phases(A.in_shape).astype("complex64")
    given = torch.from_numpy(x) if library == "torch" else jnp.asarray(x)
    assert difference(A.gram(given), A.gram(x)) < 5e-7
