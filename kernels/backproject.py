"""Pixel-driven back-projection on NumPy buffers; arrays decide where it runs."""

from __future__ import annotations

from typing import Any

from .cpu import backproject as cpu

Array = Any


def gather(q: Array, out: Array, coef: Array, scale: Array, fan_step: float) -> None:
    """Back-project filtered views; shapes as in `kernels.cpu.backproject.gather`."""
    cpu.gather(q, out, coef, scale, fan_step)


def splat(x: Array, out: Array, coef: Array, scale: Array, fan_step: float) -> None:
    """Transpose of `gather`."""
    cpu.splat(x, out, coef, scale, fan_step)
