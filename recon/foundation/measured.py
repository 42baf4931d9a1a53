"""Losses of adaptation that need no true image, in a norm of the data that is that of the image.

``|A e|`` of an error e hardly sees its fine detail: projections weaken a frequency by its root. A network
that is trained to explain line integrals therefore gives up edges for shading. With M such that ``A.H M A``
is about the identity (the ramp filter, the area of a sample of k-space), ``<A e, M A e>`` is about ``|e|^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rayfold.operators import Batched, LinearOperator
from rayfold.operators.base import Bound, Composed
from rayfold.recon.foundation.directions import data_metric
from rayfold.recon.problem import Problem
from rayfold.recon.train.losses import Splitting
from rayfold.recon.train.sample import Model, Sample, noise_of

Metric = Callable[[Tensor], Tensor]


def metric_of(A: LinearOperator) -> Metric:
    """M of an operator, up to a factor: the identity where its adjoint is as good as an inverse."""
    for part in A.parts if isinstance(A, Composed) else (A,):
        one = part.base if isinstance(part, Bound) else part
        lead = one.lead if isinstance(one, Batched) else ()
        found = data_metric(one.op if isinstance(one, Batched) else one)
        if found is not None:
            return found.over(lead)
    return lambda r: r


def size(problem: Problem, r: Tensor, metric: Metric, *, other: Tensor | None = None) -> Tensor:
    """``<r, M r>`` over ``<y, M y>``, 0 where the data say nothing; one for each problem."""
    axes = tuple(range(-len(problem.A.out_shape), 0))
    told = (problem.weigh(torch.ones_like(r)) != 0).to(r.real.dtype)
    left = told * (r if other is None else other)
    power = (left.conj() * metric(told * r)).real.sum(axes)
    whole = (problem.y.conj() * metric(told * problem.y)).real.sum(axes).abs()
    relative: Tensor = power / whole.clamp(min=1e-30)
    return relative


@dataclass(frozen=True)
class Predicted:
    """Part of the data is left out and predicted, see `Splitting`; judged in the norm of the image."""

    splitting: Splitting

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Tensor:
        """The loss, in nepers."""
        part, held = self.splitting.split(sample.problem, generator)
        # logarithms: scans that are harder than others must not decide alone
        return missed(model, part, sample.problem, held).clamp(min=1e-12).log().mean()


def missed(model: Model, part: Problem, whole: Problem, held: Tensor) -> Tensor:
    """By how much the held-out data are missed, relative to the data; one for each problem."""
    r = whole.A(model(part)) - whole.y
    share = held.real.mean()
    return size(whole, held * r, metric_of(whole.A)) / share


@dataclass(frozen=True)
class Unbiased:
    """Stein's unbiased estimate of ``<A e, M A e>`` for the error e of the image, but for a constant.

    ``|h(y) - y|_M^2 + 2 tr(M C J)`` with ``h = A model``, J its Jacobian and C the covariance of the noise;
    the trace is estimated along one direction drawn from the noise, as in `SURE`.

    References
    ----------
    Y. C. Eldar, IEEE Trans. Signal Process. 57 (2009) 471; S. Ramani, T. Blu and M. Unser, IEEE Trans. Image
    Process. 17 (2008) 1540.
    """

    probe: float = 0.1

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Tensor:
        """The loss, relative to the data; it may be negative."""
        problem = sample.problem
        metric = metric_of(problem.A)
        b = noise_of(problem, generator)
        explained = problem.A(model(problem))
        turned = problem.A(model(problem._replace(y=problem.y + self.probe * b))) - explained
        trace = size(problem, b, metric, other=turned) / self.probe
        return (size(problem, explained - problem.y, metric) + 2 * trace).mean()
