"""`rayfold simulate`: raw counts of a synthetic object as a rayfold HDF5 scan."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console


def command(args: argparse.Namespace) -> None:
    """Simulate one scan."""
    target = Path(args.output or "scan.h5")
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise ValueError(f"-o {target}: a simulated scan is written as HDF5; give a name ending in .h5")
    from rayfold.operators.noise import PoissonTransmission
    from rayfold.recon.io import write_scan
    from rayfold.recon.phantoms import MU_WATER
    from rayfold.recon.simulation import simulate

    table, radius = phantom(args.phantom, args.seed)
    beam = _beam(args, radius)
    noise = PoissonTransmission(args.photons, args.electronic)
    scan = simulate(table, beam, noise, seed=args.seed, mu_water=MU_WATER, name=f"simulated {args.phantom}")
    write_scan(target, scan, force=args.force)
    console.say(repr(scan), quiet=args.quiet)
    if args.json:
        console.as_json(
            {"output": str(target), "views": scan.n_views, "cols": scan.n_cols, "seed": args.seed}
        )
    else:
        console.result(str(target))


def phantom(name: str, seed: int) -> tuple[Any, float]:
    """Ellipses of a phantom, and the radius in mm that holds them."""
    from rayfold.recon.phantoms import MU_WATER, shepp_logan_table, thorax_table

    table: Any
    if name == "thorax":
        table = thorax_table(seed)
    elif name == "shepp-logan":
        table = shepp_logan_table(radius=100.0)
    else:
        table = [[MU_WATER, 100.0, 100.0, 0.0, 0.0, 0.0]]
    reach = max(math.hypot(row[3], row[4]) + max(row[1], row[2]) for row in table)
    return table, 1.03 * reach


def _beam(args: argparse.Namespace, radius: float) -> Any:
    from rayfold.operators import FanBeam, ParallelBeam

    if args.views < 2 or args.cols < 2:
        raise ValueError(f"--views {args.views} --cols {args.cols}: a scan needs at least two of each")
    if args.beam == "parallel":
        span = math.radians(180.0 if args.span is None else args.span)
        return ParallelBeam.evenly(
            args.views, args.cols, span=span, pitch=args.pitch or 2 * radius / args.cols
        )
    distance, axis = args.source_to_detector, args.source_to_axis
    if radius >= axis:
        raise ValueError(
            f"--source-to-axis {axis:g}: the object reaches {radius:.0f} mm from the axis; go further"
        )
    half = math.asin(radius / axis)
    width = 2 * distance * (half if args.beam == "curved-fan" else math.tan(half))
    return FanBeam.evenly(
        args.views,
        args.cols,
        span=math.radians(360.0 if args.span is None else args.span),
        pitch=args.pitch or width / args.cols,
        source_to_axis=axis,
        source_to_detector=distance,
        curved=args.beam == "curved-fan",
    )
