"""Timings of the MRI operators on a GPU, beside cuFINUFFT and beside a padded FFT; see `gpu_check`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .device import measure

# image, coils and radial samples: the case of torchkbnufft's table, and a volume of parallel imaging
CASES = {
    "2D": ((256, 256), 15, 405, 512),
    "3D": ((96, 96, 96), 32, 5000, 192),
}
EPS = 1e-4


def trajectory(shape: tuple[int, ...], spokes: int, samples: int) -> np.ndarray:
    """Spokes at the golden angle, or spread over the sphere, (spokes * samples, ndim) in rad/voxel."""
    i = np.arange(spokes)
    turn = i * np.pi * (np.sqrt(5) - 1)
    if len(shape) == 2:
        direction = np.stack([np.sin(turn / 2), np.cos(turn / 2)], axis=-1)
    else:
        height = 1 - 2 * (i + 0.5) / spokes
        flat = np.sqrt(1 - height**2)
        direction = np.stack([height, flat * np.sin(turn), flat * np.cos(turn)], axis=-1)
    radius = np.linspace(-np.pi, np.pi, samples, endpoint=False)
    return (direction[:, None] * radius[:, None]).reshape(-1, len(shape))


def timings(repeats: int, *, quick: bool) -> list[dict[str, Any]]:
    """Transforms of both engines and Toeplitz grams with and without coil maps, with their references."""
    rows = []
    for name in ("2D",) if quick else CASES:
        shape, coils, spokes, samples = CASES[name]
        k = trajectory(shape, spokes, samples)
        few = repeats if name == "2D" else max(5, repeats // 5)
        for kernel, call in calls(shape, coils, k).items():
            row = {"kernel": kernel, "case": name, "shape": shape, "coils": coils, "samples": len(k)}
            rows.append(row | {"rayfold": measure(call, few)})
            print(f"{name:8} {kernel:34} {1e3 * rows[-1]['rayfold']['wall_s']:9.3f} ms", file=sys.stderr)
    return rows


def calls(shape: tuple[int, ...], coils: int, k: np.ndarray) -> dict[str, Callable[[], Any]]:
    """What is timed, by name, on complex64 device arrays that are made once."""
    import cupy

    from rayfold.kernels import toeplitz
    from rayfold.operators import engine_cufinufft, engine_gridding

    rng = cupy.random.default_rng(0)

    def draw(*size: int) -> Any:
        return (rng.standard_normal(size, dtype="f4") + 1j * rng.standard_normal(size, dtype="f4")).astype(
            "c8"
        )

    x, y = draw(coils, *shape), draw(coils, len(k))
    points = cupy.asarray(k, dtype="f4")
    found: dict[str, Callable[[], Any]] = {}
    engines = {"gridding": engine_gridding}
    if importlib.util.find_spec("cufinufft"):
        engines["cufinufft"] = engine_cufinufft
    image, data = cupy.empty_like(x), cupy.empty_like(y)
    for name, engine in engines.items():
        plan = engine.make(points, shape, EPS, x)
        found[f"nufft, {name}"] = lambda plan=plan: plan.forward(x, data)
        found[f"nufft.H, {name}"] = lambda plan=plan: plan.adjoint(y, image)
    grid = tuple(2 * n for n in toeplitz.lengths(shape))
    spectrum = rng.random(grid, dtype="f4")
    kernel = toeplitz.prepare(spectrum, shape)
    stack, out, one = x[:, None], cupy.empty_like(x[:, None]), draw(1, 1, *shape)
    combined = cupy.empty_like(one)
    found["toeplitz"] = lambda: toeplitz.apply(stack, kernel, out)
    found["toeplitz with coil maps"] = lambda: toeplitz.apply(one, kernel, combined, maps=x)
    found["padded FFT (reference)"] = lambda: padded(x, spectrum, grid)
    return found


def padded(x: Any, spectrum: Any, grid: tuple[int, ...]) -> Any:
    """The gram as array code: a few coils at once, or the padded grids fill the card."""
    import cupy

    axes, crop = tuple(range(1, x.ndim)), tuple(slice(0, n) for n in x.shape[1:])
    out = cupy.empty_like(x)
    step = max(1, 2**31 // (8 * int(np.prod(grid))))
    for start in range(0, len(x), step):
        wide = cupy.fft.fftn(x[start : start + step], grid, axes=axes)
        wide *= spectrum
        out[start : start + step] = cupy.fft.ifftn(wide, axes=axes)[(slice(None), *crop)]
    return out
