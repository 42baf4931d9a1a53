"""Filtered back-projection on a device: the kernels against their twins, the operator against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from tests.cuda_on_cpu.cases import CASES, TOLERANCE, plan, problem, relative

from rayfold.kernels import backproject
from rayfold.operators import FanBeam, ParallelBeam, Volume, XRay
from rayfold.operators.fbp import fbp_operator

VOLUME = Volume((96, 120), (0.9, 0.7))
SCANS = {
    "parallel": ParallelBeam.evenly(180, 150, pitch=0.8),
    "fan": FanBeam.evenly(180, 200, pitch=1.2, source_to_axis=200.0, source_to_detector=350.0),
    "offset": FanBeam.evenly(
        180, 130, pitch=1.2, source_to_axis=200.0, source_to_detector=350.0, detector_offset=45.0
    ),
    "curved": FanBeam.evenly(
        180, 200, pitch=1.2, source_to_axis=200.0, source_to_detector=350.0, curved=True
    ),
}


def views_of(case, dtype):
    """The arrays a kernel call takes beside image and views; weights of about one."""
    coef, _, _, fan_step = plan(*CASES[case], dtype)
    scale = np.random.default_rng(7).uniform(0.5, 1.5, len(coef)) * coef[:, 1] ** 2
    return coef, scale.astype(dtype), fan_step


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_kernels_agree_with_the_numba_twin(cupy, case, dtype, batch):
    x, y, _ = problem(case, dtype, batch)
    coef, scale, fan_step = views_of(case, dtype)
    device = (cupy.asarray(coef), cupy.asarray(scale), fan_step)
    for name, a, b in (("gather", y, x), ("splat", x, y)):
        ours, twin = cupy.full(b.shape, np.nan, dtype), np.empty_like(b)
        getattr(backproject, name)(cupy.asarray(a), ours, *device)
        getattr(backproject, name)(a, twin, coef, scale, fan_step)
        assert relative(ours.get(), twin) < TOLERANCE[dtype], name


@pytest.mark.parametrize("case", ["parallel", "fan flat", "fan curved"])
def test_splat_is_the_transpose_bit_for_bit(cupy, case):
    """Entries of the matrix from unit inputs: the compiler must round alike in both kernels."""
    volume, beam = CASES[case]
    coef, scale, fan_step = views_of(case, "float32")
    device = (cupy.asarray(coef), cupy.asarray(scale), fan_step)
    some = np.random.default_rng(0).choice(volume.shape[0] * volume.shape[1], 64, replace=False)
    units = cupy.zeros((64, *volume.shape), "f4")
    units.reshape(64, -1)[cupy.arange(64), cupy.asarray(some)] = 1
    rows = cupy.empty((64, *beam.shape), "f4")
    backproject.splat(units, rows, *device)
    n = beam.shape[0] * beam.shape[1]
    bins = cupy.eye(n, dtype="f4").reshape(n, *beam.shape)
    columns = cupy.empty((n, *volume.shape), "f4")
    backproject.gather(bins, columns, *device)
    assert bool((rows.reshape(64, n) == columns.reshape(n, -1)[:, cupy.asarray(some)].T).all())


def test_bit_equal_twice(cupy):
    x, y, _ = problem("fan curved", "float32", 3)
    coef, scale, fan_step = views_of("fan curved", "float32")
    device = (cupy.asarray(coef), cupy.asarray(scale), fan_step)
    for name, a, b in (("gather", y, x), ("splat", x, y)):
        first, second = (cupy.empty(b.shape, "f4") for _ in range(2))
        for out in (first, second):
            getattr(backproject, name)(cupy.asarray(a), out, *device)
        assert bool((first == second).all())


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scan", SCANS)
def test_operator_equals_numpy(cupy, scan, dtype, batch):
    """On projections of an image: on white noise positions rounded in float32 alone cost 1e-5."""
    beam = SCANS[scan]
    fbp, _ = fbp_operator(VOLUME, beam)
    x = np.random.default_rng(0).random((*batch, *VOLUME.shape)).astype(dtype)
    y = XRay(VOLUME, beam)(x)
    image, back = fbp(cupy.asarray(y)), fbp.H(cupy.asarray(x))
    assert isinstance(image, cupy.ndarray) and image.dtype == dtype and back.dtype == dtype
    assert relative(image.get(), fbp(y)) < {"float32": 1e-5, "float64": 1e-11}[dtype]
    # the ramp comes last here and amplifies that rounding; the dot test does not feel it
    assert relative(back.get(), fbp.H(x)) < {"float32": 1e-4, "float64": 1e-11}[dtype]
    left, right = (float(np.vdot(a.get().astype("f8"), b)) for a, b in ((image, x), (back, y)))
    assert abs(left - right) < TOLERANCE[dtype] * abs(left)


@pytest.mark.parametrize("scan", ["fan", "curved"])
def test_operator_on_torch_tensors(cupy, scan):
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    fbp, _ = fbp_operator(VOLUME, SCANS[scan])
    projections = XRay(VOLUME, SCANS[scan])(torch.rand(3, *VOLUME.shape, device="cuda"))
    y = projections.requires_grad_()
    x = fbp(y)
    assert x.is_cuda and relative(x.detach().cpu().numpy(), fbp(y.detach().cpu().numpy())) < 1e-5
    (x * x).sum().backward()
    assert relative(y.grad.cpu().numpy(), (2 * fbp.H(x.detach())).cpu().numpy()) < 1e-5
