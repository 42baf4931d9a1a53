"""SigPy's side of the brain benchmark: its own apps, stopped after every iteration to look at the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.mri_brain_search import QUICK, Method, Setting, Side, Task, Told

Array = Any
STEPS = {"cg": 30, "first order": 40, "tv": 200}


def maps(task: Task, setting: Setting) -> tuple[Array, Array]:
    """ESPIRiT before cropping."""
    import sigpy.mri as mr

    found, values = mr.app.EspiritCalib(
        task.calibration,
        calib_width=setting["calib_width"],
        kernel_width=setting["kernel_width"],
        thresh=setting["thresh"],
        crop=0,
        output_eigenvalue=True,
        show_pbar=False,
    ).run()
    return found.astype(np.complex64), abs(values)


def cut(found: Array, values: Array, setting: Setting) -> Array:
    """What its option `crop` does."""
    return found * (values > setting["crop"])


def zero_filled(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """Adjoint of its SENSE operator."""
    import sigpy.mri as mr

    told(0, mr.linop.Sense(sensitivities).H(task.kspace))


def _stepped(app: Any, told: Told) -> None:
    while not app.alg.done():
        app.alg.update()
        told(app.alg.iter, app.x)


def sense(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """CG-SENSE."""
    import sigpy.mri as mr

    lamda, n = setting["lamda"], setting.get("steps", STEPS["cg"])
    _stepped(mr.app.SenseRecon(task.kspace, sensitivities, lamda=lamda, max_iter=n, show_pbar=False), told)


def wavelet(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """L1-wavelet by its accelerated gradient method."""
    import sigpy.mri as mr

    app = mr.app.L1WaveletRecon(
        task.kspace,
        sensitivities,
        setting["lamda"],
        wave_name=setting["wave_name"],
        max_iter=STEPS["first order"],
        show_pbar=False,
    )
    _stepped(app, told)


def total_variation(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """Its (anisotropic) total variation by PDHG."""
    import sigpy.mri as mr

    lamda, n = setting["lamda"], STEPS["tv"]
    app = mr.app.TotalVariationRecon(task.kspace, sensitivities, lamda, max_iter=n, show_pbar=False)
    _stepped(app, told)


STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.8, 1.6)  # of whitened data: noise 1 per part
WAVELETS = ("db4", "haar", "db2", "sym4", "sym8")
METHODS = {
    QUICK: Method(sense, {}, {"lamda": 0, "steps": 8}),
    "zero-filled": Method(zero_filled, {}, {}),
    "CG-SENSE": Method(sense, {"lamda": (0, 0.003, 0.01, 0.02, 0.05, 0.1)}, {"lamda": 0}),
    "L1-wavelet": Method(
        wavelet, {"lamda": STRENGTHS, "wave_name": WAVELETS}, {"lamda": 0.4, "wave_name": "db4"}
    ),
    "TV": Method(total_variation, {"lamda": STRENGTHS}, {"lamda": 0.4}),
}


def side(*, full: bool) -> Side:
    """SigPy, with maps from few lines or from all."""
    few = {"calib_width": (8, 10, 12, 16), "kernel_width": (3, 4, 5, 6), "thresh": (0.003, 0.01, 0.02, 0.05)}
    all_lines = {"calib_width": (24, 32), "kernel_width": (5, 6, 8), "thresh": (0.003, 0.01, 0.02, 0.05)}
    more = {"calib_width": (24, 32, 40, 48), "kernel_width": (5, 6, 8, 10)} if full else {}
    return Side(
        "sigpy",
        maps,
        cut,
        all_lines if full else few,
        {"crop": (0, 0.7, 0.8, 0.9, 0.95)},
        {
            "crop": (0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97),
            "thresh": (0.002, 0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.03, 0.05),
            **more,
        },
        {"calib_width": 24, "kernel_width": 6, "thresh": 0.02, "crop": 0.95},
        METHODS,
    )
