"""Toeplitz grams ``A.H W A`` by Fourier transforms of twice the grid, on NumPy and CuPy arrays.

``gram = crop(ifft(K * fft(pad(x))))``, with coil maps ``sum_c conj(S_c) crop(ifft(K * fft(pad(S_c x))))``
(Wajer and Pruessmann, ISMRM 2001; Fessler et al., IEEE TSP 53, 2005). Nothing is ever
padded: of the transform of twice the length the even frequencies are the transform of x, the odd ones that of
``x exp(-i pi n / L)``. Axis after axis is taken so, the last one first, and each only where the ones before
it are not zero; the first axis, forward, times K and back, goes through one small buffer, block after block.

Memory traffic per coil in three dimensions, in units of the image: 3 | 2 + 4 | 4 + 2 (a real K) + 4 | 4 + 2 |
3, with each bar a transform in cache; padding first costs 126.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import numpy as np

from . import toeplitz_passes
from .joseph import library_of
from .toeplitz_passes import Loop

COMPLEX = {
    "float32": "complex64",
    "float64": "complex128",
    "complex64": "complex64",
    "complex128": "complex128",
}
MOST = 16  # components cuda/toeplitz.cu mixes


def lengths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Half the length of the transform along every axis: the next good size from the axis on.

    Examples
    --------
    >>> lengths((256, 101))
    (256, 108)
    """
    from scipy.fft import next_fast_len

    return tuple(int(next_fast_len(n, real=True)) for n in shape)  # factors 2, 3, 5: the fast host path


def prepare(spectrum: Any, shape: tuple[int, ...], *, real: bool = False) -> Any:
    r"""A Toeplitz spectrum in the order `apply` reads it.

    Parameters
    ----------
    spectrum : ndarray, (\*grid) or (pairs, \*grid)
        Unnormalised discrete Fourier transform (``fftn``) of the lags, lag d at index ``d mod 2 L``, on the
        grid of ``2 L`` points per axis, L from `lengths`. Real or complex. With K components mixed, the
        pairs ``(0, 0), (0, 1), ..., (1, 1), ...`` of the upper triangle: row k of the result takes
        ``spectrum[k, l]`` times component l, below the diagonal the conjugate.
    shape : tuple of int
        Shape of an image, one to three axes.
    real : bool
        For real images: half of the last axis is kept.

    Returns
    -------
    ndarray, (pairs, \*reversed axes)
        Scaled, even frequencies before odd ones, the last axis in front; of the type of `spectrum`.
    """
    given, grid, pairs = tuple(spectrum.shape), tuple(2 * n for n in lengths(shape)), 1
    if len(given) == len(grid) + 1:
        pairs = given[0]
    if given[-len(grid) :] != grid or len(given) > len(grid) + 1:
        raise ValueError(
            f"the spectrum is {given}; for images {tuple(shape)} it must be {grid} or (pairs, *{grid})"
        )
    k = spectrum.reshape(pairs, *grid) / math.prod(grid)
    if len(grid) == 1:  # one axis is two, the first of length 1, whose transform has two equal halves
        k = sys.modules[type(k).__module__.partition(".")[0]].stack([k, k], axis=1) / 2
    for axis in range(1, k.ndim):
        if real and axis == k.ndim - 1:
            k = k[..., : k.shape[-1] // 2 + 1]
            continue
        n = k.shape[axis]
        k = k.reshape(*k.shape[:axis], n // 2, 2, *k.shape[axis + 1 :]).swapaxes(axis, axis + 1)
        k = k.reshape(*k.shape[:axis], n, *k.shape[axis + 2 :])
    k = k.transpose(0, *range(k.ndim - 1, 0, -1)).astype(spectrum.dtype)
    return k if k.flags.c_contiguous else k.copy()


def apply(x: Any, kernel: Any, out: Any, *, maps: Any = None) -> None:
    r"""Write the Toeplitz gram of `x` into `out`.

    Parameters
    ----------
    x : ndarray, (batch, components, \*shape)
        Images with one to three axes, complex64 or complex128, or float32 or float64 with a `kernel` made
        by ``prepare(..., real=True)``. `components` is the K that the kernel mixes, else 1.
    kernel : ndarray
        From `prepare`, real or complex, of the precision of `x`.
    out : ndarray
        Overwritten; of the shape and type of `x`, not `x` itself.
    maps : ndarray, (coils, \*shape), optional
        Coil sensitivities of the type of `x` (complex): every component of every image of the batch is
        multiplied by each, and the results are combined with the conjugates.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.

    Notes
    -----
    All arrays are C-contiguous and of one library. Beside `out`, a call takes as memory the transform of one
    coil (``2**(d - 1)`` images) for small images per thread, for large ones once; on a GPU up to a quarter of
    a gigabyte, or one coil. Results do not depend on timing; with `maps`, the order of the sum over coils
    depends on the number of CPU threads.

    Examples
    --------
    >>> x = np.array([1, 2j, 3]).reshape(1, 1, 3).astype("c16")
    >>> spectrum = np.fft.fftn([2.0, 1, 0, 0, 0, 1])  # lag 0 weighs 2, lags -1 and 1 weigh 1
    >>> out = np.empty_like(x)
    >>> apply(x, prepare(spectrum, (3,)), out)
    >>> out[0, 0].round(9).tolist()
    [(2+2j), (4+4j), (6+2j)]
    """
    arrays = {"x": x, "kernel": kernel, "out": out} | ({} if maps is None else {"maps": maps})
    library = library_of(arrays)
    _check(arrays)
    if x.size == 0:
        return
    if x.ndim == 3:  # one axis is two, the first of length 1
        x, out = x[:, :, None], out[:, :, None]
        maps = None if maps is None else maps[:, None]
    kind, real = COMPLEX[str(x.dtype)], x.dtype.kind == "f"
    make = toeplitz_passes.Host if library == "numpy" else toeplitz_passes.Device
    p = make(kernel, real, kind, lengths(x.shape[2:]))
    size = math.prod(x.shape[1:]) * 2 ** (x.ndim - 3) * np.dtype(kind).itemsize
    if maps is None:
        p.units(len(x), size, lambda a, b, loop, _: _group(p, x[a:b], None, out[a:b], False, loop))
        return
    for image, result in zip(x, out, strict=True):
        _combined(p, size, image[None], maps, result[None])


def _combined(p: Any, size: int, image: Any, maps: Any, out: Any) -> None:
    """The sum over coils: those of a core into a sum of its own, these in order into `out`."""
    sums: dict[int, Any] = {}

    def work(start: int, stop: int, loop: Loop, slot: int) -> None:
        add = slot in sums
        total = sums.setdefault(slot, out if slot == 0 else None)
        if total is None:
            total = sums[slot] = p.empty(out.shape)
        _group(p, image, maps[start:stop], total, add, loop)

    p.units(len(maps), size, work)
    if 0 not in sums:
        out[...] = 0
    for slot in sorted(sums.keys() - {0}):
        out += sums[slot]


def _check(arrays: dict[str, Any]) -> None:
    x, maps = arrays["x"], arrays.get("maps")
    if str(x.dtype) not in COMPLEX or not 3 <= x.ndim <= 5:
        raise ValueError(
            f"x is {x.dtype} {x.shape}; it must be (batch, components, *shape) of one to three axes, "
            "float32, float64, complex64 or complex128"
        )
    kind, (k, *shape) = COMPLEX[str(x.dtype)], x.shape[1:]
    real = x.dtype.kind == "f"
    *others, last = (2 * n for n in lengths(tuple(shape)))
    grid = (
        k * (k + 1) // 2,
        last // 2 + 1 if real else last,
        *others[::-1],
        *([2] if len(shape) == 1 else []),
    )
    wanted = {
        "x": x.shape,
        "out": x.shape,
        "kernel": grid,
        "maps": (len(maps) if maps is not None else 0, *shape),
    }
    for name, array in arrays.items():
        either = ["complex64", "float32"] if kind == "complex64" else ["complex128", "float64"]
        types = either if name == "kernel" else [str(x.dtype)]
        if array.shape != wanted[name] or str(array.dtype) not in types or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}; it must be C-contiguous {' or '.join(types)} "
                f"{wanted[name]}"
            )
    if arrays["out"] is x:
        raise ValueError("out must not be x itself; give a buffer of its own")
    if (real and maps is not None) or k > MOST:
        raise ValueError(
            f"x is {x.dtype} with {k} components; coil maps need complex images, and at most {MOST} "
            "components mix"
        )


def _group(p: Any, x: Any, maps: Any, out: Any, add: bool, loop: Loop) -> None:
    """The gram of some images ``(images, components, *shape)``, or of one seen by some coils, summed.

    The passes and the loop are those of `toeplitz_passes`.
    """
    coils, k, shape = len(x) if maps is None else len(maps), x.shape[1], x.shape[2:]
    rows, n, length = math.prod(shape[:-1]), shape[-1], p.lengths[-1]
    last = p.empty((coils, k, rows, *((length + 1,) if p.real else (2, length))))
    x, out = x.reshape(-1, k, rows, n), out.reshape(-1, k, rows, n)
    maps = None if maps is None else maps.reshape(coils, rows, n)
    n_rows, inner = coils * k * rows, math.prod(last.shape[3:])
    loop(n_rows, inner * last.itemsize, lambda a, b: p.rows_in(x, maps, last, a, b), False)
    steps, current = [], last
    for axis in range(len(shape) - 2, 0, -1):
        before = current.reshape(coils * k * math.prod(shape[:axis]), shape[axis], inner)
        current = p.empty((len(before), inner, 2, p.lengths[axis]))
        inner *= 2 * p.lengths[axis]
        ways = [partial(p.middle_in, before, current), partial(p.middle_out, current, before)]
        loop(len(before), inner * last.itemsize, ways[0], False)
        steps.append((len(before), inner * last.itemsize, ways[1], False))
    first = current.reshape(coils * k, shape[0], inner)
    size = coils * k * 2 * p.lengths[0] * last.itemsize
    loop(inner, size, lambda a, b: p.columns(first, coils, a, b), True)
    for step in reversed(steps):
        loop(*step)
    loop(n_rows, 2 * length * last.itemsize, lambda a, b: p.rows_out(last, maps, out, add, a, b), False)
