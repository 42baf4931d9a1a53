"""The learned prior: one network for CT and MRI, as denoiser, proximal operator, score, reconstruction."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rayfold.operators.dispatch import is_traced
from rayfold.recon.checks import nonnegative
from rayfold.recon.foundation.annealed import AnnealedSteps
from rayfold.recon.foundation.apply import apply_network
from rayfold.recon.foundation.bands import BANDS
from rayfold.recon.foundation.change import Change
from rayfold.recon.foundation.convert import like, single, tensors, to_tensor
from rayfold.recon.foundation.files import load_prior
from rayfold.recon.foundation.network import Network
from rayfold.recon.foundation.steps import PhysicsSteps, Schedule
from rayfold.recon.learned.unrolled import Unrolled
from rayfold.recon.priors.bounds import Box
from rayfold.recon.priors.denoiser import on_host
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem, estimate_noise
from rayfold.recon.shipped import DEFAULT, THOROUGH_STEPS

Array = Any


@dataclass(frozen=True, eq=False)
class FoundationPrior(Prior):
    """What images look like, learned once from synthetic ones, for every scanner, task and unit.

    Arrays of every library go in and come back in theirs; all leading axes are separate images. Scaling the
    image and its noise together scales the result: no unit has to be declared but the zero must be the
    absence of signal, which for CT means attenuation and not HU.

    Parameters
    ----------
    network : Network
        Removes noise of known level.
    schedule : Schedule
        Numbers of `restore`.
    card : dict
        What the weights were trained on and how they fared.
    precision : {"float32", "bfloat16"}
        Of the convolutions; bfloat16 is about twice as fast where the processor knows it.
    strength : float
        Weight in `prox`, as for `PlugAndPlay`.
    poses : {1, 2, 4}
        Orientations of the image over whose answers the mean is taken: noise is removed about 0.15 dB
        better with 2 than with 1, and better still with 4; the network takes as long for each.
    change : Change, optional
        What the network does otherwise in `denoise` and `score`, where there is noise alone.

    Examples
    --------
    >>> prior = FoundationPrior.load("small")
    >>> noisy = 20.0 + np.random.default_rng(0).normal(0, 2.0, (32, 32))
    >>> bool(np.std(prior.denoise(noisy, 2.0)) < 1.0)
    True
    """

    learned: ClassVar[bool] = True
    network: Network
    schedule: Schedule
    card: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    strength: float = 1.0
    poses: int = 2
    change: Change | None = None

    def __post_init__(self) -> None:
        if self.poses not in (1, 2, 4):
            raise ValueError(f"poses is {self.poses!r}; it must be 1, 2 or 4")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {self.precision!r}; it must be float32 or bfloat16")
        nonnegative(strength=self.strength)

    @classmethod
    def load(
        cls,
        name: str | Path = DEFAULT,
        *,
        device: str = "auto",
        precision: str = "float32",
        poses: int = 2,
    ) -> FoundationPrior:
        """Weights that come with the package (`rayfold.recon.shipped`), or a ``.safetensors`` file.

        Parameters
        ----------
        name : str or Path
            As "small", or a file.
        device : str
            A torch device; "auto" is the GPU where there is one.
        precision : {"float32", "bfloat16"}
            Of the convolutions.
        poses : {1, 2, 4}
            Orientations over which the mean is taken.

        Raises
        ------
        UnreadableInput, InconsistentInput
            If the weights are missing, damaged or not what was published.
        """
        network, schedule, card, change = load_prior(name)
        where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        network.to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.eval().requires_grad_(False)
        return cls(
            network,
            schedule.to(where).eval().requires_grad_(False),
            card,
            precision,
            poses=poses,
            change=change,
        )

    @property
    def module(self) -> Network:
        """The network."""
        return self.network

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def alone(self) -> Network:
        """The network for images with noise and no other error."""
        return self.network if self.change is None else self.change.applied(self.network)

    @cached_property
    def for_iterations(self) -> FoundationPrior:
        """The same prior without its `change`: for solvers, where not all that is wrong is noise."""
        return self if self.change is None else replace(self, change=None)

    def denoise(
        self, x: Array, sigma: Array | float, *, bands: Array | None = None, strength: float = 1.0
    ) -> Array:
        """The image without its noise.

        Parameters
        ----------
        x : array, (..., ny, nx)
            Real or complex.
        sigma : float or array
            Standard deviation of the noise, for complex images that of each part; a number, one per image
            ``(..., 1, 1)``, or a map.
        bands : array, (..., 4), optional
            Colour of the noise: its level by octave from the finest to the coarsest (`bands`), as a factor of
            `sigma`; white by default.
        strength : float
            Factor of the level; 0 leaves the image as it is, bit for bit.

        Returns
        -------
        array, (..., ny, nx)

        Raises
        ------
        ValueError
            If the level is negative or its shape does not fit, or x has fewer than two axes.
        """
        nonnegative(strength=strength)
        if len(x.shape) < 2:
            raise ValueError(f"x has shape {tuple(x.shape)}; give images (..., ny, nx)")
        if strength == 0:
            return x
        if is_traced(x):
            again = partial(self.denoise, bands=bands, strength=strength)
            return on_host(lambda a, s: again(np.array(a), s), x, sigma)
        level = to_tensor(sigma, self.device) if hasattr(sigma, "shape") else float(sigma)
        return self._through(lambda t: self._denoise(t, level, bands, strength), x)

    def prox(self, x: Array, step: Array | float) -> Array:
        """``denoise(x, sqrt(step * strength))`` of `for_iterations`: what plug-and-play solvers ask."""
        variance = step * self.strength
        return self.for_iterations.denoise(
            x, math.sqrt(variance) if isinstance(variance, int | float) else variance**0.5
        )

    def score(self, x: Array, sigma: Array | float) -> Array:
        """Gradient of the log-density of noisy images, ``(denoise(x, sigma) - x) / sigma^2`` (Tweedie)."""
        return (self.denoise(x, sigma) - x) / sigma**2

    def restore(
        self,
        problem: Problem,
        *,
        strength: float = 1.0,
        n: int | None = None,
        bounds: Box | None = None,
        thorough: bool = False,
    ) -> Array:
        """Reconstruction: a few steps of data and network, on any operator.

        Parameters
        ----------
        problem : Problem
            Arrays of any library, leading batch axes, any noise model; without one it is estimated.
        strength : float
            Factor of the levels that the network is told; 0 gives the data step alone.
        n : int, optional
            Steps; by default 5, of at most 16 pairs of A and its adjoint in all, or 24 `thorough` ones.
        bounds : Box, optional
            What a real image is known to lie between, in its unit, as ``NonNegative()``; where angles are
            missing it is kept after every step, which helps there.
        thorough : bool
            `AnnealedSteps`, of about 240 pairs: better where few views or samples were measured and well, of
            objects unlike those of the training (by 0.9 to 1.4 dB with 30 views, in accelerated MRI or with
            the middle of k-space), else up to 6 dB worse.

        Returns
        -------
        array, (..., *A.in_shape)
            In the library, on the device and in the precision of the data.

        Raises
        ------
        ValueError, TypeError
            As `Problem.check`; for bounds of a complex image.
        """
        nonnegative(strength=strength)
        problem.check()
        if problem.noise is None:
            problem = problem._replace(noise=estimate_noise(problem))
        own = single(tensors(problem, self.device))
        if n is None:
            n = THOROUGH_STEPS if thorough else self.schedule.steps
        short = self.steps(strength, bounds)
        steps = Unrolled(AnnealedSteps(short, n) if thorough else short, n)
        graph = own.y.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(graph):
            x: Tensor = steps(own)
            if bounds is not None:
                x = bounds.prox(x, 1.0)
        return like(x, problem.y)

    def steps(self, strength: float = 1.0, bounds: Box | None = None) -> PhysicsSteps:
        """The solver behind `restore`, for `Unrolled` and `run`."""
        return PhysicsSteps(
            self.network,
            self.schedule,
            precision=self.precision,
            strength=strength,
            poses=self.poses,
            bounds=bounds,
        )

    def _through(self, function: Any, x: Array) -> Array:
        t = to_tensor(x, self.device)
        graph = t.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(graph):
            kind = t.dtype
            working = torch.complex64 if t.is_complex() else torch.float32
            out: Tensor = function(t.to(working)).to(
                kind if t.is_floating_point() or t.is_complex() else working
            )
        return like(out, x)

    def _denoise(self, x: Tensor, sigma: Tensor | float, bands: Array | None, strength: float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device) * strength
        if not bool((level >= 0).all()):
            raise ValueError("sigma holds negative values or nan; a standard deviation is 0 or more")
        if level.ndim and level.shape[-2:] not in ((1, 1), x.shape[-2:]):
            raise ValueError(
                f"sigma has shape {tuple(level.shape)}; give a number, (..., 1, 1) for each image, or a map "
                f"of {tuple(x.shape[-2:])}"
            )
        level = level.unsqueeze(-3) if level.ndim >= 2 else level.reshape(1, 1, 1)
        if bands is None:
            colour = torch.ones(BANDS, device=x.device)
        else:
            colour = to_tensor(np.asarray(bands) if isinstance(bands, list | tuple) else bands, x.device)
            if colour.shape[-1] != BANDS:
                raise ValueError(
                    f"bands has shape {tuple(colour.shape)}; its last axis holds {BANDS} octaves"
                )
        levels = level * colour.to(torch.float32)[..., None, None]
        if levels.shape[-2:] == (1, 1):
            levels = levels[..., 0, 0]
        return apply_network(
            self.alone, x, levels, strength=strength, precision=self.precision, poses=self.poses
        )

    def __repr__(self) -> str:
        n = sum(p.numel() for p in self.network.parameters())
        size = f"{n / 1e6:.1f} M parameters, {self.schedule.steps} steps"
        return f"FoundationPrior({size}, {self.device}, {self.precision})"
