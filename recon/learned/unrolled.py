"""A solver's own iterations as a network: the same `step`, `n` times, with what is named made trainable."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recomputed

from rayfold.operators import LinearOperator
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.schedule import Schedule, at


class Unrolled(nn.Module):
    """`n` steps of a solver as an ``nn.Module``: ``run`` with gradients and trainable parts.

    Parameters
    ----------
    solver : Solver
        A frozen dataclass with `init` and `step`; schedules are evaluated for every step. Fields of it, or
        of its priors, that are an ``nn.Module`` become part of this module, one for all iterations; an
        ``nn.ModuleList`` of length `n` holds one per iteration.
    n : int
        Iterations.
    trainable : collection of str
        Names of numeric fields of the solver or of its priors, as ``{"step_size", "strength"}``, or a path
        as "prior.1.strength" for one of several priors; each becomes one positive parameter per iteration
        (through softplus) that starts at the field's value. Nothing else is trained but the modules.
    start : LinearOperator, optional
        From data to the first image, as filtered back-projection; the solver's own start by default.
    checkpoint : bool
        Keep only the states between iterations and compute each step again in the backward pass.

    Raises
    ------
    ValueError
        If `n` is less than 1, a name is unknown, its field is not a positive number, or a list of modules
        has another length than `n`.

    References
    ----------
    V. Monga, Y. Li and Y. C. Eldar, IEEE Signal Process. Mag. 38 (2021) 18, a review of unrolling.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.solvers import CGLS
    >>> net = Unrolled(CGLS(damping=1.0), 2, trainable={"damping"})
    >>> net(Problem(Identity((2,)), torch.tensor([2.0, 4.0]))).tolist()
    [1.0, 2.0]
    >>> [tuple(p.shape) for p in net.parameters()]
    [(2,)]
    """

    def __init__(
        self,
        solver: Any,
        n: int,
        *,
        trainable: Collection[str] = frozenset(),
        start: LinearOperator | None = None,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"n is {n}; it must be 1 or more iterations")
        if isinstance(trainable, str):
            raise ValueError(f"trainable is the text {trainable!r}; give a set of names, {{{trainable!r}}}")
        self.solver, self.n, self.start, self.checkpoint = solver, n, start, checkpoint
        self.networks, self.numbers = nn.ModuleDict(), nn.ParameterDict()
        found = dict(_leaves(solver))
        for path, value in found.items():
            if isinstance(value, nn.Module):
                if isinstance(value, nn.ModuleList) and len(value) != n:
                    raise ValueError(
                        f"{path} holds {len(value)} modules for {n} iterations; give one for each"
                    )
                self.networks[path.replace(".", "__")] = value
        for name in sorted(trainable):
            paths = [path for path in found if path.split(".")[-1] == name or path == name]
            if not paths:
                raise ValueError(f"{name!r} is no field of the solver; it has: {', '.join(found)}")
            for path in paths:
                self.numbers[path.replace(".", "__")] = nn.Parameter(_before_softplus(path, found[path], n))

    def at(self, iteration: int) -> Any:
        """The solver of one iteration, its parameters put in."""
        new: dict[str, Any] = {}
        for key, module in self.networks.items():
            new[key.replace("__", ".")] = module[iteration] if isinstance(module, nn.ModuleList) else module
        for key, raw in self.numbers.items():
            new[key.replace("__", ".")] = F.softplus(raw[iteration])
        return _with(at(self.solver, iteration), new)

    def forward(self, problem: Problem, x0: Tensor | None = None) -> Tensor:
        """Image after `n` steps from `x0`, `start` of the data, or the solver's own start."""
        if x0 is None and self.start is not None:
            x0 = self.start(problem.y)
        state = self.at(0).init(problem, x0)
        for k in range(self.n):
            if self.checkpoint:
                state = recomputed(self._step, k, problem, state, use_reentrant=False)
            else:
                state = self._step(k, problem, state)
        x: Tensor = state.x
        return x

    def _step(self, iteration: int, problem: Problem, state: Any) -> Any:
        return self.at(iteration).step(problem, state)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of a solver, and of the priors in it, by dotted path."""
    if is_dataclass(value) and not isinstance(value, LinearOperator | Schedule | type):
        for each in (f for f in fields(value) if f.init):
            yield from _leaves(getattr(value, each.name), f"{path}.{each.name}" if path else each.name)
    elif isinstance(value, tuple):
        for k, one in enumerate(value):
            yield from _leaves(one, f"{path}.{k}")
    else:
        yield path, value


def _with(value: Any, new: Mapping[str, Any]) -> Any:
    """The same solver with some of its `_leaves` exchanged."""
    if not new:
        return value
    if "" in new:
        return new[""]
    below: dict[str, dict[str, Any]] = {}
    for path, one in new.items():
        head, _, rest = path.partition(".")
        below.setdefault(head, {})[rest] = one
    if isinstance(value, tuple):
        return tuple(_with(one, below.get(str(k), {})) for k, one in enumerate(value))
    return replace(value, **{name: _with(getattr(value, name), inner) for name, inner in below.items()})


def _before_softplus(path: str, value: Any, n: int) -> Tensor:
    """`n` copies of the number whose softplus is `value`."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{path} is {value!r}; only a positive number can be made trainable: set one first")
    return torch.full((n,), number + math.log(-math.expm1(-number)))
