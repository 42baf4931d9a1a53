"""What a Toeplitz gram is made of, on NumPy (numba, SciPy) and on CuPy (CUDA, cuFFT): passes and loops.

`Host` and `Device` have the same methods; `rayfold.kernels.toeplitz` composes them. Transforms lie
``(..., 2, length)``, even frequencies before odd ones. A loop calls ``work(start, stop)`` over pieces of n
rows that take `size` bytes each: pieces that stay in cache, and several per core.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import launch

THREADS, TILE = 256, 32  # of cuda/toeplitz.cu
HOST_BLOCK, DEVICE_BLOCK = 1 << 17, 1 << 26  # bytes that stay in the cache of a core, and of a card
ALONE = 1 << 22  # bytes of an image's transform up to which a core takes whole images
GROUP = 1 << 28  # bytes of the images a card transforms together

Work = Callable[[int, int], None]
Loop = Callable[[int, int, Work, bool], None]


@functools.lru_cache(maxsize=64)
def phase(length: int, kind: str) -> Any:
    """Factors that turn the odd frequencies of the transform of twice the length into even ones."""
    return np.exp(-1j * np.pi * np.arange(length) / length).astype(kind)


class Passes:
    """How the passes of `Host` and `Device` are composed around a transform."""

    def rows_in(self: Any, x: Any, maps: Any, a: Any, start: int, stop: int) -> None:
        """Images ``(images, components, rows, n)`` to doubled transforms along their last axis."""
        flat = a.reshape(-1, *a.shape[3:])[start:stop]
        if self.real:
            self.rfft(x.reshape(-1, x.shape[-1])[start:stop], flat)
        else:
            self.enter(x, maps, a, start, stop)
            self.fft(flat, True)

    def rows_out(self: Any, a: Any, maps: Any, out: Any, add: bool, start: int, stop: int) -> None:
        """Back, combined over coils if there are maps."""
        flat = a.reshape(-1, *a.shape[3:])[start:stop]
        if self.real:
            self.irfft(flat, out.reshape(-1, out.shape[-1])[start:stop])
        else:
            self.fft(flat, False)
            self.leave(a, maps, out, add, start, stop)

    def middle_in(self: Any, x: Any, a: Any, start: int, stop: int) -> None:
        """``(planes, n, inner)`` to doubled transforms ``(planes, inner, 2, length)`` along n."""
        self.expand(x, a, 0, start, stop)
        self.fft(a[start:stop], True)

    def middle_out(self: Any, a: Any, x: Any, start: int, stop: int) -> None:
        """Back."""
        self.fft(a[start:stop], False)
        self.contract(a, x, 0, start, stop)

    def columns(self: Any, x: Any, images: int, start: int, stop: int) -> None:
        """Columns of ``(images * components, n, inner)`` convolved with the kernel, in place."""
        a = self.empty((len(x), stop - start, 2, self.lengths[0]))
        self.expand(x, a, start, 0, len(x))
        self.fft(a, True)
        self.multiply(a.reshape(images, -1, stop - start, 2 * self.lengths[0]), start)
        self.fft(a, False)
        self.contract(a, x, start, 0, len(x))


class Host(Passes):
    """NumPy arrays: one image or coil after the other, each core its own or all of them at one."""

    def __init__(self, kernel: Any, real: bool, kind: str, lengths: tuple[int, ...]) -> None:
        from .cpu import fft, threads, toeplitz, toeplitz_fused

        self.twin, self.threads, self.fused = toeplitz, threads, toeplitz_fused
        self.real, self.kind, self.lengths = real, kind, lengths
        self.single = "float32" if kind == "complex64" else "float64"
        self.kernel = kernel.reshape(len(kernel), -1, 2 * lengths[0])
        self.none = np.empty((0, 0, 0), kind)
        # fused passes go through the cache in groups of their own
        planned = all(fft.plan(length, self.single) for length in lengths)
        self.whole = len(kernel) == 1 and kernel.dtype.kind == "f" and planned

    def empty(self, shape: tuple[int, ...]) -> Any:
        return np.empty(shape, self.kind)

    def units(self, n: int, size: int, work: Callable[[int, int, Loop, int], None]) -> None:
        """``work(start, stop, loop, slot)`` for n images of `size` bytes; no two threads share a slot."""
        cores = self.threads.n_threads()
        shared = n // cores * cores if size <= ALONE and cores > 1 else 0

        def alone(start: int, stop: int) -> None:
            for i in range(start, stop):
                work(i, i + 1, self.one, start * cores // shared)

        if shared:
            self.threads.each(alone, [(shared * t // cores, shared * (t + 1) // cores) for t in range(cores)])
        for i in range(shared, n):
            work(i, i + 1, self.all, 0)

    def one(self, n: int, size: int, work: Work, blocks: bool) -> None:
        step = n if self.whole else max(8, HOST_BLOCK // size // 8 * 8)
        for start in range(0, n, step):
            work(start, min(start + step, n))

    def all(self, n: int, size: int, work: Work, blocks: bool) -> None:
        most = n if self.whole else max(8, HOST_BLOCK // size // 8 * 8)
        step = min(most, 8 * math.ceil(n / (32 * self.threads.n_threads())))
        self.threads.each(work, [(start, min(start + step, n)) for start in range(0, n, step)])

    def fft(self, a: Any, forward: bool) -> None:
        """Transforms along the last axis in place, unscaled."""
        from scipy import fft

        done = (
            fft.fft(a, axis=-1, overwrite_x=True, workers=1)
            if forward
            else fft.ifft(a, axis=-1, norm="forward", overwrite_x=True, workers=1)
        )
        if not np.may_share_memory(done, a):
            a[...] = done

    def rfft(self, x: Any, a: Any) -> None:
        from scipy import fft

        a[...] = fft.rfft(x, n=2 * self.lengths[-1], axis=-1, workers=1)

    def irfft(self, a: Any, out: Any) -> None:
        from scipy import fft

        whole = fft.irfft(a, n=2 * self.lengths[-1], axis=-1, norm="forward", overwrite_x=True, workers=1)
        out[...] = whole[:, : out.shape[1]]

    def enter(self, x: Any, maps: Any, a: Any, start: int, stop: int) -> None:
        self.twin.enter(x, self.none if maps is None else maps, self._phase(a), a, start, stop)

    def leave(self, a: Any, maps: Any, out: Any, add: bool, start: int, stop: int) -> None:
        self.twin.leave(a, self.none if maps is None else maps, self._phase(a), out, add, start, stop)

    def expand(self, x: Any, a: Any, first: int, start: int, stop: int) -> None:
        self.twin.expand(x, self._phase(a), a, first, start, stop)

    def contract(self, a: Any, out: Any, first: int, start: int, stop: int) -> None:
        self.twin.contract(a, self._phase(a), out, first, start, stop)

    def multiply(self, a: Any, first: int) -> None:
        rows = a.shape[0] * a.shape[2]
        if a.shape[1] == 1 and self.kernel.dtype.kind == "f":
            pairs = a.view(self.kernel.dtype).reshape(*a.shape, 2)
            self.twin.scale(pairs, self.kernel, first, 0, rows)
        else:
            self.twin.multiply(a, self.kernel, first, 0, rows)

    def _phase(self, a: Any) -> Any:
        return phase(a.shape[-1], self.kind)

    # where numbers fill whole vectors, a pass and its transform are one

    def rows_in(self, x: Any, maps: Any, a: Any, start: int, stop: int) -> None:
        length = self.lengths[-1]
        mixed = maps is not None and a.shape[1] > 1
        if self.real or mixed or not self._fits(x.shape[-1], a.size // (2 * length), length):
            super().rows_in(x, maps, a, start, stop)
            return
        arrays = map(self._flat, (x, self.none if maps is None else maps, a))
        self.fused.rows_in(*arrays, x.shape[-1], length, *self._plan(length), start, stop)

    def rows_out(self, a: Any, maps: Any, out: Any, add: bool, start: int, stop: int) -> None:
        length = self.lengths[-1]
        mixed = maps is not None and a.shape[1] > 1
        if self.real or mixed or not self._fits(out.shape[-1], a.size // (2 * length), length):
            super().rows_out(a, maps, out, add, start, stop)
            return
        arrays = map(self._flat, (a, self.none if maps is None else maps, out))
        self.fused.rows_out(*arrays, add, out.shape[-1], length, *self._plan(length), start, stop)

    def middle_in(self, x: Any, a: Any, start: int, stop: int) -> None:
        _, n, inner = x.shape
        if not self._fits(inner, a.shape[-1], a.shape[-1]):
            super().middle_in(x, a, start, stop)
            return
        sizes = (inner, n, a.shape[-1], *self._plan(a.shape[-1]))
        self.fused.middle_in(self._flat(x), self._flat(a), *sizes, start, stop)

    def middle_out(self, a: Any, x: Any, start: int, stop: int) -> None:
        _, n, inner = x.shape
        if not self._fits(inner, a.shape[-1], a.shape[-1]):
            super().middle_out(a, x, start, stop)
            return
        sizes = (inner, n, a.shape[-1], *self._plan(a.shape[-1]))
        self.fused.middle_out(self._flat(a), self._flat(x), *sizes, start, stop)

    def columns(self, x: Any, images: int, start: int, stop: int) -> None:
        length, (planes, n, inner) = self.lengths[0], x.shape
        if planes > 1 or self.kernel.dtype.kind == "c" or not self._fits(inner, inner, length):
            super().columns(x, images, start, stop)
            return
        sizes = (inner, n, length, *self._plan(length))
        self.fused.columns(self._flat(x), self.kernel.reshape(-1), *sizes, start, stop)

    def _fits(self, one: int, other: int, length: int) -> bool:
        """Whether two sizes fill a vector, and a length has a plan of our own."""
        from .cpu import fft, lines

        return min(one, other) >= lines.lanes(self.single) and fft.plan(length, self.single) is not None

    def _plan(self, length: int) -> tuple[Any, ...]:
        from .cpu import fft

        return phase(length, self.kind).view(self.single), *(fft.plan(length, self.single) or ())

    def _flat(self, a: Any) -> Any:
        return a.reshape(-1).view(self.single)


@functools.lru_cache(maxsize=64)
def _device_phase(length: int, kind: str, device: int) -> Any:
    import cupy

    return cupy.asarray(phase(length, kind))


@functools.lru_cache(maxsize=32)
def _plan(length: int, batch: int, kind: str, device: int, stream: int, thread: int) -> Any:
    """A cuFFT plan; it owns memory to work in, so no two streams or threads share one."""
    from cupy.cuda import cufft

    return cufft.Plan1d(length, cufft.CUFFT_C2C if kind == "complex64" else cufft.CUFFT_Z2Z, batch)


class Device(Passes):
    """CuPy arrays: many images or coils at once, the last transform in blocks that stay in cache."""

    def __init__(self, kernel: Any, real: bool, kind: str, lengths: tuple[int, ...]) -> None:
        import cupy

        self.xp, self.id = cupy, cupy.cuda.Device().id
        self.real, self.kind, self.lengths = real, kind, lengths
        self.kernel = kernel.reshape(len(kernel), -1, 2 * lengths[0])
        self.defines = launch.preamble("float32" if kind == "complex64" else "float64", 1)

    def empty(self, shape: tuple[int, ...]) -> Any:
        return self.xp.empty(shape, self.kind)

    def units(self, n: int, size: int, work: Callable[[int, int, Loop, int], None]) -> None:
        step = max(1, GROUP // size)
        for start in range(0, n, step):
            work(start, min(start + step, n), self.loop, 0)

    def loop(self, n: int, size: int, work: Work, blocks: bool) -> None:
        step = max(TILE, DEVICE_BLOCK // size // TILE * TILE) if blocks else n
        for start in range(0, n, step):
            work(start, min(start + step, n))

    def fft(self, a: Any, forward: bool) -> None:
        from cupy.cuda import cufft

        length = a.shape[-1]
        stream = self.xp.cuda.get_current_stream().ptr
        plan = _plan(length, a.size // length, self.kind, self.id, stream, threading.get_ident())
        plan.fft(a, a, cufft.CUFFT_FORWARD if forward else cufft.CUFFT_INVERSE)

    def rfft(self, x: Any, a: Any) -> None:
        a[...] = self.xp.fft.rfft(x, n=2 * self.lengths[-1], axis=-1)

    def irfft(self, a: Any, out: Any) -> None:
        out[...] = self.xp.fft.irfft(a, n=2 * self.lengths[-1], axis=-1, norm="forward")[:, : out.shape[1]]

    def enter(self, x: Any, maps: Any, a: Any, start: int, stop: int) -> None:
        coils, k, rows, _, length = a.shape
        turn, n = self._phase(a), x.shape[-1]
        sizes = map(np.int64, (coils, k, rows, n, length))
        given = (x, turn if maps is None else maps, turn, a, np.int32(maps is not None), *sizes)
        self._launch("enter", coils * k * rows * length, given)

    def leave(self, a: Any, maps: Any, out: Any, add: bool, start: int, stop: int) -> None:
        coils, k, rows, _, length = a.shape
        turn, n = self._phase(a), out.shape[-1]
        sizes = map(np.int64, (coils, k, rows, n, length))
        flags = map(np.int32, (maps is not None, add))
        given = (a, turn if maps is None else maps, turn, out, *flags, *sizes)
        self._launch("leave", out.size, given)

    def expand(self, x: Any, a: Any, first: int, start: int, stop: int) -> None:
        self._turn("expand", (x, self._phase(a), a), x, a, first, a.shape[-1])

    def contract(self, a: Any, out: Any, first: int, start: int, stop: int) -> None:
        self._turn("contract", (a, self._phase(a), out), out, a, first, out.shape[1])

    def multiply(self, a: Any, first: int) -> None:
        coils, k, count, length = a.shape
        parts = 1 if self.kernel.dtype.kind == "f" else 2
        sizes = (np.int32(parts), np.int64(coils), np.int32(k), np.int64(self.kernel.shape[1]))
        given = (a, self.kernel, *sizes, *map(np.int64, (first, count, length)))
        self._launch("multiply", count * length, given, min(coils, launch.MAX_GRID_Z))

    def _phase(self, a: Any) -> Any:
        return _device_phase(a.shape[-1], self.kind, self.id)

    def _turn(self, name: str, arrays: tuple[Any, ...], x: Any, a: Any, first: int, places: int) -> None:
        outer, n, inner = x.shape
        count, length = a.shape[1], a.shape[-1]
        tiles = outer * math.ceil(count / TILE) * math.ceil(places / TILE)
        given = (*arrays, *map(np.int64, (n, inner, first, count, length)))
        launch.launch("toeplitz", name, self.defines, (tiles, 1, 1), THREADS, given)

    def _launch(self, name: str, threads: int, given: tuple[Any, ...], high: int = 1) -> None:
        blocks = math.ceil(threads / THREADS)
        launch.launch("toeplitz", name, self.defines, (blocks, high, 1), THREADS, given)
