"""What a certificate says of the operator, in words, as JSON, and in every array library."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from rayfold.operators import Gaussian, Identity, LinearOperator, ParallelBeam, Stack, Volume, XRay, dot_test
from rayfold.operators.calculus import Diagonal
from rayfold.recon import Problem
from rayfold.recon.evidence import certify
from rayfold.recon.evidence.fingerprint import sha256
from rayfold.recon.evidence.operator_check import examine

A = XRay(Volume((12, 13), 1.1), ParallelBeam.evenly(9, 19))


@dataclasses.dataclass(frozen=True)
class Wrong(LinearOperator):
    """Its adjoint is off by a factor."""

    factor: float
    in_shape = out_shape = (16,)

    def apply(self, x, out, *, adjoint, **operands):
        out[...] = x * (self.factor if adjoint else 1.0)


@pytest.fixture
def case(rng):
    x = rng.random(A.in_shape)
    return Problem(A, A(x) + 0.1 * rng.standard_normal(A.out_shape), Gaussian(0.1)), x


def converters():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    return {"torch": torch.as_tensor, "jax": jax.numpy.asarray}


# --- the operator ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adjoint_error_and_norm(dtype):
    x, y = np.zeros(A.in_shape, dtype), np.zeros(A.out_shape, dtype)
    found = examine(A, x, y)
    assert found.error <= found.bound == dot_test(A, dtype=dtype).bound
    assert float(found.norm) == pytest.approx(np.linalg.norm(A.dense(), 2), rel=2e-3)
    assert float(found.norm) <= np.linalg.norm(A.dense(), 2) * (1 + 1e-5)


@pytest.mark.parametrize("factor", [1.001, 2.0, -1.0])
def test_a_wrong_adjoint_is_named(factor):
    y = np.random.default_rng(0).standard_normal(16)
    c = certify(Problem(Wrong(factor), y, Gaussian(1.0)), y)
    assert c.adjoint_error > c.adjoint_bound
    assert c.adjoint_error >= dot_test(Wrong(factor), dtype="float64").error / 2
    assert "adjoint is WRONG" in c.summary()


@pytest.mark.parametrize("op", [Identity((7,)), Diagonal((7,), np.r_[np.zeros(6), 3.0]), 2j * Identity((7,))])
def test_norm_of_operators_with_few_eigenvalues(op):
    """An invariant space ends the Lanczos steps; rounding must not go on."""
    found = examine(op, np.zeros(7, complex), np.zeros(7, complex))
    assert float(found.norm) == pytest.approx(np.linalg.norm(op.dense(complex), 2))


# --- libraries ---


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_libraries_agree(case, library, dtype):
    problem, x = case
    y, x = problem.y.astype(dtype), x.astype(dtype)
    if dtype == np.complex64:
        y, x = y * np.complex64(1 + 0.5j), x * np.complex64(1 + 0.5j)
    convert = converters()[library]
    expected = certify(Problem(A, y, Gaussian(2.0)), x)  # settles within its budget
    found = certify(Problem(A, convert(y), Gaussian(2.0)), convert(x))
    lock, expected_lock = found.lock(convert(x)), expected.lock(x)
    for got, want in (
        (found.unseen, expected.unseen),
        (found.added, expected.added),
        (lock, expected_lock),
    ):
        assert type(got) is type(convert(x)) and str(got.dtype).endswith(np.dtype(dtype).name)
        np.testing.assert_allclose(np.asarray(got), want, atol=2e-3 * np.abs(x).max())
    for name in ("chi_square", "norm", "unseen_share", "added_share", "scale", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-2)
        assert type(getattr(found, name)) is float
    assert found.hashes == expected.hashes  # content, not library


def test_no_graph_is_kept(case):
    torch = pytest.importorskip("torch")
    problem, x = case
    y = torch.as_tensor(problem.y).requires_grad_()
    c = certify(Problem(A, y, Gaussian(0.1)), torch.as_tensor(x).requires_grad_(), pairs=11)
    assert not c.unseen.requires_grad and not c.added.requires_grad


def test_learned_operands_in_torch():
    torch = pytest.importorskip("torch")
    w = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    B = Diagonal((3,), w)
    c = certify(Problem(B, torch.ones(3, dtype=torch.float64), Gaussian(1e-4)), torch.ones_like(w))
    np.testing.assert_allclose(c.unseen.numpy(), [0, 1, 0], atol=1e-6)
    assert c.norm == pytest.approx(2)


def test_inputs_are_left_alone(case):
    problem, x = case
    y, before = problem.y.copy(), x.copy()
    certify(problem, x).lock(x)
    np.testing.assert_array_equal(problem.y, y)
    np.testing.assert_array_equal(x, before)


# --- words, JSON, report ---


def test_the_same_twice(case):
    assert certify(*case).as_dict() == certify(*case).as_dict()


def test_json_is_plain_and_small():
    B = Diagonal((400, 500), np.ones((400, 500), np.float32))
    y = np.random.default_rng(0).standard_normal((400, 500)).astype(np.float32)
    c = certify(Problem(B, y, Gaussian(1.0)), np.ones((400, 500), np.float32), pairs=11)
    text = json.dumps(c.as_dict(), allow_nan=False)
    assert len(text) < 8000
    back = json.loads(text)
    assert len(back["views"]) == 100 == len(back["spectrum"]) and back["unseen"]["shape"] == [400, 500]
    assert np.mean(back["views"]) == pytest.approx(c.chi_square)
    assert back["summary"] == c.summary().split("\n")


def test_a_report_takes_it(case, tmp_path):
    from rayfold.recon.report import write_report

    c = certify(*case)
    page = write_report(tmp_path / "a.html", title="x", images={}, tables=c.tables(), facts=c.facts())
    text = page.read_text()
    assert c.hashes["data"] in text and "Not seen by the data" in text and "energy not seen" in text
    assert set(c.figures()) == {"Not seen by the data", "Put there by the prior"}
    assert all(v.shape == A.in_shape and v.dtype == np.float64 for v in c.figures().values())


def test_it_prints_sentences(case):
    text = repr(certify(*case))
    assert text.startswith("Certificate\nThe data are explained: chi-square ") and "p = " in text
    assert "of the image's energy lies where these data say nothing at this noise." in text
    assert "adjoint is exact" in text


def test_what_was_not_resolved_is_said_so(case):
    """A share above its bound, or a bound above the whole energy, is never printed as a finding."""
    c = certify(*case)
    open_ended = dataclasses.replace(c, added_share=0.4, added_at_most=1.7).summary()
    assert f"not resolved within {c.pairs} operator pairs" in open_ended and "170" not in open_ended
    assert (
        "put about 2 % (at most 13 %)"
        in dataclasses.replace(c, added_share=0.02, added_at_most=0.13).summary()
    )
    assert "put at most 13 % of" in dataclasses.replace(c, added_share=0.4, added_at_most=0.13).summary()
    assert (
        dataclasses.replace(c, unseen_share=1.0, unseen_at_most=1.0).facts()["Not seen by the data"]
        == "100 %"
    )


def test_it_cannot_be_changed(case):
    with pytest.raises(dataclasses.FrozenInstanceError):
        certify(*case).chi_square = 1.0


# --- hashes ---


def test_hashes_tell_contents_apart(case):
    problem, x = case
    c = certify(problem, x, pairs=11)
    assert all(len(value) == 64 for value in c.hashes.values())
    same = certify(
        Problem(XRay(Volume((12, 13), 1.1), ParallelBeam.evenly(9, 19)), problem.y, Gaussian(0.1)), x
    )
    assert same.hashes == c.hashes
    moved = XRay(Volume((12, 13), 1.1), ParallelBeam.evenly(9, 19, start=1e-9))
    others = {
        "operator": certify(problem._replace(A=moved), x, pairs=11),
        "noise": certify(problem._replace(noise=Gaussian(0.2)), x, pairs=11),
        "data": certify(problem._replace(y=problem.y * (1 + 1e-12)), x, pairs=11),
        "image": certify(problem, x * (1 + 1e-12), pairs=11),
    }
    for name, other in others.items():
        assert {k for k in c.hashes if c.hashes[k] != other.hashes[k]} == {name}


def test_fingerprints():
    w = np.array([1.0, 2.0])
    assert sha256(Diagonal((2,), w)) == sha256(Diagonal((2,), w.copy())) != sha256(Diagonal((2,), 2 * w))
    assert sha256(np.zeros((2, 3))) != sha256(np.zeros((3, 2))) != sha256(np.zeros(6))
    assert sha256(("ab", "c")) != sha256(("a", "bc")) and sha256(1) != sha256(1.0) != sha256(True)
    assert sha256({"a": 1, "b": 2}) == sha256({"b": 2, "a": 1})
    assert sha256(w.astype(">f8")) == sha256(w) and sha256(np.asfortranarray(np.eye(3))) == sha256(np.eye(3))
    assert sha256(Stack((Identity((2,)), Identity((2,))))) != sha256(Stack((Identity((2,)),)))
    assert sha256(object()) == sha256(object())  # no address enters


# --- what is refused ---


def test_bad_input(case):
    problem, x = case
    with pytest.raises(ValueError, match=r"has shape \(13, 12\); these data belong to one of \(12, 13\)"):
        certify(problem, x.T)
    with pytest.raises(ValueError, match="not finite"):
        certify(problem, x * np.nan)
    with pytest.raises(ValueError, match="pairs is 10; evidence needs at least 11"):
        certify(problem, x, pairs=10)
    with pytest.raises(ValueError, match="scale is 0; it must be a positive number"):
        certify(problem, x, scale=0)
    with pytest.raises(TypeError, match="the image is float32, the data float64; give both in one precision"):
        certify(problem, x.astype(np.float32))
    with pytest.raises(TypeError, match="the data are a numpy array, the image a torch array"):
        certify(problem, pytest.importorskip("torch").as_tensor(x))
    with pytest.raises(ValueError, match="locking needs at least 2"):
        certify(problem, x, pairs=11).lock(x, pairs=1)
