"""The public checks: they name what is wrong, and find every broken property."""

from dataclasses import dataclass

import numpy as np
import pytest
from tests.operators.plugins import NonuniformDFT
from tests.operators.table import operator, phases, weights

from rayfold.operators import LinearOperator, conformance, dot_test, gradient_test

MATRIX = np.random.default_rng(0).standard_normal((20, 36))
COMPLEX = MATRIX + 1j * np.random.default_rng(1).standard_normal((20, 36))


@dataclass(frozen=True)
class Plugin(LinearOperator):
    """A dense matrix on 6 x 6 images; subclasses break one thing each."""

    in_shape = property(lambda self: (6, 6))
    out_shape = property(lambda self: (20,))
    matrix = MATRIX

    def apply(self, x, out, *, adjoint):
        m = self.matrix.astype(x.dtype)
        if adjoint:
            out[...] = self.after(x @ m.conj()).reshape(out.shape)
        else:
            out[...] = self.before(x.reshape(len(x), 36) @ m.T)

    def before(self, y):
        return y

    def after(self, flat):
        return flat

    @staticmethod
    def image(flat):
        return flat.reshape(-1, 6, 6)


class Doubled(Plugin):
    def after(self, flat):
        return 2 * flat


class Turned(Plugin):
    field, matrix = "complex", COMPLEX

    def after(self, flat):
        return 1j * flat


class Shifted(Plugin):
    def after(self, flat):
        return np.roll(self.image(flat), (1, 0), (1, 2))


class Flipped(Plugin):
    def after(self, flat):
        return self.image(flat)[:, :, ::-1]


class Transposed(Plugin):
    def after(self, flat):
        return self.image(flat).swapaxes(1, 2)


class Conjugated(Plugin):
    """The transpose for real data: A^T y, where A^H y is due."""

    field, matrix = "complex", COMPLEX

    def apply(self, x, out, *, adjoint):
        m = self.matrix.astype(x.dtype)
        out[...] = (x @ m).reshape(out.shape) if adjoint else x.reshape(len(x), 36) @ m.T


class ConjugatedResult(Plugin):
    field, matrix = "complex", COMPLEX

    def after(self, flat):
        return flat.conj()


class Unrelated(Plugin):
    def after(self, flat):
        return flat**2


class NotFinite(Plugin):
    def after(self, flat):
        return np.full_like(flat, np.nan)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (Doubled, r"scaled by 2$"),
        (Turned, r"scaled by -?\(?0?\+?-?1j\)?|scaled by .*1j"),
        (Shifted, r"shifted by \(1, 0\) pixels"),
        (Flipped, r"flipped along axis 1"),
        (Transposed, r"last two axes transposed"),
        (ConjugatedResult, r"conjugate of the adjoint"),
        (Unrelated, r"not a scaled, shifted, flipped or transposed adjoint; compare A\.dense"),
        (NotFinite, r"not finite"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dot_test_names_the_cause(make, cause, dtype):
    import re

    result = dot_test(make(), dtype=dtype)
    assert not result and not result.error <= result.bound
    assert re.search(cause, result.cause), result.cause
    assert f"dot test of {make.__name__} in {dtype}" in str(result) and "NOT an adjoint" in str(result)


def test_a_transpose_for_an_adjoint_is_found():
    result = dot_test(Conjugated(), dtype="float64")
    assert not result and result.error > 1e-3


def test_a_small_wrong_scale_cannot_hide():
    """Half a per cent passes a random pair at real sizes, but not y = A |x|."""

    class Nearly(Plugin):
        matrix = np.abs(np.random.default_rng(0).standard_normal((20, 36)))

        def after(self, flat):
            return 1.00002 * flat

    result = dot_test(Nearly())
    assert not result and "scaled by 1.00002" in result.cause


def test_a_right_adjoint_passes():
    result = dot_test(Plugin(), dtype="float64")
    assert result and result.ok and result.cause == "" and "exact adjoint" in str(result)
    assert dot_test(Plugin(), bound=0.5).bound == 0.5
    assert gradient_test(Plugin())


FEW = ["parallel", "fan moving", "ramp filter", "diagonal, complex", "views taken twice"]


@pytest.mark.parametrize("name", FEW)
def test_operators_conform(name):
    report = conformance(operator(name))
    assert report, str(report)


class Affine(Plugin):
    def before(self, y):
        return y + 1


class OneAtATime(Plugin):
    def apply(self, x, out, *, adjoint):
        super().apply(x, out, adjoint=adjoint)
        if len(x) > 1:
            out[1:] = 0


class WritesItsInput(Plugin):
    def apply(self, x, out, *, adjoint):
        super().apply(x, out, adjoint=adjoint)
        x *= 1.5


class Rounded(Plugin):
    """Not accurate enough: the adjoint uses a matrix rounded to half precision."""

    def after(self, flat):
        return flat.astype(np.float16).astype(flat.dtype)


class Forgetful(Plugin):
    """Keeps scratch memory between calls: two threads spoil each other's."""

    scratch = np.zeros(20)

    def apply(self, x, out, *, adjoint):
        import time

        if not adjoint and x.dtype == np.float64 and len(x) == 1:
            self.scratch[:] = (x.reshape(1, 36) @ MATRIX.T)[0]
            time.sleep(0.002)
            out[0] = self.scratch
        else:
            super().apply(x, out, adjoint=adjoint)


class Unequal(Plugin):
    def __eq__(self, other):
        return False

    __hash__ = Plugin.__hash__


class Raises(Plugin):
    def apply(self, x, out, *, adjoint):
        if adjoint:
            raise RuntimeError("no adjoint yet")
        super().apply(x, out, adjoint=adjoint)


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (Doubled, {"dot test float32", "dot test float64", "dense adjoint", "derivatives in torch"}),
        (Flipped, {"dot test float32", "dot test float64", "dense adjoint", "derivatives in torch"}),
        (Affine, {"linear"}),
        (OneAtATime, {"batch = loop"}),
        (WritesItsInput, {"input left alone"}),
        (Rounded, {"dot test float64"}),
        (Forgetful, {"two threads"}),
        (Unequal, {"hash, equality, repr"}),
        (Raises, {"dot test float32", "dot test float64", "dense adjoint", "batch = loop"}),
    ],
)
def test_conformance_finds_what_is_broken(make, rows):
    report = conformance(make())
    failed = {name for name, good, _ in report.rows if not good}
    assert rows <= failed and not report, str(report)
    assert str(report).count("FAIL") == len(failed)


def test_conformance_of_a_sound_plug_in():
    report = conformance(Plugin())
    assert report, str(report)
    assert len(report.rows) == 12


def test_gradient_test_finds_a_wrong_tangent_of_the_input():
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradient_test(Doubled())


def test_dense_of_known_operators():
    assert (operator("diagonal").dense() == np.diag(weights((3, 4)).ravel())).all()
    assert (operator("diagonal, complex").dense(complex) == np.diag(phases((3, 4)).ravel())).all()
    k = np.zeros((1, 1))
    assert (NonuniformDFT((4,), 1, k).dense(complex) == 1).all()
