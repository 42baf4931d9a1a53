"""Losses for training: with true images, and from measurements alone.

A loss is a frozen dataclass called as ``loss(model, sample, generator)``; the model maps a `Problem` to an
image. Everything random is drawn from the generator, so that a training can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rayfold.operators import fbp_operator
from rayfold.operators.calculus import Diagonal
from rayfold.operators.noise import Gaussian
from rayfold.operators.xray import XRay
from rayfold.recon.problem import Problem
from rayfold.recon.train.sample import Model, Sample, misfit, noise_of
from rayfold.recon.train.transforms import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Array = Any


@dataclass(frozen=True)
class Supervised:
    """Mean of ``|model(problem) - truth|^power``.

    Parameters
    ----------
    power : {1, 2}
        1 keeps edges sharper, 2 is what PSNR measures.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> sample = Sample(Problem(Identity((2,)), torch.ones(2)), torch.zeros(2))
    >>> float(Supervised()(lambda problem: 3 * problem.y, sample, torch.Generator()))
    9.0
    """

    power: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if self.power not in (1, 2):
            raise ValueError(f"power is {self.power}; it must be 1 or 2")

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Array:
        if sample.truth is None:
            raise ValueError("the sample has no true image; use a loss that needs none: SURE, Splitting, ...")
        error = (model(sample.problem) - sample.truth).abs()
        return (error if self.power == 1 else error * error).mean()


@dataclass(frozen=True)
class SURE:
    """Stein's unbiased estimate of ``E |A model(y) - A x|_W^2`` per datum, W the inverse covariance.

    ``|h(y) - y|_W^2 + 2 div h(y) - m`` with ``h = A model``; the divergence is estimated along one direction
    drawn from the noise itself. It sees only what the data see: the null space of A needs `Equivariance` or a
    network that generalises.

    Parameters
    ----------
    probe : float
        Length of the direction, as a part of the noise: small against the bends of h, large against rounding.

    References
    ----------
    C. M. Stein, Ann. Statist. 9 (1981) 1135; S. Ramani, T. Blu and M. Unser, IEEE Trans. Image Process. 17
    (2008) 1540; Y. C. Eldar, IEEE Trans. Signal Process. 57 (2009) 471.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> y = torch.randn(20000, generator=torch.Generator().manual_seed(0))  # noise on nothing
    >>> sample = Sample(Problem(Identity((20000,)), y, Gaussian(1.0)))
    >>> loss = SURE()(lambda problem: 0.5 * problem.y, sample, torch.Generator().manual_seed(1))
    >>> abs(float(loss) - 0.25) < 0.02  # 0.25 is the error of half the noise
    True
    """

    probe: float = 0.1

    def __post_init__(self) -> None:
        if not self.probe > 0:
            raise ValueError(f"probe is {self.probe}; it must be positive")

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Array:
        problem = sample.problem
        if not isinstance(problem.noise, Gaussian):
            raise ValueError(
                f"SURE needs Gaussian noise, got {type(problem.noise).__name__}; use problem.quadratic() for "
                "the Gaussian nearest to photon noise"
            )
        b = noise_of(problem, generator)
        explained = problem.A(model(problem))
        turned = problem.A(model(problem._replace(y=problem.y + self.probe * b))) - explained
        divergence = misfit(problem, b, other=turned) / self.probe  # <W b, J b> averages to the trace of J
        return misfit(problem, explained - problem.y) + 2 * divergence - 1


@dataclass(frozen=True)
class Splitting:
    """Reconstruct from some of the data, compare with the rest: SSDU.

    The model sees the operator with the held-out rows set to zero, and zeros for their data.

    Parameters
    ----------
    held : float
        Part of the positions along `axis` that is held out, 0 .. 1.
    axis : int
        Axis of the data, counted from the end: -2 for the views of a sinogram or the lines of k-space.

    Raises
    ------
    ValueError
        If `held` leaves nothing on one side, or `axis` is not an axis of the data.

    References
    ----------
    B. Yaman et al., Magn. Reson. Med. 84 (2020) 3172.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> sample = Sample(Problem(Identity((4, 1)), torch.ones(4, 1)))
    >>> float(Splitting(0.5)(lambda problem: problem.y, sample, torch.Generator()))
    1.0
    """

    held: float = 0.4
    axis: int = -2

    def __post_init__(self) -> None:
        if not 0 < self.held < 1:
            raise ValueError(f"held is {self.held}; it must lie between 0 and 1")
        if self.axis >= 0:
            raise ValueError(f"axis is {self.axis}; count it from the end, -2 for views")

    def split(self, problem: Problem, generator: torch.Generator) -> tuple[Problem, Array]:
        """The problem the model may see, and a mask of ones on the data that it does not."""
        import torch

        shape = problem.A.out_shape
        if -self.axis > len(shape):
            raise ValueError(f"axis is {self.axis}, the data have the axes {shape}; give one of theirs")
        n = shape[self.axis]
        n_held = round(self.held * n)
        if not 0 < n_held < n:
            raise ValueError(f"holding out {self.held:g} of {n} leaves one side empty; change held or axis")
        held = torch.zeros(n)
        held[torch.randperm(n, generator=generator)[:n_held]] = 1
        held = held.reshape(n, *(1,) * (-self.axis - 1))
        kept = (1 - held).to(problem.y)
        seen = Diagonal(shape, (1 - held).numpy().astype(np.float32)) @ problem.A
        return problem._replace(A=seen, y=kept * problem.y), held.to(problem.y)

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Array:
        problem = sample.problem
        seen, held = self.split(problem, generator)
        return misfit(problem, problem.A(model(seen)) - problem.y, where=held)


@dataclass(frozen=True)
class Equivariance:
    """Data consistency, and the same answer for a moved object: equivariant imaging.

    With ``x1 = model(y)`` and a motion T: ``|A x1 - y|_W^2`` per datum, plus ``weight`` times the mean of
    ``|model(A T x1) - T x1|^2``. A motion that the operator does not commute with teaches the null space.

    Parameters
    ----------
    transform : Transform
        The motions.
    weight : float
        Of the second part, in units of one over the square of the image.
    noisy : bool
        Add the problem's noise to the data of the moved image.

    References
    ----------
    D. Chen, J. Tachella and M. E. Davies, ICCV (2021) 4379, and CVPR (2022) 5647 for noise.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> sample = Sample(Problem(Identity((4, 4)), torch.rand(4, 4)))
    >>> float(Equivariance()(lambda problem: problem.y, sample, torch.Generator()))
    0.0
    """

    transform: Transform = field(default_factory=Transform)
    weight: float = 1.0
    noisy: bool = False

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight is {self.weight}; it must be positive")

    def __call__(self, model: Model, sample: Sample, generator: torch.Generator) -> Array:
        problem = sample.problem
        x = model(problem)
        moved = self.transform(x, generator)
        y = problem.A(moved)
        if self.noisy:
            if not isinstance(problem.noise, Gaussian):
                raise ValueError("noisy equivariance needs a problem with Gaussian noise; give one")
            y = y + noise_of(problem, generator)
        again = model(problem._replace(y=y))
        return misfit(problem, problem.A(x) - problem.y) + self.weight * (again - moved).abs().square().mean()


@dataclass(frozen=True)
class Noise2Inverse:
    """Denoise one reconstruction against another from different views: their noise is independent.

    The views are dealt out to `parts` in turn, each is reconstructed by `direct`; the network sees the mean
    of all but one and is compared with that one. Here the model maps images to images.

    Parameters
    ----------
    parts : int
        How many, at least 2.
    direct : callable, optional
        From a `Problem` with some of the views to an image; filtered back-projection by default.

    References
    ----------
    A. A. Hendriksen, D. M. Pelt and K. J. Batenburg, IEEE Trans. Comput. Imaging 6 (2020) 1320.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import ParallelBeam, Volume
    >>> A = XRay(Volume((16, 16)), ParallelBeam.evenly(20, 24))
    >>> sample = Sample(Problem(A, A(torch.ones(3, 16, 16))))
    >>> [tuple(image.shape) for image in Noise2Inverse(2).images(sample.problem)]
    [(3, 16, 16), (3, 16, 16)]
    """

    parts: int = 4
    direct: Callable[[Problem], Array] | None = None

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise ValueError(f"parts is {self.parts}; at least 2 are needed to compare")

    def images(self, problem: Problem) -> list[Array]:
        """Reconstructions of the parts."""
        A, n = problem.A, problem.A.out_shape[0]
        if n < self.parts:
            raise ValueError(f"{n} views cannot be dealt out to {self.parts} parts; take fewer parts")
        found = []
        for k in range(self.parts):
            views = slice(k, None, self.parts)
            y = problem.y[(..., views, *(slice(None),) * (len(A.out_shape) - 1))]
            found.append((self.direct or _fbp)(Problem(A[views], y, x_unit=problem.x_unit)))
        return found

    def __call__(self, model: Callable[[Array], Array], sample: Sample, generator: torch.Generator) -> Array:
        import torch

        with torch.no_grad():
            images = self.images(sample.problem)
        k = int(torch.randint(self.parts, (), generator=generator))
        others = torch.stack(images[:k] + images[k + 1 :]).mean(0)
        return (model(others) - images[k]).abs().square().mean()


def _fbp(problem: Problem) -> Array:
    if not isinstance(problem.A, XRay):
        raise TypeError(f"there is no filtered back-projection for {problem.A.label}; give `direct`")
    return fbp_operator(problem.A.volume, problem.A.beam)[0](problem.y)  # type: ignore[arg-type]
