"""Images to tell the familiar from the strange: what degrades them, and pictures of no family at all.

The strange ones are other than the families kept out of training (foam, text, ellipses), which are for the
test: level sets and their contours, domains, strokes, marks in rows, confetti, tilings, and images of the
families spoilt by what goes wrong in practice (cut up, wrapped, edges only, a sinogram, a spectrum).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

Array = npt.NDArray[Any]
KINDS = ("clean", "noise", "blur", "reconstruction", "enlarged")


def degraded(image: Array, rng: np.random.Generator) -> Array:
    """An image as a denoiser or a reconstruction shows it: noisy, blurred, with coloured errors, enlarged."""
    a = image.astype(np.complex64 if np.iscomplexobj(image) else np.float32)
    a = a / max(float(np.percentile(np.abs(a), 99.5)), 1e-6)
    kind = rng.choice(KINDS, p=(0.15, 0.35, 0.15, 0.2, 0.15))
    sigma = np.exp(rng.uniform(np.log(0.003), np.log(0.12)))

    def noise() -> Array:
        n = rng.standard_normal(a.shape)
        return (n + 1j * rng.standard_normal(a.shape) if np.iscomplexobj(a) else n).astype(a.dtype)

    if kind == "noise":
        return a + sigma * noise()
    if kind == "blur":
        return _parts(ndi.gaussian_filter, a, rng.uniform(0.4, 1.3)) + 0.1 * sigma * noise()
    if kind == "reconstruction":
        n = noise()
        n = n - _parts(ndi.gaussian_filter, n, rng.uniform(0.8, 2.5))
        return _parts(ndi.gaussian_filter, a, rng.uniform(0.3, 0.8)) + sigma * n / np.abs(n).std()
    if kind == "enlarged":
        b = a[: a.shape[0] // 2, : a.shape[1] // 2] if min(a.shape) >= 160 else a
        return _parts(lambda q, z: ndi.zoom(q, z, order=1), b, 2)
    return a


def _parts(filter_: Callable[..., Array], a: Array, value: float) -> Array:
    if not np.iscomplexobj(a):
        return filter_(a, value)
    return (filter_(a.real, value) + 1j * filter_(a.imag, value)).astype(a.dtype)


def strange(shape: tuple[int, int], seed: int, source: Array) -> tuple[Array, str]:
    """A strange picture and its kind; `source` is an image of the families, to be spoilt."""
    rng = np.random.default_rng([seed, 11])
    if rng.uniform() < 0.3:
        spoil = SPOILT[int(rng.integers(len(SPOILT)))]
        return spoil(source, rng).astype(np.float32), spoil.__name__.strip("_")
    make = MADE[int(rng.integers(len(MADE)))]
    p = ndi.gaussian_filter(make(shape, rng).astype(float), rng.uniform(0.2, 0.8))
    low = rng.choice([0, rng.uniform(0, 0.5)])
    if rng.uniform() < 0.5:
        p = 1 - p
    if rng.uniform() < 0.2:
        p = p * (1 + 0.15 * _field(shape, min(shape) / 6, rng))
    p = low + (1 - low) * p
    if rng.uniform() < 0.4:  # inside a body, at times with a shell
        y, x = np.mgrid[-1 : 1 : 1j * shape[0], -1 : 1 : 1j * shape[1]]
        r = np.hypot(y / rng.uniform(0.6, 0.95), x / rng.uniform(0.6, 0.95))
        r += 0.08 * _field(shape, min(shape) / 7, rng)
        p = p * np.clip((1 - r) * min(shape) / 3, 0, 1)
        if rng.uniform() < 0.3:
            p = np.maximum(p, (np.abs(r - 1) < rng.uniform(0.04, 0.1)) * rng.uniform(0.6, 1.2))
    return p.astype(np.float32), make.__name__.strip("_")


def _field(shape: tuple[int, int], length: float, rng: np.random.Generator) -> Array:
    f = ndi.gaussian_filter(rng.standard_normal(shape), length, mode="wrap")
    return f / f.std()


def _level_sets(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    length = np.exp(rng.uniform(np.log(1.5), np.log(9)))
    f = _field(shape, length, rng)
    if rng.uniform() < 0.5:
        f = f - 0.7 * _field(shape, 2.5 * length, rng)
    return f / f.std() > rng.uniform(-1, 1)


def _contours(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    f = _field(shape, np.exp(rng.uniform(np.log(2.5), np.log(10))), rng)
    slope = np.hypot(*np.gradient(f))
    return np.abs(f - rng.uniform(-0.3, 0.3)) < rng.uniform(0.6, 2.5) * (slope + 0.02)


def _domains(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    length = np.exp(rng.uniform(np.log(2.5), np.log(9)))
    fields = np.sort([_field(shape, length, rng) for _ in range(int(rng.integers(4, 12)))], axis=0)
    return fields[-1] - fields[-2] < rng.uniform(0.1, 0.45)


def _strokes(shape: tuple[int, int], segments: list[tuple[Array, Array]], width: float) -> Array:
    distance = np.full(shape, 1e9)
    for a, b in segments:
        low = np.maximum(np.floor(np.minimum(a, b) - width - 1), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(a, b) + width + 2), shape).astype(int)
        if (low >= high).any():
            continue
        y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
        d = b - a
        t = np.clip(((y - a[0]) * d[0] + (x - a[1]) * d[1]) / max(float(d @ d), 1e-9), 0, 1)
        part = distance[low[0] : high[0], low[1] : high[1]]
        np.minimum(part, np.hypot(y - a[0] - t * d[0], x - a[1] - t * d[1]), out=part)
    return np.clip(width / 2 + 0.5 - distance, 0, 1)


def _scribbles(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    n = int(shape[0] * shape[1] / 1000 * np.exp(rng.uniform(np.log(0.6), np.log(5)))) + 4
    length, segments = rng.uniform(4, 25), []
    for _ in range(n):
        p, t, turn = rng.uniform(0, 1, 2) * shape, rng.uniform(0, 2 * np.pi), rng.normal(0, 0.5)
        for _ in range(int(rng.integers(1, 8))):
            q = p + length * rng.uniform(0.3, 1) * np.array([np.sin(t), np.cos(t)])
            segments.append((p, q))
            p, t = q, t + turn + rng.normal(0, 0.4)
    return _strokes(shape, segments, rng.uniform(1, 4))


def _marks(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Rows of marks from an alphabet that is drawn anew each time: strokes between points of a grid."""
    image, top = np.zeros(shape), rng.uniform(-10, 0)
    upright = rng.uniform() < 0.5
    while top < shape[0]:
        height = np.exp(rng.uniform(np.log(6), np.log(40)))
        width, segments = height * rng.uniform(0.4, 1), []
        left = rng.uniform(-0.2, 0.3) * width
        alphabet = []
        for _ in range(12):
            mark = []
            for _ in range(int(rng.integers(1, 4))):
                a = rng.integers(0, (5, 3))
                b = (
                    np.where(np.arange(2) == rng.integers(2), rng.integers(0, (5, 3)), a)
                    if upright
                    else rng.integers(0, (5, 3))
                )
                mark.append((a, b))
            alphabet.append(mark)
        while left < shape[1]:
            if rng.uniform() < 0.85:
                unit, at = np.array([height / 4, 0.8 * width / 2]), np.array([top, left])
                segments += [(at + a * unit, at + b * unit) for a, b in alphabet[int(rng.integers(12))]]
            left += width * rng.uniform(1, 1.2)
        pen = max(1.0, height * rng.uniform(0.05, 0.14))
        image = np.maximum(image, rng.uniform(0.3, 1) * _strokes(shape, segments, pen))
        top += height * rng.uniform(1.1, 1.8)
    return image


def _confetti(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Discs, squares and stars of about one size."""
    r = np.exp(rng.uniform(np.log(2.5), np.log(12)))
    n, corners = int(shape[0] * shape[1] / r**2 * rng.uniform(0.08, 0.4)), int(rng.choice([0, 2, 3, 4, 6]))
    out = np.zeros(shape)
    for _ in range(n):
        c, s = rng.uniform(0, 1, 2) * shape, r * np.exp(rng.normal(0, 0.25))
        low = np.maximum((c - 1.5 * s - 2).astype(int), 0)
        high = np.minimum((c + 1.5 * s + 2).astype(int), shape)
        y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
        d = np.hypot(y - c[0], x - c[1])
        if corners == 2:
            d = np.maximum(np.abs(y - c[0]), np.abs(x - c[1]))
        elif corners:
            d = d * (1 + 0.25 * np.cos(corners * np.arctan2(y - c[0], x - c[1]) + rng.uniform(0, 7)))
        out[low[0] : high[0], low[1] : high[1]] += d < s
    return out > 0


def _tiling(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    t = rng.uniform(0, np.pi)
    u, v = np.cos(t) * x + np.sin(t) * y, -np.sin(t) * x + np.cos(t) * y
    p = np.exp(rng.uniform(np.log(5), np.log(24)))
    q, kind = p * rng.uniform(0.6, 1.6), int(rng.integers(4))
    if kind == 0:
        return (u // p + v // q) % 2
    if kind == 1:
        return (u % p < p * rng.uniform(0.1, 0.35)) | (v % q < q * rng.uniform(0.1, 0.35))
    if kind == 2:
        return (v % q < 0.18 * q) | ((u + v // q * p) % (2 * p) < 0.2 * p)
    waves = [np.cos(2 * np.pi * w / p) for w in (u, u / 2 + 0.866 * v, u / 2 - 0.866 * v)]
    return sum(waves) > rng.uniform(-1, 1)


def _cut_up(a: Array, rng: np.random.Generator) -> Array:
    b = int(rng.integers(10, 32))
    ny, nx = a.shape[0] // b, a.shape[1] // b
    tiles = np.abs(a)[: ny * b, : nx * b].reshape(ny, b, nx, b).swapaxes(1, 2).reshape(-1, b, b)
    tiles = tiles[rng.permutation(len(tiles))]
    return tiles.reshape(ny, nx, b, b).swapaxes(1, 2).reshape(ny * b, nx * b)


def _edges(a: Array, rng: np.random.Generator) -> Array:
    g = ndi.gaussian_gradient_magnitude(np.abs(a).astype(float), rng.uniform(0.7, 1.5))
    return g > np.percentile(g, rng.uniform(75, 93))


def _wrapped(a: Array, rng: np.random.Generator) -> Array:
    m = ndi.gaussian_filter(np.abs(a).astype(float), 1)
    return m / max(m.max(), 1e-9) * rng.uniform(2.5, 8) % 1


def _sinogram(a: Array, rng: np.random.Generator) -> Array:
    m, span = np.abs(a).astype(np.float32), rng.choice([180, 360])
    angles = np.linspace(0, span, m.shape[0], endpoint=False)
    return np.array([ndi.rotate(m, t, reshape=False, order=1).sum(0) for t in angles])


def _spectrum(a: Array, rng: np.random.Generator) -> Array:
    k = np.abs(np.fft.fftshift(np.fft.fft2(a)))
    k = k / max(k.max(), 1e-12)
    return np.log(k + 1e-4) - np.log(1e-4) if rng.uniform() < 0.6 else k**0.3


MADE = (_level_sets, _contours, _domains, _scribbles, _marks, _confetti, _tiling)
SPOILT = (_cut_up, _edges, _wrapped, _sinogram, _spectrum)
