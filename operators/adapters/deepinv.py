"""deepinv's linear physics, on torch tensors that share our memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, Shape, peer, shape


@dataclass(frozen=True, eq=False)
class DeepinvPhysics(Foreign):
    """A `deepinv.physics.LinearPhysics`: `A` and `A_adjoint` on the whole batch at once."""

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        torch = peer("torch")
        home = self.source._device_holder
        data = torch.as_tensor(x if getattr(x.flags, "writeable", True) else x.copy())
        kind = home.dtype.to_complex() if data.is_complex() else home.dtype
        with torch.no_grad():
            y = (self.source.A_adjoint if adjoint else self.source.A)(data.to(home.device, kind))
        torch.as_tensor(out).copy_(y.reshape(out.shape))


def from_deepinv(physics: Any, in_shape: Shape) -> LinearOperator:
    """The linear part of a deepinv physics as one of our operators; its noise model is left out.

    It computes where and in what precision its buffers are (``physics.double()`` for float64). Input of that
    type and place is shared, not copied; the result is copied into place once.

    Parameters
    ----------
    physics : deepinv.physics.LinearPhysics
        With parameters that stay fixed: changing them changes the operator.
    in_shape : tuple of int
        Shape of one image without deepinv's batch axis: ``(channels, ny, nx)``.

    Returns
    -------
    LinearOperator
        Complex if the physics maps real images or complex data to complex ones.

    Raises
    ------
    ValueError
        If the physics is not linear, or returns several tensors (a stack).
    """
    torch = peer("torch")
    if not (hasattr(physics, "A_adjoint") and hasattr(physics, "_device_holder")):
        raise ValueError(
            f"{type(physics).__name__} is not a deepinv LinearPhysics; only linear physics converts"
        )
    home = physics._device_holder
    with torch.no_grad():
        y = physics.A(torch.zeros((1, *in_shape), device=home.device, dtype=home.dtype))
        if not torch.is_tensor(y):
            raise ValueError("the physics returns several tensors; convert its parts and use rayfold's Stack")
        back = physics.A_adjoint(torch.zeros_like(y))
    field = "complex" if y.is_complex() or back.is_complex() else "real"
    return DeepinvPhysics(physics, (shape(in_shape), shape(y.shape[1:])), field)  # type: ignore[arg-type]


def to_deepinv(op: LinearOperator, *, noise_model: Any = None) -> Any:
    """One of our operators as a `deepinv.physics.LinearPhysics`, for its reconstruction methods and networks.

    Tensors pass without a copy, on the CPU or the GPU, and gradients of any order go through.

    Parameters
    ----------
    op : LinearOperator
        Its shapes are the last axes of deepinv's tensors: an operator from ``(ny, nx)`` takes
        ``(batch, channels, ny, nx)``.
    noise_model : deepinv.physics.NoiseModel, optional
        None by default.

    Returns
    -------
    deepinv.physics.LinearPhysics
        With our exact adjoint.
    """
    physics = peer("deepinv.physics")
    given = {} if noise_model is None else {"noise_model": noise_model}
    channels = (1,) * max(0, 3 - len(op.in_shape))
    return physics.LinearPhysics(
        A=lambda x: op(x), A_adjoint=lambda y: op.H(y), img_size=(*channels, *op.in_shape), **given
    )
