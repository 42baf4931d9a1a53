"""What an image looks like in a hundred numbers: spectrum, edges, ridges, corners, greys, and pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
LARGEST = 512  # longer sides are halved until they fit
SMALLEST = 32  # pixels; smaller images say too little
LEVELS = 4
NOISE = (0.889, 0.2)  # standard deviation of white noise in the two finest details


def looks(x: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """Features of one image ``(ny, nx)``, of its magnitude: the same for every unit, sign and phase.

    Parameters
    ----------
    x : ndarray, (ny, nx)
        Real or complex.

    Returns
    -------
    ndarray, (n,) or None
        None for images that are constant, not finite, or shorter than 32 pixels.

    References
    ----------
    J.-L. Starck, F. Murtagh and A. Bijaoui, Image Processing and Data Analysis (1998), wavelets with holes;
    J. Bigun and G. H. Granlund, ICCV 1987, the structure tensor; N. Otsu, IEEE Trans. SMC 9 (1979) 62.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> bool(np.allclose(looks(image), looks(-3e-5j * image), atol=1e-3))
    True
    """
    m = _prepared(x)
    if m is None:
        return None
    found: list[float] = []
    clean = _details(m, found)
    _shapes(clean, found)
    _greys(clean, found)
    return np.nan_to_num(np.array(found, np.float64), nan=0.0, posinf=20.0, neginf=-20.0)


def _prepared(x: npt.NDArray[Any]) -> Floats | None:
    """Magnitude over its bright parts, at most 512 pixels wide."""
    m = np.abs(np.asarray(x))
    if min(m.shape) < SMALLEST or not np.isfinite(m).all():
        return None
    largest = float(m.max())
    if not largest > 0:
        return None
    m = (m / largest).astype(np.float32)
    while max(m.shape) > LARGEST and min(m.shape) >= 2 * SMALLEST:
        m = m[: m.shape[0] // 2 * 2, : m.shape[1] // 2 * 2]
        m = (m[::2, ::2] + m[1::2, ::2] + m[::2, 1::2] + m[1::2, 1::2]) / 4
    k = max(1, m.size // 200)
    top = float(np.partition(m.ravel(), -k)[-k])
    if not top > 0 or float(m.std()) < 1e-6 * top:
        return None
    return np.asarray(np.minimum(m / np.float32(top), np.float32(1.5)), np.float32)


def _smooth(a: Floats, step: int = 1) -> Floats:
    """Cubic B-spline kernel, with holes; mirrored at the borders."""
    for axis in (0, 1):
        n = a.shape[axis]
        pad = [(0, 0), (0, 0)]
        pad[axis] = (2 * step, 2 * step)
        p = np.pad(a, pad, mode="symmetric" if 2 * step <= n else "edge")
        v = [p[k * step : k * step + n] if axis == 0 else p[:, k * step : k * step + n] for k in range(5)]
        a = np.float32(0.0625) * (v[0] + v[4]) + np.float32(0.25) * (v[1] + v[3]) + np.float32(0.375) * v[2]
    return a


def _details(m: Floats, found: list[float]) -> Floats:
    """Energy, sparsity, sign and neighbours of details by octave; returns the image with noise cut off."""
    var = float(m.var()) + 1e-12
    first = _smooth(m)
    second = _smooth(first, 2)
    fine = [m - first, first - second]
    noise = float(np.median(np.abs(fine[0]))) / (0.6745 * NOISE[0])
    clean = second
    for d, gain in zip(reversed(fine), reversed(NOISE), strict=True):
        clean = clean + np.where(np.abs(d) > 3 * noise * gain, d, np.float32(0))
    found += [np.log(noise + 1e-3), np.log(var) / 2, float(m.mean())]
    coarse = second[::2, ::2]
    before: Floats | None = None
    for j in range(LEVELS + 1):
        if j < 2:
            d = fine[j]
        else:
            low = _smooth(coarse)
            d, coarse = coarse - low, low[::2, ::2]
        a = np.abs(d)
        e = float(np.mean(d * d)) + 1e-12
        found += [np.log(e / var), 2 * np.log(float(a.mean()) + 1e-9) - np.log(e), float(np.mean(d * a)) / e]
        if before is not None:
            near = before[::2, ::2][: a.shape[0], : a.shape[1]] if j >= 2 else before
            other = np.abs(near)
            size = np.sqrt(e * (float(np.mean(other * other)) + 1e-12))
            found += [float(np.mean(a * other)) / size, float(np.mean(d * near)) / size]
        before = d
    found.append(np.log(float(coarse.var()) / var + 1e-3))
    return clean


def _shapes(clean: Floats, found: list[float]) -> None:
    """Directions, sharpness, curvature, ridges and corners on every level of a pyramid."""
    c = _smooth(clean)
    for j in range(LEVELS):
        if j:
            c = _smooth(c)[::2, ::2]
        gy, gx = _gradient(c)
        yy, xx = gy * gy, gx * gx
        g2 = yy + xx
        g = np.sqrt(g2)
        total, mean2, mean = float(g2.sum()) + 1e-12, float(g2.mean()) + 1e-12, float(g.mean())
        even, odd = xx - yy, 2 * gx * gy
        four = (even * even - odd * odd) / (g2 + 1e-9), 2 * even * odd / (g2 + 1e-9)
        found += [
            np.hypot(float(even.sum()), float(odd.sum())) / total,
            np.hypot(float(four[0].sum()), float(four[1].sum())) / total,
            2 * np.log(mean + 1e-9) - np.log(mean2),
            np.log(mean + 1e-4),
        ]
        floor = np.float32(0.05 * np.sqrt(mean2) + 1e-6)
        bend = _gradient(gy / (g + floor), 0) + _gradient(gx / (g + floor), 1)
        signed = float(np.mean(bend * g)) / (mean + 1e-9)
        size = float(np.mean(np.abs(bend) * g)) / (mean + 1e-9)
        found += [signed, np.log(size + 1e-3), signed / (size + 1e-3)]
        hyy, hxx, hxy = _gradient(gy, 0), _gradient(gx, 1), _gradient(gx, 0)
        trace = hxx + hyy
        t2 = float(np.mean(trace * trace)) + 1e-12
        split = float(np.mean((hxx - hyy) ** 2 + 4 * hxy**2))
        found += [
            np.log(split / t2 + 1e-3),
            float(np.mean(trace * np.abs(trace))) / t2,
            np.log(t2 / mean2 + 1e-4),
        ]
        for wide in (1, 2):
            t, u, v = (_smooth(q, wide) for q in (g2, even, odd))
            found.append(float(np.sum(np.hypot(u, v) * t / (t + np.float32(1e-3 * mean2)))) / total)


def _gradient(a: Floats, axis: int | None = None) -> Any:
    """Half differences of the neighbours; 0 at the borders."""
    if axis is None:
        return _gradient(a, 0), _gradient(a, 1)
    out = np.zeros_like(a)
    if axis == 0:
        out[1:-1] = (a[2:] - a[:-2]) * np.float32(0.5)
    else:
        out[:, 1:-1] = (a[:, 2:] - a[:, :-2]) * np.float32(0.5)
    return out


def _greys(clean: Floats, found: list[float]) -> None:
    """Histogram, and the pieces above and below two thresholds."""
    c = _smooth(clean)
    h = np.bincount(np.clip(c.ravel() * np.float32(40), 0, 47).astype(np.intp), minlength=48) / c.size
    some = h[h > 0]
    top = np.sort(h)[::-1]
    found += [-float((some * np.log(some)).sum()), float(top[0]), float(top[:2].sum()), float(top[:5].sum())]
    cumulative = np.cumsum(h)
    found += [float(np.searchsorted(cumulative, q)) / 40 for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    found.append(float(h[:2].sum()))
    whole, sharp = _otsu(h)
    body = np.where(np.arange(48) < 2, 0, h)
    inside, sharper = _otsu(body) if body.sum() > 0.02 else (whole, sharp)
    found += [sharp, sharper, (whole + 1) / 40]
    for threshold in (whole, inside):
        _pieces(c > np.float32((threshold + 1) / 40), found)


def _otsu(h: npt.NDArray[Any]) -> tuple[int, float]:
    """Bin that parts a histogram best, and the share of its variance that the two means explain."""
    p = h / max(float(h.sum()), 1e-12)
    w, m = np.cumsum(p), np.cumsum(p * np.arange(len(p)))
    between = np.where((w > 1e-9) & (w < 1 - 1e-9), (m[-1] * w - m) ** 2 / np.maximum(w * (1 - w), 1e-12), 0)
    k = int(np.argmax(between))
    variance = float((p * (np.arange(len(p)) - m[-1]) ** 2).sum())
    return k, float(between[k]) / max(variance, 1e-9)


def _pieces(mask: npt.NDArray[np.bool_], found: list[float]) -> None:
    """Border, number, width and sizes of the connected pieces of a mask and of what is around it."""
    from scipy import ndimage

    area = mask.size
    border = int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())
    found += [float(mask.mean()), float(np.log(border / area + 1e-3))]
    for part in (mask, ~mask):
        labels, _ = ndimage.label(part)
        sizes = np.bincount(labels.ravel())[1:]
        sizes = sizes[sizes >= 8]
        n, total = len(sizes), float(sizes.sum())
        found += [np.log((n + 1) / area * 1e4), np.log((total + 1) / (border + 4))]
        logs = np.log(sizes) if n else np.zeros(1)
        found += [float(sizes.max()) / total if n else 0.0, float(np.median(logs)), float(logs.std())]
