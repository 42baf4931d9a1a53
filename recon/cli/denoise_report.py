"""What `rayfold denoise` shows: before, after, what was taken away, and the noise that was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.data import Image

SHOWN = 40  # slices in the table


def report(
    folder: Path,
    name: str,
    before: Image,
    after: Image,
    noise: Any,
    record: dict[str, Any],
    *,
    window: Any = None,
) -> None:
    """Write preview.png and report.html.

    Parameters
    ----------
    folder : Path
        Where to.
    name : str
        File name of what was denoised.
    before, after : Image
        As read and as written.
    noise : NoiseEstimate
        What the prior was told, but for the strength.
    record : dict
        Provenance, with "removed" as `removed_by` gives it.
    window : str or (low, high), optional
        Values shown black and white.
    """
    from rayfold.recon import plot
    from rayfold.recon.before_after import before_after
    from rayfold.recon.panels import png
    from rayfold.recon.report import write_report

    removed, settings = record["removed"], record["configuration"]
    whole = before_after(before, after, window=window)
    (folder / "preview.png").write_bytes(png(whole))
    figures = {
        "Before and after": whole,
        "The middle, enlarged": before_after(before, after, window=window, zoom=3),
    }
    if noise.map is not None:
        chart = Image(noise.map, before.spacing[-2:], unit="a.u.")
        ends = (float(noise.map.min()), float(noise.map.max()))
        figures["Relative level of the noise"] = plot.image(chart, window=ends)
    by_slice = [{"slice": i + 1, "removed": v} for i, v in enumerate(removed["by_slice"][:SHOWN])]
    write_report(
        folder / "report.html",
        title=f"Noise removed from {name}",
        images=figures,
        tables=[
            ("Noise by octave of frequency", _octaves(noise, removed)),
            ("Root mean square of what was removed", by_slice),
        ],
        facts={
            "Noise": f"{noise.sigma:.4g} {after.unit}",
            "Kind": "Rician magnitude" if noise.kind == "rician" else "Gaussian",
            "Where": _where(noise),
            "Strength": settings["strength"],
            "Prior": settings["size"],
            "Size": " x ".join(map(str, after.shape)),
            "Unit": after.unit,
        },
        provenance=record,
    )


def _where(noise: Any) -> str:
    parts = [(noise.map, "over the image"), (noise.along, "along the slices")]
    varies = " and ".join(words for values, words in parts if values is not None)
    return f"varies {varies}" if varies else "the same everywhere"


def removed_by(before: Image, after: Image) -> dict[str, Any]:
    """Root mean square of what was taken away, in all, by octave and by slice."""
    difference = before.array - after.array
    planes = difference.reshape(-1, *difference.shape[-2:])
    by_slice = np.sqrt((np.abs(planes) ** 2).mean((-2, -1)))
    middle = planes[len(planes) // 2]
    return {
        "rms": float(np.sqrt((by_slice**2).mean())),
        "by_slice": [float(v) for v in by_slice],
        "octaves": _octaves_of(middle),
    }


def _octaves_of(plane: Any) -> list[float]:
    from rayfold.recon.noise_level.spectrum import octaves

    power = np.abs(np.fft.fft2(plane)) ** 2 / plane.size
    return [float(np.sqrt(power[mask].mean())) if mask.any() else 0.0 for mask in octaves(plane.shape)]


def _octaves(noise: Any, removed: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("1/2 and above", "1/4 to 1/2", "1/8 to 1/4", "below 1/8")
    rows = zip(names, noise.levels, removed["octaves"], strict=True)
    return [{"of Nyquist": name, "noise": float(a), "removed, middle slice": b} for name, a, b in rows]
