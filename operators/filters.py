"""The ramp filter of filtered back-projection, sampled in space, with the usual windows.

Kernel (Ramachandran and Lakshminarayanan 1971; Kak and Slaney 1988, eq. 3.61): 1 / (4 d^2) at 0, -1 / (pi n
d)^2 at odd n, 0 elsewhere. Sampling in space instead of |frequency| keeps the mean of the image right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from . import dispatch
from .base import LinearOperator

Array = Any
Window = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]


def ramp_kernel(n_cols: int, pitch: float, fan_step: float = 0.0) -> Array:
    """Samples of the ramp at lags 0 .. n_cols - 1, times the bin pitch.

    Parameters
    ----------
    n_cols : int
        Number of bins.
    pitch : float
        Distance of bins (mm; rad on a curved detector).
    fan_step : float
        Angle between bins of a curved detector: lags enter as sines (Kak and Slaney, eq. 3.103).

    Returns
    -------
    ndarray, (n_cols,)
        In units of 1 / pitch.
    """
    lag = np.arange(n_cols)
    distance = np.sin(lag * fan_step) / fan_step * pitch if fan_step else lag * pitch
    kernel = np.zeros(n_cols)
    kernel[0] = 1 / (4 * pitch**2)
    kernel[1::2] = -1 / (np.pi * distance[1::2]) ** 2
    return kernel * pitch


def window(name: Window, frequency: Array, cutoff: float = 1.0) -> Array:
    """Window at `frequency` (fraction of Nyquist, 0 .. 1), zero above `cutoff`.

    Raises
    ------
    ValueError
        For an unknown name, or a cut-off outside 0 .. 1.
    """
    if name not in get_args(Window):
        raise ValueError(f"filter is {name!r}; it must be one of {', '.join(get_args(Window))}")
    if not 0 < cutoff <= 1:
        raise ValueError(f"cutoff is {cutoff}; it must lie in (0, 1], a fraction of the Nyquist frequency")
    f = np.asarray(frequency) / cutoff
    shapes = {
        "ram-lak": np.ones_like(f),
        "shepp-logan": np.sinc(f / 2),
        "cosine": np.cos(np.pi * f / 2),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * f),
        "hann": 0.5 + 0.5 * np.cos(np.pi * f),
    }
    return np.where(f <= 1, shapes[name], 0.0)


@dataclass(frozen=True)
class RampFilter(LinearOperator):
    """Convolution of every view with the ramp; self-adjoint, differentiable, zero-padded against wrap-around.

    Parameters
    ----------
    shape : tuple of int
        ``(views, cols)``.
    pitch : float
        Distance of bins: mm, or rad on a curved detector.
    window : {"ram-lak", "shepp-logan", "cosine", "hamming", "hann"}
        Damping of high frequencies; "ram-lak" is none.
    cutoff : float
        Fraction of the Nyquist frequency above which nothing passes.
    fan_step : float
        Angle between bins of a curved detector in rad.

    Examples
    --------
    >>> RampFilter((1, 3), 1.0)(np.array([[0.0, 4.0, 0.0]])).round(4)
    array([[-0.4053,  1.    , -0.4053]])
    """

    shape: tuple[int, int]
    pitch: float
    window: Window = "ram-lak"
    cutoff: float = 1.0
    fan_step: float = 0.0

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)
    H = property(lambda self: self)

    def __post_init__(self) -> None:
        from scipy.fft import next_fast_len

        window(self.window, np.zeros(1), self.cutoff)
        object.__setattr__(self, "_padded", 2 * int(next_fast_len(self.shape[1], real=True)))

    @cached_property
    def transfer(self) -> Array:
        """Frequency response, ``(n // 2 + 1,)`` for the padded length n."""
        n_cols, n = self.shape[1], self._padded  # type: ignore[attr-defined]
        kernel = ramp_kernel(n_cols, self.pitch, self.fan_step)
        lags = np.zeros(n)
        lags[:n_cols] = kernel
        lags[n - n_cols + 1 :] = kernel[1:][::-1]
        response = np.fft.rfft(lags).real
        return response * window(self.window, np.arange(len(response)) / (n / 2), self.cutoff)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        if 0 in x.shape:
            return x
        xp, n = dispatch.namespace(x), self._padded  # type: ignore[attr-defined]
        response = dispatch.constant(self, "transfer", x)

        def filtered(part: Array) -> Array:
            return xp.fft.irfft(xp.fft.rfft(part, n=n) * response, n=n)[..., : self.shape[1]]

        if dispatch.dtype_name(x).startswith("complex"):
            return filtered(xp.real(x)) + 1j * filtered(xp.imag(x))
        return filtered(x)
