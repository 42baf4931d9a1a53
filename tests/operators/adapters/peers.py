"""How the tests load each peer, the analytic phantoms, and an operator that watches its own memory."""

from __future__ import annotations

import importlib
import math
import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rayfold.operators import LinearOperator, ParallelBeam, Volume, XRay
from rayfold.recon import Problem, run
from rayfold.recon.solvers import CGLS

ELLIPSES = [
    (1.0, 34.0, 42.0, 1.5, -2.0, 0.2),
    (-0.6, 12.0, 20.0, -10.0, 5.0, -0.4),
    (0.5, 8.0, 6.0, 14.0, 12.0, 1.0),
]  # value, semi-axes, centre in mm, angle in rad; within 100 mm


def load(name: str) -> Any:
    """The peer, or a skip; printing, environment and warnings of this process are left as they were."""
    before = dict(os.environ)
    try:
        with np.printoptions(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name == "deepinv":
                _name_torchvision_operators()
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                pytest.skip(f"{name} cannot be imported here: {error}")
            if name == "tomosipo":
                _let_it_ask_for_no_copy()
            return module
    finally:
        for key in set(os.environ) - set(before):
            del os.environ[key]


def _name_torchvision_operators() -> None:
    """torchvision from the registry wants these to exist beside a CPU build of torch; never called."""
    import torch

    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)


_kept: list[Any] = []


def _let_it_ask_for_no_copy() -> None:
    """tomosipo asks for ``np.array(x, copy=False)`` as NumPy 1 understood it: no copy unless it must."""
    import sys

    class AsBefore:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def array(self, *args: Any, copy: bool = True, **options: Any) -> Any:
            return np.array(*args, copy=copy or None, **options)

    for name, module in list(sys.modules.items()):
        if name.startswith("tomosipo") and getattr(module, "np", None) is np:
            module.np = AsBefore()  # type: ignore[attr-defined]


def relative(a: Any, b: Any) -> float:
    """Norm of the difference over the norm of `b`."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def native(n: int = 16, views: int = 12) -> XRay:
    """A small scan of our own."""
    return XRay(Volume((n, n)), ParallelBeam.evenly(views, n + 8))


def smooth(volume: Volume, centre: tuple[float, float] = (3.0, -5.0), sigma: float = 8.0) -> Any:
    """A Gaussian blob, centre ``(x, y)``."""
    ys, xs = volume.coordinates()
    return np.exp(-((xs - centre[0]) ** 2 + (ys[:, None] - centre[1]) ** 2) / (2 * sigma**2))


def smooth_integrals(beam: Any, centre: tuple[float, float] = (3.0, -5.0), sigma: float = 8.0) -> Any:
    """Its exact line integrals along the rays of any flat beam."""
    v, k = beam.vectors, np.arange(beam.n_cols) - (beam.n_cols - 1) / 2
    point = v[:, None, 2:4] + k[:, None] * v[:, None, 4:6]
    along = v[:, None, :2] if beam.kind == "parallel" else point - v[:, None, :2]
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    away = np.array(centre) - point
    distance = away[..., 0] * along[..., 1] - away[..., 1] * along[..., 0]
    return sigma * math.sqrt(2 * math.pi) * np.exp(-(distance**2) / (2 * sigma**2))


def cgls_finds(op: LinearOperator, x: Any, n: int, bound: float) -> None:
    """Our CGLS on this operator, from data of a known image."""
    found = run(CGLS(), Problem(op, op(x)), n).x
    assert found.dtype == x.dtype
    assert relative(found, x) < bound


def gradient_is_adjoint(op: LinearOperator, bound: float = 1e-5) -> None:
    """torch's gradient of ``<g, A x>`` is ``A.H g``, and JAX's too, through jit and vmap."""
    import jax
    import torch

    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, *op.in_shape)).astype(np.float32)
    g = rng.standard_normal((2, *op.out_shape)).astype(np.float32)
    back = np.stack([op.H(one) for one in g])
    leaf = torch.from_numpy(x).requires_grad_()
    (op(leaf) * torch.from_numpy(g)).sum().backward()
    assert relative(leaf.grad, back) < bound
    gradient = jax.jit(jax.vmap(jax.grad(lambda a, b: (op(a) * b).sum())))(x, g)
    assert relative(gradient, back) < bound


@dataclass(frozen=True)
class Watched(LinearOperator):
    """``y = 2 x``, and the addresses of what it was given and where it wrote."""

    shape: tuple[int, ...]
    seen: list[int] = field(default_factory=list, hash=False, compare=False, repr=False)
    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    def apply(self, x: Any, out: Any, *, adjoint: bool, **operands: Any) -> None:
        self.seen[:] = [address(x), address(out)]
        out[...] = 2 * x


def address(x: Any) -> int:
    """Where an array's memory begins."""
    if hasattr(x, "data_ptr"):
        return int(x.data_ptr())
    if hasattr(x, "unsafe_buffer_pointer"):
        return int(x.unsafe_buffer_pointer())
    return int(x.__array_interface__["data"][0])
