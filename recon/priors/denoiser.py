"""Anyone's denoiser as a prior, and adapters to the form ``denoise(x, sigma)``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rayfold.operators.dispatch import is_traced, library, match, namespace, to_numpy
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior

Array = Any
Denoise = Callable[[Array, Any], Array]


@dataclass(frozen=True)
class PlugAndPlay(Prior):
    """What a denoiser takes for noise is what the prior objects to.

    A denoiser for Gaussian noise is the proximal operator of the prior it was made for:
    ``prox(x, step) = denoise(x, sqrt(step * strength))``; with `sigma`, always ``denoise(x, sigma)``.
    A denoiser is seldom a proximal operator to the letter: iterations that take all of its step end lower
    or drift away after looking good, and acceleration (FISTA) diverges. What stays: `ProximalGradient`, which
    takes a quarter of the step (`averaging`); `Equivariant`, which turns the image at random; a small noise
    level, some 2/255 of the range of the image; and an end by `Discrepancy`::

        prior = PlugAndPlay(Equivariant(foundation.for_iterations.denoise), sigma=2 / 255 * data_range)
        run(ProximalGradient(prior), problem, 200, stop=Discrepancy())

    Parameters
    ----------
    denoise : callable
        From an image ``(..., ny, nx)`` of the library of the problem, and the standard deviation of its noise
        in units of the image (a number, or an array that broadcasts), to an image of the same shape.
        `from_torch`, `from_deepinv`, `from_numpy` and `from_score` make one of what others wrote.
    sigma : float, optional
        Noise level, in units of the image, whatever the step of the solver.
    strength : float, optional
        Weight of the prior instead, in units of the data term.
    ndim : int
        Trailing axes that are one image.

    Raises
    ------
    ValueError
        Unless one of `sigma` and `strength` is given.

    References
    ----------
    S. Venkatakrishnan, C. Bouman, B. Wohlberg, IEEE GlobalSIP (2013) 945; S. H. Chan, X. Wang,
    O. A. Elgendy, IEEE Trans. Comput. Imaging 3 (2017) 84.

    Examples
    --------
    >>> import numpy as np
    >>> halve = lambda x, sigma: x / (1 + sigma**2)  # the exact denoiser of standard normal images
    >>> PlugAndPlay(halve, strength=1.0).prox(np.array([2.0]), 1.0)
    array([1.])
    """

    learned: ClassVar[bool] = True
    denoise: Denoise
    sigma: float | None = None
    strength: float | None = None
    ndim: int = 2

    def __post_init__(self) -> None:
        if (self.sigma is None) == (self.strength is None):
            raise ValueError("PlugAndPlay takes either sigma (in units of the image) or strength")
        if not callable(self.denoise):
            raise TypeError(f"denoise is {type(self.denoise).__name__}; it must be a function of (x, sigma)")
        positive(sigma=self.sigma, strength=self.strength)

    def prox(self, x: Array, step: Array | float) -> Array:
        if self.strength is None:
            return self._checked(x, self.sigma)
        variance = step * self.strength
        sigma = variance**0.5 if isinstance(variance, int | float) else namespace(x).sqrt(variance)
        return self._checked(x, sigma)

    def _checked(self, x: Array, sigma: Any) -> Array:
        z = self.denoise(x, sigma)
        if tuple(z.shape) != tuple(x.shape):
            raise ValueError(
                f"the denoiser made shape {tuple(z.shape)} of {tuple(x.shape)}; it must keep the shape"
            )
        return z


def from_score(score: Denoise) -> Denoise:
    """A denoiser from the score of noisy images, by Tweedie's formula: ``x + sigma^2 score(x, sigma)``.

    References
    ----------
    B. Efron, J. Am. Stat. Assoc. 106 (2011) 1602.

    Examples
    --------
    >>> import numpy as np
    >>> normal = lambda x, sigma: -x / (1 + sigma**2)  # score of standard normal images plus noise
    >>> from_score(normal)(np.array([2.0]), 1.0)
    array([1.])
    """

    def denoise(x: Array, sigma: Any) -> Array:
        return x + sigma**2 * score(x, sigma)

    return denoise


def from_numpy(denoise: Denoise) -> Denoise:
    """A denoiser written for NumPy arrays of ``(..., ny, nx)`` for every library; no gradients.

    Examples
    --------
    >>> import numpy as np
    >>> from_numpy(lambda x, sigma: np.clip(x, 0, None))(np.array([[-1.0, 2.0]]), 0.1)
    array([[0., 2.]])
    """

    def anywhere(x: Array, sigma: Any) -> Array:
        return on_host(lambda a, s: np.asarray(denoise(a, s)), x, sigma)

    return anywhere


def from_torch(module: Any, *, scale: float = 1.0, ndim: int = 2) -> Denoise:
    """A torch network ``module(images, sigma)`` as a denoiser for every library.

    The network gets ``(batch, 1, ny, nx)`` and a noise level per image ``(batch, 1, 1, 1)``; real and
    imaginary part are two images of the batch. In torch problems it stays in the graph.

    Parameters
    ----------
    module : callable
        A ``torch.nn.Module``, in evaluation mode and on the device of the images.
    scale : float
        One unit of the network in units of the image: 0.02 for a network of images between 0 and 1 when the
        image reaches 0.02 / mm. Noise levels are scaled with it.
    ndim : int
        Trailing axes that are one image.
    """
    positive(scale=scale)

    def on_tensors(x: Array, sigma: Any) -> Array:
        import torch

        real = torch.view_as_real(x).movedim(-1, 0) if x.is_complex() else x
        images = real.reshape(-1, 1, *x.shape[x.ndim - ndim :]) / scale
        level = torch.as_tensor(sigma, dtype=real.dtype, device=x.device) / scale
        if level.ndim:  # one per image, beside the parts of complex ones
            level = level.expand((*real.shape[: real.ndim - ndim], *(1,) * ndim)).reshape(-1)
        level = level.expand(len(images)).reshape(-1, *(1,) * (ndim + 1))
        out = (module(images, level) * scale).to(real.dtype).reshape(real.shape)
        return torch.complex(out[0], out[1]) if x.is_complex() else out

    def denoise(x: Array, sigma: Any) -> Array:
        if library(type(x)) == "torch":
            return on_tensors(x, sigma)
        return on_host(lambda a, s: _without_graph(on_tensors, module, a, s), x, sigma)

    return denoise


def from_deepinv(denoiser: Any, *, scale: float = 1.0) -> Denoise:
    """A denoiser of deepinv, ``denoiser(images, sigma)`` with images ``(batch, 1, ny, nx)``.

    Parameters
    ----------
    denoiser : deepinv.models.Denoiser
        For images of one channel, most often between 0 and 1: see `scale`.
    scale : float
        One unit of the network in units of the image.
    """
    return from_torch(lambda images, level: denoiser(images, level.reshape(-1)), scale=scale)


def _without_graph(on_tensors: Denoise, module: Any, x: Any, sigma: Any) -> Any:
    import torch

    first = next(iter(module.parameters()), None) if hasattr(module, "parameters") else None
    where = {} if first is None else {"device": first.device}
    with torch.no_grad():
        given = torch.as_tensor(np.array(x), **where)
        level = sigma if isinstance(sigma, int | float) else np.array(sigma)  # may be read-only
        return on_tensors(given, level).cpu().numpy()


def on_host(denoise: Denoise, x: Array, sigma: Any) -> Array:
    """Run a function of NumPy arrays on an array of any library, under ``jax.jit`` too."""
    if is_traced(x) or is_traced(sigma):
        jax = sys.modules["jax"]
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)

        def outside(a: Any, s: Any) -> Any:
            return np.asarray(denoise(np.asarray(a), np.asarray(s)), x.dtype)

        return jax.pure_callback(outside, like, x, sigma)
    level = sigma if isinstance(sigma, int | float) else to_numpy(sigma)
    return match(denoise(to_numpy(x), level), x)
