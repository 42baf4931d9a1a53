"""`rayfold denoise`: an image or a DICOM series in, the same without its noise out, and a report."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.view import parse_window
from rayfold.recon.data import Image
from rayfold.recon.errors import UnreadableInput

COMMON = ("preview.png", "provenance.json", "report.html")
KEPT = (".nii", ".nii.gz", ".tif", ".tiff", ".h5", ".hdf5", ".npy")


@dataclass(frozen=True)
class Given:
    """What was read: the image, the DICOM series it came as if it did, and the file that is written."""

    image: Image
    series: Any
    name: str


def command(args: argparse.Namespace) -> None:
    """Denoise one image or series."""
    _check(args)
    source = Path(args.file)
    target = Path(args.output or f"{source.name.split('.')[0]}-denoised")
    names = (_output_name(source), *COMMON)

    from rayfold.recon.denoising import denoise, noise_of
    from rayfold.recon.io.results import refuse_existing, require_space, result_folder
    from rayfold.recon.noise_level import NoiseEstimate
    from rayfold.recon.provenance import Stages

    refuse_existing(target, names=names, force=args.force)
    stages = Stages()
    with stages("load"):
        given = _read(source, args)
    image = given.image
    console.say(repr(image), quiet=args.quiet)
    with stages("noise"):
        stated = None if args.sigma is None else NoiseEstimate((args.sigma,) * 4, unit=image.unit)
        noise = stated or noise_of(image)
    console.say(f"  noise     {noise}", quiet=args.quiet)
    with stages("prior"):
        prior = _prior(args)
    with result_folder(target, names=names, force=args.force) as part:
        with stages("denoise"), console.progress("denoise", quiet=args.quiet) as progress:
            made = denoise(image, sigma=noise, strength=args.strength, prior=prior, progress=progress)
        require_space(part, 2 * made.array.nbytes)
        after = _write(part, given, made, noise, args, source, stages, prior)
    if args.json:
        console.as_json(
            {
                "output": str(target),
                "files": sorted(names),
                "shape": list(image.shape),
                "unit": image.unit,
                "noise": noise.as_dict(),
                "removed": after,
                "seconds": {k: round(v, 3) for k, v in stages.seconds.items()},
            }
        )
    else:
        console.result(str(target))


def _check(args: argparse.Namespace) -> None:
    parse_window(args.window)
    for name in ("strength", "sigma"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"--{name} is {value:g}; it must be 0 or more")


def _suffix(source: Path) -> str:
    from rayfold.recon.io.writers import suffix_of

    return suffix_of(source)


def _is_dicom(source: Path) -> bool:
    return source.is_dir() or _suffix(source) in (".dcm", ".ima", "")


def _output_name(source: Path) -> str:
    """What is written: a folder of slices for DICOM, a file of the same kind for anything else."""
    if _is_dicom(source):
        return "dicom"
    suffix = _suffix(source)
    if suffix not in KEPT:
        raise UnreadableInput(
            f"{source.name} is no image that denoise reads; give a DICOM folder or {' '.join(KEPT)}"
        )
    return f"image{suffix}"


def _read(source: Path, args: argparse.Namespace) -> Given:
    from rayfold.recon.denoising import looks_like_hu

    if not source.exists():
        raise UnreadableInput(f"{source} does not exist; check the path")
    if (source / "image.nii.gz").is_file():  # a folder of results
        source = source / "image.nii.gz"
    if _is_dicom(source):
        from rayfold.recon.io.derived_dicom import read_dicom_series

        series = read_dicom_series(source)
        unit, modality = args.unit or series.unit, args.modality or series.modality
        series = replace(series, unit=unit, modality=modality)
        return Given(series.image, series, "dicom")
    if _suffix(source) == ".npy":
        image = _array(source)
    else:
        from rayfold.recon.io.read_image import read_image

        image = read_image(source)
    unit = args.unit or image.unit
    if args.unit is None and unit == "a.u." and looks_like_hu(image.array):
        unit = "HU"  # as NIfTI and TIFF of other tools hold it, without saying so
        console.say("  note      values are taken for HU; --unit a.u. says otherwise", quiet=args.quiet)
    image = replace(image, unit=unit, modality=args.modality or image.modality)
    return Given(image, None, f"image{_suffix(source)}")


def _array(source: Path) -> Image:
    import numpy as np

    try:
        array = np.load(source, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"{source.name} cannot be read as .npy: {error}") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "iufc":
        raise UnreadableInput(f"{source.name} has shape {array.shape} of {array.dtype}; it must be an image")
    return Image(array, (1.0,) * array.ndim, unit="a.u.")


def _prior(args: argparse.Namespace) -> Any:
    if args.strength == 0:
        return "base"  # nothing is done, nothing is loaded
    from rayfold.recon.foundation import FoundationPrior

    return FoundationPrior.load(args.size, device=args.device)


def _write(
    folder: Path, given: Given, made: Image, noise: Any, args: argparse.Namespace, source: Path,
    stages: Any, prior: Any,
) -> dict[str, Any]:  # fmt: skip
    """Image, picture, record and report; returns what was removed, in numbers."""
    from rayfold.recon.cli.denoise_report import removed_by, report
    from rayfold.recon.provenance import provenance, write_json

    settings = {
        "strength": args.strength,
        "sigma": args.sigma,
        "size": args.size,
        "unit": made.unit,
        "modality": made.modality,
        "noise": noise.as_dict(),
    }
    with stages("write"):
        made = _save(folder, given, made, settings)
    record = provenance(configuration=settings, inputs=[source], timings=stages.seconds)
    record["removed"] = removed_by(given.image, made)
    card = getattr(prior, "card", None) or {}
    record["prior"] = {key: card[key] for key in ("name", "version", "sha256") if key in card}
    write_json(folder / "provenance.json", record)
    report(folder, source.name, given.image, made, noise, record, window=parse_window(args.window))
    return dict(record["removed"])


def _save(folder: Path, given: Given, made: Image, settings: dict[str, Any]) -> Image:
    """Write in the format that was read; returns the image as it was written."""
    import numpy as np

    if given.series is not None:
        from rayfold.recon.io.derived_dicom import write_derived

        series = given.series.with_array(made.array)
        noise = settings["noise"]
        done = (
            f"Denoised by rayfold, prior {settings['size']}, strength {settings['strength']:g}, "
            f"noise {noise['sigma']:.4g} {made.unit} ({noise['kind']})"
        )
        write_derived(series, folder / "dicom", done=done, description="rayfold denoised")
        return replace(made, array=series.array)
    target = folder / given.name
    if target.suffix == ".npy":
        np.save(target, made.array)
    else:
        made.save(target)
    return made
