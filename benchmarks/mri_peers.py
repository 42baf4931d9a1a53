"""Other packages' MRI operators behind one interface, timed in a process (and environment) of their own.

``python -m benchmarks.mri_peers FOLDER`` reads requests from standard input, one JSON object a line, and
answers each with one; `benchmarks.mri_cpu` asks. It needs NumPy and the packages it times, not rayfold.
FOLDER holds ``case.npz``: trajectory (samples, 2) in rad/pixel, maps and coil images (coils, n, n), one image
(n, n), data (coils, samples), and exact values of every operation at some places.

Each package is used as its documentation shows, all coils in one call, plans made beforehand where it can.
Results keep the package's own scale (`Peer.scale` takes them to the orthonormal one, outside the clock).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import clocked, cores, versions

Array = Any
EPS = 1e-6  # of the race that all take part in
PACKAGES = ("numpy", "scipy", "finufft", "torch", "mirtorch", "mrpro", "sigpy", "torchkbnufft", "mri-nufft")
PLACES = {"forward": "rows", "adjoint": "pixels", "gram": "pixels"}  # by the last word of an operation


class Peer(NamedTuple):
    """Calls by the name of the operation, and the factor that makes its forward operator orthonormal."""

    calls: Mapping[str, Callable[[], Any]]
    scale: float = 1.0


def finufft_by_hand(case: Mapping[str, Array], eps: float, *, reuse: bool = False) -> Peer:
    """A plan for all coils, made and sorted once; `reuse` writes into the same array every time."""
    import finufft

    trajectory, images, data = case["trajectory"], case["images"], case["data"]
    coils, shape = len(images), images.shape[1:]
    plans = {}
    for kind, sign in ((2, -1), (1, 1)):
        plan = finufft.Plan(kind, shape, coils, eps, sign, dtype="complex64", upsampfac=2.0, nthreads=cores())
        plan.setpts(*np.ascontiguousarray(trajectory.T))
        plans[kind] = plan
    samples, image = (np.empty_like(data), np.empty_like(images)) if reuse else (None, None)
    return Peer(
        {
            "forward": lambda: plans[2].execute(images, out=samples),
            "adjoint": lambda: plans[1].execute(data, out=image),
        },
        1 / np.sqrt(np.prod(shape)),
    )


def scipy_pair(case: Mapping[str, Array], eps: float) -> Peer:
    """The bare convolution: pad to twice the size, two FFTs, the real kernel between them, crop."""
    import finufft
    from scipy import fft

    trajectory, images, maps, image = (case[name] for name in ("trajectory", "images", "maps", "image"))
    n, m = images.shape[-2:]
    points = np.ascontiguousarray(trajectory.T, np.float64)
    lags = finufft.nufft2d1(*points, np.ones(len(trajectory), complex), (2 * n, 2 * m), eps=1e-12, isign=1)
    lags[0], lags[:, 0] = 0, 0  # no pair of pixels is that far apart
    kernel = (fft.fft2(fft.ifftshift(lags)).real / (n * m)).astype(np.float32)
    workers = cores()

    def convolve(x: Array) -> Array:
        padded = np.zeros((*x.shape[:-2], 2 * n, 2 * m), x.dtype)
        padded[..., :n, :m] = x
        y = fft.fft2(padded, overwrite_x=True, workers=workers)
        y *= kernel
        return fft.ifft2(y, overwrite_x=True, workers=workers)[..., :n, :m]

    return Peer(
        {
            "gram": lambda: convolve(images),
            "sense gram": lambda: (maps.conj() * convolve(maps * image)).sum(0),
        }
    )


def mirtorch(case: Mapping[str, Array], eps: float) -> Peer:
    """MIRTorch: sensitivities are part of its operators, so coil images are no input of theirs."""
    import torch
    from mirtorch.linear import NuSense, NuSenseGram

    maps, image, data = (torch.from_numpy(case[name]) for name in ("maps", "image", "data"))
    trajectory = torch.from_numpy(np.ascontiguousarray(case["trajectory"].T))
    A = NuSense(maps, trajectory, batchmode=False, backend="finufft", eps=eps)
    gram = NuSenseGram(maps, trajectory, batchmode=False, backend="finufft", eps=eps)
    calls = {
        "sense forward": lambda: A * image,
        "sense adjoint": lambda: A.H * data,
        "sense gram": lambda: gram * image,
    }
    return Peer(_without_graph(calls), 2.0)  # it divides by the root of the doubled grid's size


def mrpro(case: Mapping[str, Array], eps: float) -> Peer:
    """MRpro: eps is pytorch-finufft's 1e-6."""
    _fixed(eps)
    import torch

    # torchvision from the registry wants these two names to exist beside a CPU build of torch; never called
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from mrpro.data import KTrajectory, SpatialDimension
    from mrpro.operators import NonUniformFastFourierOp, SensitivityOp

    n, m = case["image"].shape
    ky, kx = (
        torch.from_numpy((k * np.float32(size / (2 * np.pi)))[None, None, None, None])
        for k, size in zip(case["trajectory"].T, (n, m), strict=True)
    )
    points = KTrajectory(torch.zeros(1, 1, 1, 1, 1), ky, kx, repeat_detection_tolerance=None)
    size = SpatialDimension(1, n, m)
    F = NonUniformFastFourierOp(("y", "x"), size, size, points)
    images, maps = (torch.from_numpy(case[name][None, :, None]) for name in ("images", "maps"))
    image = torch.from_numpy(case["image"][None, None, None])
    data = torch.from_numpy(case["data"][None, :, None, None])
    S = SensitivityOp(maps)
    A, gram = F @ S, F.gram
    normal = S.H @ gram @ S
    calls = {
        "forward": lambda: F(images)[0],
        "adjoint": lambda: F.H(data)[0],
        "gram": lambda: gram(images)[0],
        "sense forward": lambda: A(image)[0],
        "sense adjoint": lambda: A.H(data)[0],
        "sense gram": lambda: normal(image)[0],
    }
    return Peer(_without_graph(calls))


def _sigpy(case: Mapping[str, Array], eps: float, oversampling: float, width: float) -> Peer:
    _fixed(eps)
    import sigpy

    images, maps, image, data = (case[name] for name in ("images", "maps", "image", "data"))
    n, m = image.shape
    coord = case["trajectory"] * np.float32([n, m]) / np.float32(2 * np.pi)
    F = sigpy.linop.NUFFT(images.shape, coord, oversampling, width)
    psf = sigpy.fourier.toeplitz_psf(coord, image.shape, oversampling, width)
    axes = (-2, -1)
    R = sigpy.linop.Resize((len(images), *psf.shape), images.shape)
    P = sigpy.linop.FFT(R.oshape, axes=axes)
    T = (
        R.H * P.H * sigpy.linop.Multiply(P.oshape, psf) * P * R
    )  # its normal operator, one kernel for all coils
    S = sigpy.linop.Multiply(image.shape, maps)
    A, normal = F * S, S.H * T * S
    return Peer(
        {
            "forward": lambda: F(images),
            "adjoint": lambda: F.H(data),
            "gram": lambda: T(images),
            "sense forward": lambda: A(image),
            "sense adjoint": lambda: A.H(data),
            "sense gram": lambda: normal(image),
        }
    )


def sigpy_default(case: Mapping[str, Array], eps: float) -> Peer:
    """SigPy as it comes: oversampling 1.25, width 4."""
    return _sigpy(case, eps, 1.25, 4)


def sigpy_wide(case: Mapping[str, Array], eps: float) -> Peer:
    """SigPy with oversampling 2 and width 6, near 1e-5."""
    return _sigpy(case, eps, 2.0, 6)


def torchkbnufft(case: Mapping[str, Array], eps: float) -> Peer:
    """Its default table; `ToepNufft` for the gram."""
    _fixed(eps)
    import torch
    import torchkbnufft as tkbn

    images, data, image, maps = (
        torch.from_numpy(case[name])[None] for name in ("images", "data", "image", "maps")
    )
    image = image[None]
    trajectory = torch.from_numpy(np.ascontiguousarray(case["trajectory"].T))
    size = tuple(images.shape[-2:])
    forward, adjoint, toeplitz = tkbn.KbNufft(size), tkbn.KbNufftAdjoint(size), tkbn.ToepNufft()
    kernel = tkbn.calc_toeplitz_kernel(trajectory, size, norm="ortho")
    calls = {
        "forward": lambda: forward(images, trajectory, norm="ortho"),
        "adjoint": lambda: adjoint(data, trajectory, norm="ortho"),
        "gram": lambda: toeplitz(images, kernel, norm="ortho"),
        "sense forward": lambda: forward(image, trajectory, smaps=maps, norm="ortho"),
        "sense adjoint": lambda: adjoint(data, trajectory, smaps=maps, norm="ortho"),
        "sense gram": lambda: toeplitz(image, kernel, smaps=maps, norm="ortho"),
    }
    return Peer(_without_graph(calls), 2.0)  # as MIRTorch


def mri_nufft(case: Mapping[str, Array], eps: float) -> Peer:
    """mri-nufft with finufft, all coils in one transform; its gram is forward and adjoint."""
    import mrinufft

    images, maps, image, data = (case[name] for name in ("images", "maps", "image", "data"))
    make = mrinufft.get_operator("finufft")
    options = {"n_coils": len(images), "n_trans": len(images), "eps": eps, "upsampfac": 2.0}
    F = make(case["trajectory"], image.shape, **options)
    A = make(case["trajectory"], image.shape, smaps=maps, **options)
    return Peer(
        {
            "forward": lambda: F.op(images),
            "adjoint": lambda: F.adj_op(data),
            "gram": lambda: F.adj_op(F.op(images)),
            "sense forward": lambda: A.op(image),
            "sense adjoint": lambda: A.adj_op(data),
            "sense gram": lambda: A.adj_op(A.op(image)),
        },
        2.0,
    )


PEERS: dict[str, Callable[[Mapping[str, Array], float], Peer]] = {
    "MIRTorch": mirtorch,
    "MRpro": mrpro,
    "SigPy, default": sigpy_default,
    "SigPy, oversampling 2, width 6": sigpy_wide,
    "torchkbnufft": torchkbnufft,
    "mri-nufft": mri_nufft,
}


def _fixed(eps: float) -> None:
    if eps != EPS:
        raise LookupError("its eps cannot be chosen")


def _without_graph(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """The calls under ``torch.no_grad``."""
    import torch

    return {name: torch.no_grad()(call) for name, call in calls.items()}


def first(case: Mapping[str, Array], peer: Peer, operation: str) -> dict[str, float]:
    """Seconds of one call, and how far its result is from the exact values at some places, relative."""
    kind = operation.split()[-1]
    places = case[PLACES[kind]]
    scale = peer.scale**2 if kind == "gram" else peer.scale
    begin = time.perf_counter()
    result = peer.calls[operation]()
    seconds = time.perf_counter() - begin
    exact = case[f"exact {operation}"]
    coils = exact.shape[0] if exact.ndim == 2 else 1
    found = np.asarray(result).reshape(coils, -1)[:, places].reshape(exact.shape).astype(complex) * scale
    return {
        "seconds": seconds,
        "error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact)),
    }


def answer(request: dict[str, Any], case: Mapping[str, Array], peers: dict[str, Peer]) -> dict[str, Any]:
    """Reply to one request: make a peer, time a call, or time its first and measure the error."""
    if request["do"] == "versions":
        return versions(PACKAGES)
    name = request["peer"]
    if request["do"] == "make":
        begin = time.perf_counter()
        try:
            peers[name] = PEERS[name](case, request["eps"])
            return {"operations": list(peers[name].calls), "seconds": time.perf_counter() - begin}
        except (ImportError, LookupError) as problem:
            return {"missing": str(problem).splitlines()[0]}
    operation = request["operation"]
    if request["do"] == "time":
        return {"seconds": clocked(peers[name].calls[operation])()}
    return first(case, peers[name], operation)


def main() -> None:
    warnings.simplefilter("ignore")  # of the packages: here they only fill the page
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a package prints is no answer
        case = dict(np.load(Path(sys.argv[1]) / "case.npz"))
        peers: dict[str, Peer] = {}
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), case, peers)), file=out, flush=True)


if __name__ == "__main__":
    main()
