"""Parameters of solvers and priors are checked where they are numbers; schedules and traced values pass."""

from __future__ import annotations

import math
from typing import Any


def is_zero(value: Any) -> bool:
    """Whether a parameter is known to be 0: what it multiplies can be left out."""
    return isinstance(value, int | float) and value == 0


def positive(**values: Any) -> None:
    """ValueError unless every number is finite and above 0."""
    for name, value in values.items():
        if isinstance(value, int | float) and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be positive")


def nonnegative(**values: Any) -> None:
    """ValueError unless every number is finite and 0 or more."""
    for name, value in values.items():
        if isinstance(value, int | float) and not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be 0 or more")


def between(low: float, high: float, **values: Any) -> None:
    """ValueError unless every number lies strictly between `low` and `high`."""
    for name, value in values.items():
        if isinstance(value, int | float) and not low < value < high:
            raise ValueError(f"{name} is {value}; it must lie between {low:g} and {high:g}")
