"""What travels with an image: how far its data support it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import to_numpy
from rayfold.recon.evidence import wording
from rayfold.recon.evidence.familiar import Familiarity
from rayfold.recon.evidence.range_null import locked
from rayfold.recon.evidence.system import System

Array = Any
Floats = npt.NDArray[np.float64]
Number = Any  # a float for one problem, an array (...,) for a batch
LONGEST = 100  # numbers per list in `as_dict`


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """Evidence for an image or a batch of images; `certify` makes it.

    Attributes
    ----------
    chi_square : float or ndarray
        Squared whitened residual per datum; 1 for noise alone.
    n_data : float or ndarray
        Data counted; a complex datum is two.
    p_value : float, ndarray or None
        Probability that noise alone leaves as much; None where the noise was estimated.
    p_overfit : float, ndarray or None
        Probability that noise alone leaves as little; small where the image has taken up noise.
    noise_estimated : bool
        The noise was found from the data themselves, not measured.
    views, out_of_line : ndarray, (..., views)
        Chi-square per datum along the first axis of the data (view, spoke, coil), and which ones fit worse
        than their company.
    frequencies, spectrum : ndarray, (bins,) and (..., bins)
        Cycles per sample of the last data axis, and power of the whitened residual; 1 for white noise.
    correlation, correlation_error : float or ndarray
        Of neighbours in the whitened residual, and its standard deviation for white noise.
    adjoint_error, adjoint_bound : float
        Of the dot test, relative, and what its precision allows.
    norm : float or ndarray
        Largest singular value of A, from below.
    eps, scale : float or ndarray
        ``eps = 1 / scale^2`` in inverse squared image units, and the size of the image.
    unseen : array, (..., *A.in_shape)
        ``x - (A.H W A + eps)^-1 A.H W A x``: what the data do not see at their noise, in the image's unit.
    unseen_share, unseen_at_least, unseen_at_most : float or ndarray
        Its energy over the image's: of the map, and strict bounds, which meet when the solver has settled.
    unseen_error : float or ndarray
        Upper bound of the norm of what the map still lacks, over the norm of the image.
    added : array, (..., *A.in_shape)
        What the prior put there: `unseen` less the unseen part of the minimum-norm solution.
    added_share, added_at_most : float or ndarray
        Its energy over the image's: of the map, and a strict upper bound.
    pairs : int
        Operator pairs used, for each problem.
    hashes : mapping
        SHA-256 of data, operator, noise and image.
    row : str
        What an entry along the first axis of the data is called: "view", "coil", ...
    familiar : Familiarity or None
        For images of a learned prior: how unlike its training they look, and whether values suit the unit.
    """

    chi_square: Number
    n_data: Number
    p_value: Number | None
    p_overfit: Number | None
    noise_estimated: bool
    views: Floats
    out_of_line: npt.NDArray[np.bool_]
    frequencies: Floats
    spectrum: Floats
    correlation: Number
    correlation_error: Number
    adjoint_error: float
    adjoint_bound: float
    norm: Number
    eps: Number
    scale: Number
    unseen: Array
    unseen_share: Number
    unseen_at_least: Number
    unseen_at_most: Number
    unseen_error: Number
    added: Array
    added_share: Number
    added_at_most: Number
    pairs: int
    hashes: Mapping[str, str]
    system: System = field(repr=False)
    row: str = field(default="view", kw_only=True)
    familiar: Familiarity | None = field(default=None, kw_only=True)

    def lock(self, x: Array, *, pairs: int = 30) -> Array:
        """Keep what the data do not see of `x`, and put what they see back to what they say.

        ``x + (A.H W A + eps)^-1 A.H W (y - A x)``, with the eps of this certificate: the unseen part of x
        plus the minimum-norm solution. Where a component of the data has eigenvalue g in ``A.H W A``, its
        distance from the data shrinks by ``eps / (g + eps)``: components far above the noise are restored,
        components far below are left alone, and locking again changes nothing but those between.

        Parameters
        ----------
        x : array, (..., *A.in_shape)
            Image, in the library of the data.
        pairs : int
            Operator pairs at most; what they do not reach stays as it is in `x`.

        Returns
        -------
        array
            Of the shape and type of `x`.
        """
        if pairs < 2:
            raise ValueError(f"pairs is {pairs}; locking needs at least 2, 30 are usual")
        return locked(self.system, x, pairs)

    def summary(self) -> str:
        """The evidence in a few sentences; for a batch, of the worst problem in each respect."""
        return "\n".join(wording.sentences(self))

    def __repr__(self) -> str:
        return f"Certificate\n{self.summary()}"

    def facts(self) -> dict[str, Any]:
        """What to read first, as short names and values."""
        return wording.facts(self)

    def tables(self) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
        """Headings and rows, as `rayfold.recon.report.write_report` takes them."""
        return wording.tables(self)

    def figures(self) -> dict[str, npt.NDArray[Any]]:
        """Maps to draw, by caption, on the host; magnitudes of complex ones."""
        maps = {"Not seen by the data": self.unseen, "Put there by the prior": self.added}
        arrays = {name: np.asarray(to_numpy(value)) for name, value in maps.items()}
        return {name: np.abs(a) if np.iscomplexobj(a) else a for name, a in arrays.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; long lists are averaged down to at most 100 numbers, maps to their range."""
        short = {"views": self.views, "frequencies": self.frequencies, "spectrum": self.spectrum}
        maps = {"unseen": self.unseen, "added": self.added}
        skipped = {*short, *maps, "out_of_line", "system", "hashes", "familiar"}
        found = {name: _listed(value) for name, value in vars(self).items() if name not in skipped}
        found |= {name: _listed(averaged(value, LONGEST)) for name, value in short.items()}
        found |= {name: _range(value) for name, value in maps.items()}
        flagged = np.argwhere(self.out_of_line)
        found["out_of_line"] = [int(i[0]) if i.size == 1 else i.tolist() for i in flagged[:LONGEST]]
        found["n_out_of_line"] = len(flagged)
        if self.familiar is not None:
            found["familiar"] = self.familiar._asdict() | {"warning": self.familiar.warning}
        return found | {"hashes": dict(self.hashes), "summary": self.summary().split("\n")}


def averaged(values: Floats, n: int) -> Floats:
    """Means over neighbours along the last axis, so that at most `n` are left; nan counts for nothing."""
    length = values.shape[-1]
    if length <= n:
        return values
    some = np.isfinite(values)
    starts = np.linspace(0, length, n, endpoint=False).astype(int)
    total = np.add.reduceat(np.where(some, values, 0.0), starts, axis=-1)
    count = np.add.reduceat(some.astype(int), starts, axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _listed(value: Any) -> Any:
    """Lists of floats; None for what is no number, which JSON has no word for."""
    if isinstance(value, np.ndarray):
        return [_listed(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _range(value: Array) -> dict[str, Any]:
    size = np.abs(np.asarray(to_numpy(value)).astype(np.complex128))
    return {
        "shape": list(size.shape),
        "largest": float(size.max(initial=0.0)),
        "rms": float(np.sqrt(np.mean(size**2))) if size.size else 0.0,
    }
