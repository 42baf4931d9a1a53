"""The learned prior as a method of reconstruction: weights, images at once, what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rayfold.operators.dispatch import match, to_numpy
from rayfold.recon.checks import nonnegative
from rayfold.recon.priors.bounds import Box
from rayfold.recon.problem import Problem
from rayfold.recon.shipped import DEFAULT, THOROUGH_STEPS

Array = Any
Precision = Literal["float32", "bfloat16"]
PRECISIONS = ("float32", "bfloat16")
AT_ONCE = 2**19  # pixels of all images that are reconstructed together: bounds the memory


@dataclass(frozen=True)
class Restorer:
    """A prior that is loaded, and how it is used for all images of a scan.

    Parameters
    ----------
    prior : FoundationPrior
        Network and schedule, on the device of the data.
    name : str
        Of the weights.
    strength : float
        Factor of the noise that the prior is told.
    steps : int, optional
        By default as trained.
    sha256 : str, optional
        Of the file of weights.
    bounds : Box, optional
        What the image is known to lie between; a prior of another kind is not told, and its image cut off.
    thorough : bool
        Many more steps, for few data with little noise: see `FoundationPrior.restore`.
    """

    prior: Any
    name: str
    strength: float = 1.0
    steps: int | None = None
    sha256: str | None = None
    bounds: Box | None = None
    thorough: bool = False

    @classmethod
    def load(
        cls,
        prior: Any = None,
        *,
        strength: float | None = None,
        steps: int | None = None,
        precision: str = "float32",
        device: str = "cpu",
        thorough: bool = False,
    ) -> Restorer:
        """Weights by name, or a prior that is loaded already.

        Parameters
        ----------
        prior : str, Path or FoundationPrior, optional
            A name of `rayfold.recon.shipped`, a ``.safetensors`` file, or an object with `restore`.
        strength, steps, thorough
            As above.
        precision : {"float32", "bfloat16"}
            Of the network's convolutions.
        device : str
            "cpu" or "cuda:N".

        Raises
        ------
        ValueError
            For a wrong precision or strength, or a prior of another kind that is to be thorough.
        UnreadableInput, InconsistentInput
            If the weights are missing, damaged, or something else.
        """
        nonnegative(strength=strength)
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
        factor = 1.0 if strength is None else float(strength)
        name = DEFAULT if prior is None else prior
        if isinstance(name, str | Path):
            from rayfold.recon.foundation import FoundationPrior
            from rayfold.recon.foundation.files import digest, file_of

            loaded = FoundationPrior.load(name, device=device, precision=precision)
            return cls(loaded, Path(name).name, factor, steps, digest(file_of(name)), thorough=thorough)
        if not hasattr(name, "restore"):
            raise TypeError(
                f"prior is {type(name).__name__}; give a name, a .safetensors file or a FoundationPrior"
            )
        if thorough and not hasattr(name, "network"):
            raise ValueError(f"{type(name).__name__} has no thorough way; leave thorough out")
        return cls(name, type(name).__name__, factor, steps, thorough=thorough)

    def __call__(self, problem: Problem, tick: Callable[[int], None] | None = None) -> Array:
        """The images of a problem, a few at a time; `tick` is told how many are done."""
        A, y = problem.A, problem.y
        if y.ndim == len(A.out_shape):
            return self._restore(problem)
        n = max(1, AT_ONCE // max(1, int(np.prod(A.in_shape))))
        parts = []
        for first in range(0, len(y), n):
            parts.append(to_numpy(self._restore(problem._replace(y=y[first : first + n]))))
            if tick is not None:
                tick(min(first + n, len(y)))
        return match(np.concatenate(parts), y)

    def _restore(self, problem: Problem) -> Array:
        told: dict[str, Any] = {"strength": self.strength, "n": self.steps}
        if self.thorough:
            told["thorough"] = True
        if self.bounds is None:
            return self.prior.restore(problem, **told)
        if hasattr(self.prior, "network"):
            return self.prior.restore(problem, **told, bounds=self.bounds)
        return self.bounds.prox(self.prior.restore(problem, **told), 1.0)

    def record(self) -> dict[str, Any]:
        """What provenance keeps: name and digest of the weights, their size, and how they were used."""
        kept: dict[str, Any] = {"weights": self.name, "sha256": self.sha256, "strength": self.strength}
        network = getattr(self.prior, "network", None)
        if network is not None:
            kept["parameters"] = sum(int(p.numel()) for p in network.parameters())
            kept["precision"] = self.prior.precision
            usual = THOROUGH_STEPS if self.thorough else self.prior.schedule.steps
            kept["steps"] = usual if self.steps is None else self.steps
            kept["thorough"] = self.thorough
        return kept
