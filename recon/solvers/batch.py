"""The problems of a batch, one by one, for methods that cannot solve them side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.problem import Problem


def each_of(problem: Problem, lead: tuple[int, ...]) -> list[Problem]:
    """The problems of a batch."""
    xp, shape = namespace(problem.y), problem.A.out_shape

    def parts(value: Any) -> Callable[[int], Any]:
        extra = len(getattr(value, "shape", ())) - len(shape)
        if extra <= 0:
            return lambda i: value
        full = xp.broadcast_to(value, (*lead, *value.shape[extra:]))
        flat = xp.reshape(full, (math.prod(lead), *value.shape[extra:]))
        return lambda i: flat[i]

    y, noise = parts(problem.y), problem.noise
    arrays = {
        name: parts(getattr(noise, name))
        for name in ("sigma", "background")
        if len(getattr(getattr(noise, name, None), "shape", ())) > len(shape)
    }
    found = []
    for i in range(math.prod(lead)):
        own = replace(noise, **{k: v(i) for k, v in arrays.items()}) if arrays else noise  # type: ignore[type-var]
        found.append(problem._replace(y=y(i), noise=own))
    return found
