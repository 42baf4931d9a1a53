"""The `ellipses` test bed of the dival library (Leuschner et al., 2019) in rayfold's geometry.

Phantoms, noise and their random streams are those of dival, so that numbers compare with published ones:
images of 128 x 128 pixels in ODL's convention are turned to ``(y, x)`` here, brought to 400 x 400 by linear
interpolation against the inverse crime, and projected along 30 parallel views with 183 bins; white noise has
2.5 % of the mean of the projections as its standard deviation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

from rayfold.operators import LinearOperator, ParallelBeam, Volume, XRay, fbp_operator  # noqa: E402

Part = Literal["train", "validation", "test"]
SIZE, FINE, VIEWS, MOST = 128, 400, 30, 70
LENGTHS: dict[Part, int] = {"train": 32000, "validation": 3200, "test": 3200}
PHANTOM_SEEDS: dict[Part, int] = {"train": 42, "validation": 2, "test": 1}
NOISE_SEEDS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}
NOISE = 0.025
FBP_WINDOW, FBP_CUTOFF = "hann", 0.7051282051282051  # what dival's own search found on validation images
Array = Any


@cache
def beam() -> ParallelBeam:
    """30 views at the middles of 30 equal parts of pi; the bins cover the diagonal."""
    radius = np.hypot(SIZE, SIZE) / 2
    bins = 2 * int(np.ceil(radius)) + 1
    return ParallelBeam.evenly(VIEWS, bins, start=np.pi / (2 * VIEWS), pitch=2 * radius / bins)


def volume(n: int = SIZE) -> Volume:
    """The square of 128 mm on n x n pixels."""
    return Volume((n, n), SIZE / n)


def operator() -> XRay:
    """What reconstructs: the transform on the 128 x 128 grid."""
    return XRay(volume(), beam())


def fbp() -> LinearOperator:
    """Filtered back-projection with the published window."""
    return fbp_operator(volume(), beam(), window=FBP_WINDOW, cutoff=FBP_CUTOFF)[0]


@cache
def upsampling(n: int = SIZE, fine: int = FINE) -> Array:
    """Matrix ``(fine, n)`` of linear interpolation between pixel middles, mirrored at the border."""
    at = (np.arange(fine) + 0.5) * (n / fine) - 0.5
    low = np.floor(at).astype(int)
    weights = np.zeros((fine, n))
    for index, share in ((low, 1 - (at - low)), (low + 1, at - low)):
        mirrored = np.where(index < 0, -index, np.where(index > n - 1, 2 * (n - 1) - index, index))
        np.add.at(weights, (np.arange(fine), mirrored), share)
    return weights


def phantom(stream: np.random.RandomState) -> Array:
    """Next image of a stream, ``(128, 128)`` float32 in 0 .. 1; up to 70 ellipses, Poisson(40) of them."""
    value = stream.uniform(-0.4, 1.0, MOST)
    a = 0.2 * stream.exponential(1.0, MOST)
    b = 0.2 * stream.exponential(1.0, MOST)
    x, y = stream.uniform(-0.9, 0.9, MOST), stream.uniform(-0.9, 0.9, MOST)
    angle = stream.uniform(0.0, 2 * np.pi, MOST)
    n = min(stream.poisson(40), MOST)
    image = np.zeros((SIZE, SIZE), np.float32)
    middles = np.arange(SIZE) - (SIZE - 1) / 2
    points = middles / middles[-1]  # the middles of the outermost pixels are at -1 and 1
    for k in range(n):
        c, s = np.cos(angle[k]), np.sin(angle[k])
        square = np.array([a[k] ** 2, b[k] ** 2])
        # ODL paints inside a box that cuts the tips off some long ellipses; so does this, to match it
        reach = np.sqrt(np.abs([[c, s], [-s, c]]) @ square) / 2 * SIZE
        centre = (np.array([x[k], y[k]]) + 1) / 2 * SIZE
        first = np.maximum(np.floor(centre - reach), 0).astype(int)
        last = np.ceil(centre + reach).astype(int)
        rows, cols = slice(first[0], last[0]), slice(first[1], last[1])
        dx, dy = points[rows, None] - x[k], points[None, cols] - y[k]
        along, across = c * dx + s * dy, -s * dx + c * dy
        inside = along**2 * (1 / square[0]) + across**2 * (1 / square[1]) <= 1
        image[rows, cols][inside] += value[k]
    image[image != 0] -= image.min()
    image /= image.max()
    return np.ascontiguousarray(image.T)  # ODL's first axis is x


def images(part: Part) -> Iterator[Array]:
    """All images of a part in their order."""
    stream = np.random.RandomState(PHANTOM_SEEDS[part])
    for _ in range(LENGTHS[part]):
        yield phantom(stream)


def projections(images: Array) -> Array:
    """Data without noise, (n, 30, 183), of images ``(n, 128, 128)``."""
    up = upsampling().astype(np.float32)
    return XRay(volume(FINE), beam())(up @ images @ up.T)


def pairs(part: Part, *, block: int = 50) -> Iterator[tuple[Array, Array]]:
    """Blocks ``(data, images)`` of a part in their order, float32."""
    stream, source = np.random.RandomState(NOISE_SEEDS[part]), images(part)
    for start in range(0, LENGTHS[part], block):
        truth = np.stack([next(source) for _ in range(min(block, LENGTHS[part] - start))])
        data = projections(truth)
        for one in data:
            one += stream.normal(0.0, NOISE * np.abs(one).mean(), one.shape)
        yield data, truth


def psnr(image: Array, truth: Array) -> Array:
    """Peak signal-to-noise ratio in dB, one per image, the peak being the range of each true image."""
    axes = (-2, -1)
    error = ((image.astype(np.float64) - truth) ** 2).mean(axes)
    peak = truth.max(axes).astype(np.float64) - truth.min(axes)
    return 20 * np.log10(peak) - 10 * np.log10(error)


def prepare(folder: Path, part: Part, n: int) -> None:
    """Write the first `n` pairs of a part to ``part-data.npy`` and ``part-images.npy``, growing as they come.

    The arrays have their full length from the start; ``part-count.txt`` says how many pairs are in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"data": (n, *beam().shape), "images": (n, SIZE, SIZE)}
    kept = {
        name: np.lib.format.open_memmap(folder / f"{part}-{name}.npy", "w+", np.float32, shape)
        for name, shape in shapes.items()
    }
    done = 0
    for data, truth in pairs(part):
        take = min(len(data), n - done)
        kept["data"][done : done + take], kept["images"][done : done + take] = data[:take], truth[:take]
        done += take
        (folder / f"{part}-count.txt").write_text(str(done))
        if done == n:
            return


def prepared(folder: Path, part: Part) -> tuple[Array, Array]:
    """The pairs written so far by `prepare`, as memory-mapped ``(data, images)``."""
    n = int((folder / f"{part}-count.txt").read_text())
    return tuple(np.load(folder / f"{part}-{name}.npy", mmap_mode="r")[:n] for name in ("data", "images"))


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))  # type: ignore[arg-type]
