"""`rayfold view`: a picture of an image or of a scan."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.info import open_any
from rayfold.recon.cli.settings import input_options
from rayfold.recon.data import Image
from rayfold.recon.kspace import KSpace
from rayfold.recon.windows import HU_WINDOWS


def command(args: argparse.Namespace) -> None:
    """Write a PNG, or an HTML page when the output's name asks for one."""
    target = Path(args.output or f"{Path(args.file).name.split('.')[0]}.png")
    if target.suffix.lower() not in (".png", ".html"):
        raise ValueError(f"-o {target}: view writes .png or .html")
    window = parse_window(args.window)
    thing = open_any(args.file, input_options(args))
    from rayfold.recon import plot
    from rayfold.recon.io.atomic import atomic_file
    from rayfold.recon.panels import png
    from rayfold.recon.report import write_report

    if isinstance(thing, Image):
        figure = plot.image(thing, window=window)
    else:
        if window is not None:
            raise ValueError("--window is for images; a scan is shown with a window of its own")
        figure = plot.kspace(thing) if isinstance(thing, KSpace) else plot.sinogram(thing)
    if target.suffix.lower() == ".html":
        write_report(
            target,
            title=Path(args.file).name,
            images={"Image" if isinstance(thing, Image) else "Measured data": figure},
            facts={"Content": repr(thing).splitlines()[0]},
            force=args.force,
        )
    else:
        with atomic_file(target, force=args.force) as part:
            part.write_bytes(png(figure))
    if args.json:
        console.as_json({"output": str(target)})
    else:
        console.result(str(target))


def parse_window(text: str | None) -> Any:
    """Window of `--window`: a name, or two numbers."""
    if text is None or text in HU_WINDOWS:
        return text
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        names = ", ".join(HU_WINDOWS)
        raise ValueError(f"--window {text}: give {names}, or two numbers in order, as -160,240")
    return low, high
