"""The passes around the transforms of a Toeplitz gram: the twin of ``cuda/toeplitz.cu``.

Each works on rows ``start .. stop`` of its first axes, in the caller's thread. ``a`` holds transforms, even
frequencies ``a[..., 0, :]`` before odd ones ``a[..., 1, :]``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]
STEP = (
    8  # elements of a cache line, and ways of a cache: rows that lie a power of 2 apart displace each other
)
_jit = numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")


@_jit  # type: ignore[untyped-decorator]
def enter(x: Array, maps: Array, phase: Array, a: Array, start: int, stop: int) -> None:
    """``a[g, k, r] <- (z, z phase)``, ``z = maps[g, r] x[k, r]``; without maps (empty) ``z = x[g, k, r]``."""
    _, components, rows, _, length = a.shape
    n = x.shape[3]
    for row in range(start, stop):
        g, k, r = row // (components * rows), row // rows % components, row % rows
        even, odd = a[g, k, r, 0], a[g, k, r, 1]
        if maps.size:
            image, sensitivity = x[0, k, r], maps[g, r]
            for i in range(n):
                even[i] = image[i] * sensitivity[i]
        else:
            even[:n] = x[g, k, r]
        for i in range(n):
            odd[i] = even[i] * phase[i]
        for i in range(n, length):
            even[i] = 0
            odd[i] = 0


@_jit  # type: ignore[untyped-decorator]
def leave(a: Array, maps: Array, phase: Array, out: Array, add: bool, start: int, stop: int) -> None:
    """``out[k, r] <- sum_g conj(maps[g, r]) z``, ``z = even + odd conj(phase)``, or just ``z``."""
    coils, components, rows, _, _ = a.shape
    n = out.shape[3]
    for row in range(start, stop):
        g, k, r = row // (components * rows), row // rows % components, row % rows
        image = out[g, k, r]
        if not maps.size:
            even, odd = a[g, k, r, 0], a[g, k, r, 1]
            for i in range(n):
                image[i] = even[i] + odd[i] * phase[i].conjugate()
            continue
        if not add:
            image[:] = 0
        for c in range(coils):
            even, odd, sensitivity = a[c, k, r, 0], a[c, k, r, 1], maps[c, r]
            for i in range(n):
                image[i] += sensitivity[i].conjugate() * (even[i] + odd[i] * phase[i].conjugate())


@_jit  # type: ignore[untyped-decorator]
def expand(x: Array, phase: Array, a: Array, first: int, start: int, stop: int) -> None:
    """``a[o, c] <- (z, z phase)`` with ``z = x[o, :, first + c]``."""
    count, length = a.shape[1], a.shape[3]
    n = x.shape[1]
    for o in range(start, stop):
        for i0 in range(0, n, STEP):
            for c in range(count):
                even, odd = a[o, c, 0], a[o, c, 1]
                for i in range(i0, min(i0 + STEP, n)):
                    value = x[o, i, first + c]
                    even[i] = value
                    odd[i] = value * phase[i]
        a[o, :, :, n:length] = 0


@_jit  # type: ignore[untyped-decorator]
def contract(a: Array, phase: Array, out: Array, first: int, start: int, stop: int) -> None:
    """``out[o, :, first + c] <- even + odd conj(phase)``."""
    count, n = a.shape[1], out.shape[1]
    for o in range(start, stop):
        for i0 in range(0, n, STEP):
            for c in range(count):
                even, odd = a[o, c, 0], a[o, c, 1]
                for i in range(i0, min(i0 + STEP, n)):
                    out[o, i, first + c] = even[i] + odd[i] * phase[i].conjugate()


@_jit  # type: ignore[untyped-decorator]
def multiply(a: Array, kernel: Array, first: int, start: int, stop: int) -> None:
    """``a[g, :, c] <- kernel[:, first + c] a[g, :, c]``, a Hermitian matrix over components per frequency."""
    components, count, length = a.shape[1], a.shape[2], a.shape[3]
    mixed = np.empty(components, a.dtype)
    for row in range(start, stop):
        g, c = row // count, row % count
        if components == 1:
            values, weights = a[g, 0, c], kernel[0, first + c]
            for f in range(length):
                values[f] *= weights[f]
            continue
        for f in range(length):
            for k in range(components):
                mixed[k] = 0
                for j in range(components):
                    low, high = min(j, k), max(j, k)
                    weight = kernel[low * components - low * (low - 1) // 2 + high - low, first + c, f]
                    mixed[k] += a[g, j, c, f] * (weight if j >= k else weight.conjugate())
            for k in range(components):
                a[g, k, c, f] = mixed[k]


@_jit  # type: ignore[untyped-decorator]
def scale(a: Array, kernel: Array, first: int, start: int, stop: int) -> None:
    """`multiply` for one component and a real kernel: `a` as pairs ``(coils, 1, count, length, 2)``."""
    count, length = a.shape[2], a.shape[3]
    for row in range(start, stop):
        g, c = row // count, row % count
        values, weights = a[g, 0, c], kernel[0, first + c]
        for f in range(length):
            values[f, 0] *= weights[f]
            values[f, 1] *= weights[f]
