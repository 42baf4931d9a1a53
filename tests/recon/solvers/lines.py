"""An operator without memory of its own, so that a solver's memory can be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators import LinearOperator


@dataclass(frozen=True)
class Lines(LinearOperator):
    """Twice some rows of an image: needs no memory of its own."""

    shape: tuple[int, int]
    rows: range
    nonnegative = True

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: (len(self.rows), self.shape[1]))

    def __getitem__(self, rows: Any) -> Lines:
        return Lines(self.shape, self.rows[rows])

    def apply(self, x: Any, out: Any, *, adjoint: bool, **operands: Any) -> None:
        picked = (slice(None), slice(self.rows.start, self.rows.stop, self.rows.step))
        if adjoint:
            out[...] = 0
            np.multiply(x, 2, out=out[picked])
        else:
            np.multiply(x[picked], 2, out=out)
