"""What may be passed: libraries, precisions, memory layouts, sizes, threads and processes."""

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tests.operators.table import FEW, PROJECTORS, TABLE, difference, operator, parallel, random

from rayfold.operators import ParallelBeam, Volume, XRay
from rayfold.operators.calculus import Diagonal

every = pytest.mark.parametrize("name", TABLE)
few = pytest.mark.parametrize("name", FEW)


def in_library(library: str, x: np.ndarray):
    return {"numpy": np.asarray, "torch": torch.from_numpy, "jax": jnp.asarray}[library](x)


@every
def test_torch_and_jax_give_the_numbers_of_numpy(name):
    for A in (operator(name), operator(name).H):
        x = random((2, *A.in_shape), A)
        expected = A(x)
        y = A(torch.from_numpy(x))
        assert isinstance(y, torch.Tensor) and y.numpy().dtype == expected.dtype
        assert difference(y.numpy(), expected) < 1e-13
        single = A(x.astype("complex64" if A.field == "complex" else "float32"))
        z = A(jnp.asarray(x))
        assert isinstance(z, jax.Array) and z.dtype == single.dtype
        assert (
            difference(z, single) < 1e-6
        )  # the geometry keeps its 64 bits although JAX has switched them off


@pytest.mark.parametrize("name", PROJECTORS)
def test_jax_in_single_precision_is_numpy_in_single_precision(name):
    A = operator(name)
    x = random(A.in_shape, A, "float32")
    assert (np.asarray(A(jnp.asarray(x))) == A(x)).all()
    with jax.enable_x64(True):
        assert (np.asarray(A(jnp.asarray(x, "float64"))) == A(x.astype("float64"))).all()


@few
@pytest.mark.parametrize(
    ("library", "kind"),
    [
        ("numpy", "float16"),
        ("torch", "float16"),
        ("torch", "bfloat16"),
        ("jax", "float16"),
        ("jax", "bfloat16"),
    ],
)
def test_half_types_come_back_and_are_summed_in_single(name, library, kind):
    A = operator(name)
    exact = random(A.in_shape, A, "float32").real
    if library == "torch":
        x = torch.from_numpy(exact).to(getattr(torch, kind))
        wide = x.float().numpy()
    else:
        x = in_library(library, exact).astype(kind)
        wide = np.asarray(x.astype("float32"))
    y, expected = A(x), A(wide)
    if A.field == "real":
        assert y.dtype == x.dtype
        rounded = torch.from_numpy(expected).to(getattr(torch, kind)).float().numpy()
        got = y.float().numpy() if library == "torch" else np.asarray(y.astype("float32"))
        # one rounding at the end: no error from sums or from between the parts
        assert (
            np.abs(got - rounded).max() <= 2.0 ** (-10 if kind == "float16" else -7) * np.abs(rounded).max()
        )
        assert (np.abs(got - rounded) > 1e-5 * np.abs(rounded).max()).mean() < 0.02
    else:
        assert str(y.dtype).endswith("complex64")
        assert difference(np.asarray(y), expected) < 1e-6


def test_half_types_do_not_overflow_inside():
    A = XRay(Volume((300, 3)), ParallelBeam([0.0], 3))
    x = np.full(A.in_shape, 400.0, np.float16)
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert A(x)[0, 1] == np.inf  # 120000 is no float16, ...
    assert ((1 / 300) * A)(x)[0, 1] == pytest.approx(400, rel=1e-3)  # ... but it may occur on the way


@few
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_complex_and_real_input(name, library):
    A = operator(name)
    re, im = (random(A.in_shape, parallel(), "float32", seed) for seed in (1, 2))
    parts = np.asarray(A(re)) + 1j * np.asarray(A(im))
    y = A(in_library(library, re + np.complex64(1j) * im))
    assert str(y.dtype).endswith("complex64")
    assert difference(np.asarray(y), parts) < 1e-5
    real = A(in_library(library, re))
    assert str(real.dtype).endswith("complex64" if A.field == "complex" else "float32")


@every
def test_memory_layout_makes_no_difference(name):
    for A in (operator(name), operator(name).H):
        x = random((2, *A.in_shape), A)
        expected = A(x)
        wide = np.zeros((2, *A.in_shape[:-1], 2 * A.in_shape[-1]), x.dtype)
        wide[..., ::-2] = x
        offset = np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)  # misaligned
        for same in (np.asfortranarray(x), wide[..., ::-2], offset, np.flip(np.flip(x, 0).copy(), 0)):
            assert difference(A(same), expected) < 1e-15
        t = torch.from_numpy(x)
        expanded = t[:1].expand(3, *t.shape[1:])
        assert difference(A(t.mT.contiguous().mT), expected) < 1e-15
        assert difference(A(expanded)[2], expected[0]) < 1e-15


@pytest.mark.parametrize("name", FEW)
def test_lazily_conjugated_and_negated_tensors(name):
    A = operator(name)
    x = torch.randn(A.in_shape, dtype=torch.complex128)
    lazy, negated = x.conj(), x.conj().imag
    assert lazy.is_conj() and negated.is_neg()
    assert torch.equal(A(lazy), A(lazy.resolve_conj()))
    assert torch.equal(A(negated), A(negated.resolve_neg()))


@few
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("lead", [(0,), (2, 0), (1, 1, 1), ()])
def test_batches_of_any_rank_even_empty(name, library, lead):
    for A in (operator(name), operator(name).H):
        y = A(in_library(library, np.zeros((*lead, *A.in_shape), np.float32)))
        assert tuple(y.shape) == (*lead, *A.out_shape)


@every
def test_the_input_is_left_alone_and_the_output_is_new(name):
    A = operator(name)
    if name == "identity":
        return
    x = random(A.in_shape, A)
    kept = x.copy()
    first = A(x)
    again, other = A(x), A(2 * x)
    assert (x == kept).all() and (first == again).all()
    assert not np.shares_memory(first, again) and not np.shares_memory(first, x)
    assert difference(other, 2 * first) < 1e-12


@every
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_integers_are_refused_with_a_cure(name, library):
    A = operator(name)
    with pytest.raises(
        TypeError, match=r"floating-point arrays, got int32; convert with astype\('float32'\)"
    ):
        A(in_library(library, np.ones(A.in_shape, np.int32)))


@every
def test_wrong_shapes_and_things_that_are_no_arrays_are_refused(name):
    A = operator(name)
    with pytest.raises(ValueError, match=r"expects \(\.\.\., \d+.* got \("):
        A(np.zeros((*A.in_shape[:-1], A.in_shape[-1] + 1)))
    with pytest.raises(ValueError, match=r"expects \(\.\.\., \d+.* got \("):
        A.H(np.zeros(A.out_shape[1:]))
    with pytest.raises(TypeError, match=r"not list; wrap it in numpy\.asarray"):
        A(np.zeros(A.in_shape).tolist())


def test_operands_of_another_library_or_device_are_refused():
    A = parallel()
    vectors = A.beam.vectors
    x = np.ones(A.in_shape, np.float32)
    with pytest.raises(TypeError, match="operand vectors is a torch array, the input a numpy array"):
        A(x, vectors=torch.tensor(vectors))
    with pytest.raises(TypeError, match="operand vectors is a jax array, the input a tensor"):
        A(torch.tensor(x), vectors=jnp.asarray(vectors))
    with pytest.raises(TypeError, match="operand vectors is a torch array, the input a JAX"):
        A(jnp.asarray(x), vectors=torch.tensor(vectors))
    with pytest.raises(TypeError, match="operand weights is a torch array, the input a jax array"):
        Diagonal((3,), np.ones(3))(jnp.ones(3), weights=torch.ones(3))
    with pytest.raises(
        ValueError, match=r"operand vectors is on meta, the input on cpu; move one with \.to\(\)"
    ):
        A(torch.tensor(x), vectors=torch.tensor(vectors, device="meta"))
    with pytest.raises(TypeError, match="no operand 'angles'; it has: vectors"):
        A(x, angles=vectors)
    with pytest.raises(ValueError, match=r"operand vectors must end in shape \(7, 6\), got \(6, 6\)"):
        A(x, vectors=vectors[1:])


def test_shapes_alone_on_the_meta_device():
    assert parallel()(torch.empty(3, 9, 11, device="meta")).shape == (3, 7, 14)


def test_geometry_that_is_not_finite_is_refused():
    A = parallel()
    bad = A.beam.vectors.copy()
    bad[2] = np.nan
    with pytest.raises(ValueError, match="rays without direction"):
        A(np.ones(A.in_shape), vectors=bad)


@few
def test_the_same_bits_every_time(name):
    for A in (operator(name), operator(name).H):
        x = random((3, *A.in_shape), A, "float32")
        first = A(x)
        assert all((A(x) == first).all() for _ in range(5))


def test_two_threads_and_more_cores_change_nothing(monkeypatch):
    A = XRay(Volume((64, 64)), ParallelBeam.evenly(50, 90))
    xs = [random(A.in_shape, A, "float32", seed) for seed in range(8)]
    alone = [A.gram(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(A.gram, xs))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))
    monkeypatch.setenv("RAYFOLD_NUM_THREADS", "1")
    assert all((A.gram(x) == a).all() for x, a in zip(xs, alone, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes():
    A = XRay(Volume((64, 64)), ParallelBeam.evenly(50, 90))
    x = random(A.in_shape, A, "float32")
    expected = A(x)  # the parent's pool has threads now, the child's has none
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX and Python warn of fork in a process with threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, b"same" if (A(x) == expected).all() else b"other")
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 16) == b"same"
    os.close(read)


BIG = """
import resource
import numpy as np
from rayfold.operators import ParallelBeam, Volume, XRay

{body}
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6e6, "more than 6 GB"
"""
IMAGES = """
A = XRay(Volume((128, 128)), ParallelBeam([0.3], 2))
x = np.zeros((2**17 + 3, 128, 128), np.float32)  # pages of zeros that nobody writes take no memory
assert x.size > 2**31
x[-1] = np.random.default_rng(0).standard_normal((128, 128))
y = A(x)
assert (y[-1] == A(x[-1])).all() and y[-1].any() and not y[:-1].any()
"""
SINOGRAMS = """
A = XRay(Volume((2, 2)), ParallelBeam(np.linspace(0, 3, 2**11), 2**10, 0.01))
y = np.zeros((2**10 + 1, *A.out_shape), np.float32)
assert y.size > 2**31
y[-1] = np.random.default_rng(0).standard_normal(A.out_shape)
x = A.H(y)
assert (x[-1] == A.H(y[-1])).all() and x[-1].any() and not x[:-1].any()
"""


@pytest.mark.slow
@pytest.mark.parametrize("body", [IMAGES, SINOGRAMS], ids=["images", "sinograms"])
def test_more_elements_than_a_32_bit_index_can_count(body):
    done = subprocess.run([sys.executable, "-c", BIG.format(body=body)], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
