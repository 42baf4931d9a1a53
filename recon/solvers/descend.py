"""L-BFGS of three array libraries behind one signature: from a start to a point that is no worse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from rayfold.operators.dispatch import library, namespace, to_numpy

Array = Any
FORBIDDEN = 1e10  # value where there is none, in units in which a good step gains 1


class Descent(NamedTuple):
    """What to descend: value (less that at the start) and gradient, start, and units.

    `length` is the unit of the variable and `height` that of the value: in them the gradient at the start
    has length 1, and so has a good first step along it.
    """

    both: Callable[[Array], tuple[Array, Array]]
    start: Array
    length: Array
    height: Array


def to_vector(x: Array) -> Array:
    """Entries in a row; real parts, then imaginary parts, of complex ones."""
    xp = namespace(x)
    row = xp.reshape(x, (-1,))
    return xp.concat([xp.real(row), xp.imag(row)]) if "complex" in str(x.dtype) else row


def to_image(z: Array, like: Array) -> Array:
    """Inverse of `to_vector`."""
    xp = namespace(like)
    if "complex" in str(like.dtype):
        n = z.shape[0] // 2
        z = z[:n] + 1j * z[n:]
    return xp.reshape(z, tuple(like.shape))


def by_scipy(
    what: Descent, n: int, memory: int, lower: float | None = None, upper: float | None = None
) -> Array:
    """L-BFGS-B of SciPy, the only one with bounds."""
    import numpy as np
    from scipy.optimize import Bounds, minimize

    x = what.start
    bounded = lower is not None or upper is not None
    if bounded:
        if np.iscomplexobj(x):
            raise ValueError("bounds need a real image; a complex one has no order")
        x = np.clip(x, lower, upper)
    length, height = float(what.length), float(what.height)
    if not (length > 0 and height > 0):  # at a stationary point already
        return x
    origin = to_vector(what.start).astype(np.float64)

    def scaled(z: Any) -> tuple[float, Any]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, g = what.both(to_image(origin + length * z, what.start).astype(what.start.dtype))
            row = to_vector(g).astype(np.float64) * (length / height)
        if not (np.isfinite(value) and np.isfinite(row).all()):
            return FORBIDDEN, np.zeros_like(row)  # turns the line search back
        return float(value) / height, row

    box = None
    if bounded:
        low, high = (-math.inf if lower is None else lower), (math.inf if upper is None else upper)
        box = Bounds((low - origin) / length, (high - origin) / length)
    options = {"maxiter": n, "maxfun": 4 * n, "maxcor": memory, "ftol": 0.0, "gtol": 0.0}
    z0 = (to_vector(x).astype(np.float64) - origin) / length
    found = minimize(scaled, z0, jac=True, method="L-BFGS-B", bounds=box, options=options).x
    moved = to_image(origin + length * found, what.start).astype(what.start.dtype)
    return np.clip(moved, lower, upper) if bounded else moved


def by_torch(what: Descent, n: int, memory: int) -> Array:
    """``torch.optim.LBFGS`` with a strong Wolfe line search, on tensors or on what DLPack lends to torch."""
    import torch
    import torch.utils.dlpack

    length, height = float(to_numpy(what.length)), float(to_numpy(what.height))
    if not (length > 0 and height > 0):
        return what.start
    foreign = library(type(what.start)) != "torch"
    origin = to_vector(what.start)
    xp = namespace(origin)
    z = torch.utils.dlpack.from_dlpack(xp.zeros_like(origin)) if foreign else torch.zeros_like(origin)
    z.requires_grad_()
    best = [math.inf, origin]
    options: dict[str, Any] = {"lr": 1.0, "max_iter": n, "max_eval": 4 * n, "history_size": memory}
    options |= {"tolerance_grad": 0.0, "tolerance_change": 0.0, "line_search_fn": "strong_wolfe"}
    descent = torch.optim.LBFGS([z], **options)

    def closure() -> float:
        with torch.no_grad():
            at = z.detach()
            point = origin + length * (xp.from_dlpack(at) if foreign else at)
            value, g = what.both(to_image(point, what.start))
            if float(value) < best[0]:
                best[:] = float(value), point
            g = to_vector(g) * (length / height)
            z.grad = torch.utils.dlpack.from_dlpack(g) if foreign else g
            return float(value) / height

    descent.step(closure)  # type: ignore[no-untyped-call]
    return to_image(best[1], what.start)


def by_optax(what: Descent, n: int, memory: int) -> Array:
    """``optax.lbfgs`` in a loop of XLA: eager and under jit alike."""
    try:
        import optax
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("L-BFGS of JAX arrays needs optax; pip install optax") from missing
    import jax
    from jax import numpy as jnp

    moves = (what.length > 0) & (what.height > 0)
    length = jnp.where(moves, what.length, 1)
    height = jnp.where(moves, what.height, 1)
    origin = to_vector(what.start)

    def scaled(z: Array) -> tuple[Array, Array]:
        value, g = what.both(to_image(origin + length * z, what.start))
        return value / height, to_vector(g) * (length / height)

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def value(z: Array) -> Array:
        return scaled(z)[0]

    value.defvjp(scaled, lambda g, ct: (ct * g,))
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    lbfgs = optax.lbfgs(memory_size=memory, linesearch=search)
    with_state = optax.value_and_grad_from_state(value)

    def once(_: Any, carry: tuple[Array, Any, Array, Array]) -> tuple[Array, Any, Array, Array]:
        z, state, best, lowest = carry
        v, g = with_state(z, state=state)
        better = v < lowest
        best, lowest = jnp.where(better, z, best), jnp.where(better, v, lowest)
        updates, state = lbfgs.update(g, state, z, value=v, grad=g, value_fn=value)
        return optax.apply_updates(z, updates), state, best, lowest

    z = jnp.zeros_like(origin)
    first = (z, lbfgs.init(z), z, jnp.full((), jnp.inf, origin.dtype))
    z, _, best, lowest = jax.lax.fori_loop(0, n, once, first)
    best = jnp.where(value(z) < lowest, z, best)
    return to_image(jnp.where(moves, origin + length * best, origin), what.start)
