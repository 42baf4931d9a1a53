"""Arrays of any library as tensors and back, without a copy where both can share memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfold.operators.dispatch import dtype_name, library, namespace
from rayfold.recon.problem import Problem

Array = Any


def to_tensor(value: Array, device: torch.device | None = None) -> Tensor:
    """A tensor of the same values, on the device of the array unless one is given."""
    name = library(type(value))
    if name == "torch":
        tensor: Tensor = value
    elif name == "numpy":
        array = np.asarray(value)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        plain = native.flags.writeable and min(native.strides, default=0) >= 0  # as torch can share them
        tensor = torch.from_numpy(native if plain else native.copy())
    else:
        tensor = torch.utils.dlpack.from_dlpack(value)
    return tensor if device is None else tensor.to(device)


def like(tensor: Tensor, x: Array) -> Array:
    """A tensor as an array of the library of `x`, on its device, and in double precision if `x` is."""
    name = library(type(x))
    if dtype_name(x) in ("float64", "complex128"):
        tensor = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
    if name == "torch":
        return tensor.to(x.device)
    if name == "numpy":
        return tensor.detach().cpu().numpy()
    xp = namespace(x)
    if tensor.device.type == "cpu" and name == "jax":
        return xp.asarray(tensor.detach().cpu().numpy(), device=x.device)
    return xp.from_dlpack(tensor.detach().contiguous())


def tensors(problem: Problem, device: torch.device | None = None) -> Problem:
    """The same problem with all its arrays as tensors."""
    y = to_tensor(problem.y, device)
    noise = problem.noise
    if noise is None:
        return problem._replace(y=y)
    held: dict[str, Any] = {}
    for name in ("sigma", "background", "covariance"):
        value: Any = getattr(noise, name, None)
        if hasattr(value, "ndim") and value.ndim:
            held[name] = to_tensor(value, y.device)
        elif isinstance(value, np.ndarray | np.generic):
            held[name] = float(value)
    changed: Any = replace(noise, **held) if held else noise  # type: ignore[type-var]
    return problem._replace(y=y, noise=changed)


def single(problem: Problem) -> Problem:
    """A problem of tensors in the precision of the network: 32 bits."""

    def narrow(value: Tensor) -> Tensor:
        return value.to(torch.complex64 if value.is_complex() else torch.float32)

    noise = problem.noise
    if noise is not None:
        held = {name: narrow(value) for name, value in vars(noise).items() if isinstance(value, Tensor)}
        noise = replace(noise, **held) if held else noise  # type: ignore[type-var]
    return problem._replace(y=narrow(problem.y), noise=noise)
