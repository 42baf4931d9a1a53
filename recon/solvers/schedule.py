"""Parameters that change from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """A parameter as a function of the step, 0 for the first.

    Parameters
    ----------
    value : callable
        From the number of the step to the parameter.

    Examples
    --------
    >>> from rayfold.recon.solvers import CGLS
    >>> at(CGLS(damping=Schedule(lambda k: 1.0 / (1 + k))), 1).damping
    0.5
    """

    value: Callable[[int], Any]


def at(part: Any, k: int) -> Any:
    """A solver or prior with the values its schedules have at step `k`, those of its priors included.

    NumPy's numbers become Python's: a float64 parameter would turn a float32 image into float64.
    """
    if isinstance(part, Schedule):
        return part.value(k)
    if isinstance(part, np.generic):  # a NumPy number would widen single precision
        return part.item()
    if type(part) is tuple:
        return tuple(at(each, k) for each in part)
    if not is_dataclass(part) or isinstance(part, type):
        return part
    now = {each.name: getattr(part, each.name) for each in fields(part) if each.init}
    new = {name: at(value, k) for name, value in now.items()}
    changed = {name: value for name, value in new.items() if value is not now[name]}
    return replace(part, **changed) if changed else part
