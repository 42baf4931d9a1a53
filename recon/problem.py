"""What every solver consumes: an operator, the data, and how much each datum counts."""

from __future__ import annotations

from typing import Any, NamedTuple

from rayfold.operators import LinearOperator

Array = Any


class Problem(NamedTuple):
    """Find x with ``A x`` near y; immutable, and a pytree for JAX.

    Parameters
    ----------
    A : LinearOperator
        Forward operator.
    y : array, (..., *A.out_shape)
        Data; leading axes are independent problems solved side by side.
    weights : array, optional
        Weight of each datum (inverse variance), broadcast against `y`; all equal by default.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> Problem(Identity((2,)), np.ones(2)).weights is None
    True
    """

    A: LinearOperator
    y: Array
    weights: Array | None = None

    def weigh(self, residual: Array) -> Array:
        """Weights times a residual."""
        return residual if self.weights is None else self.weights * residual
