"""`rayfold simulate`: raw counts of a synthetic object as a rayfold HDF5 scan."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.errors import OutputFailure

OF_A_PROTOCOL = (
    "beam", "views", "cols", "pitch", "span", "source_to_axis", "source_to_detector", "photons", "electronic",
)  # fmt: skip


def command(args: argparse.Namespace) -> None:
    """Simulate one scan."""
    target = Path(args.output or "scan.h5")
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise ValueError(f"-o {target}: a simulated scan is written as HDF5; give a name ending in .h5")
    if target.exists() and not args.force:  # before the work, not after
        raise OutputFailure(f"{target} is already there; write elsewhere or replace it with --force")
    if args.protocol:
        _by_protocol(target, args)
        return
    _check(args)
    from rayfold.operators.noise import PoissonTransmission
    from rayfold.recon.io import write_scan
    from rayfold.recon.io.results import require_space
    from rayfold.recon.phantoms import MU_WATER
    from rayfold.recon.simulation import simulate

    table, radius = phantom(args.phantom, args.seed)
    beam = _beam(args, radius)
    noise = PoissonTransmission(args.photons, args.electronic)
    scan = simulate(table, beam, noise, seed=args.seed, mu_water=MU_WATER, name=f"simulated {args.phantom}")
    require_space(target, scan.data.nbytes)
    write_scan(target, scan, force=args.force)
    console.say(repr(scan), quiet=args.quiet)
    if args.json:
        console.as_json(
            {"output": str(target), "views": scan.n_views, "cols": scan.n_cols, "seed": args.seed}
        )
    else:
        console.result(str(target))


def _by_protocol(target: Path, args: argparse.Namespace) -> None:
    """Raw CT or MRI data of a protocol; it states all that the other flags would."""
    from rayfold.recon.cli import parser
    from rayfold.recon.io import write_kspace, write_scan
    from rayfold.recon.io.results import require_space
    from rayfold.recon.protocol import Protocol

    usual = vars(parser().parse_args(["simulate"]))
    for name in OF_A_PROTOCOL:
        if getattr(args, name) != usual[name]:
            raise ValueError(f"--{name.replace('_', '-')} is stated by {args.protocol}; edit it there")
    p = Protocol.from_toml(Path(args.protocol))
    if p.modality == "MRI" and args.phantom != usual["phantom"]:
        raise ValueError(f"--phantom {args.phantom} is for CT; the object of an MRI protocol is a head")
    scan = p.simulate(args.phantom if p.modality == "CT" else "head", args.seed)
    require_space(target, scan.data.nbytes)
    write: Any = write_scan if p.modality == "CT" else write_kspace
    write(target, scan, force=args.force)
    console.say(repr(scan), quiet=args.quiet)
    if args.json:
        console.as_json({"output": str(target), "shape": list(scan.data.shape), "seed": args.seed})
    else:
        console.result(str(target))


def _check(args: argparse.Namespace) -> None:
    allowed = {
        "views": (2, 1_000_000, "views"),
        "cols": (2, 1_000_000, "bins"),
        "photons": (1, 1e15, "photons per detector pixel"),
        "electronic": (0, 1e15, "photons"),
        "pitch": (1e-6, 1e6, "mm"),
        "span": (1e-3, 1e5, "degrees"),
        "source_to_axis": (1e-3, 1e9, "mm"),
        "source_to_detector": (1e-3, 1e9, "mm"),
    }
    for name, (low, high, unit) in allowed.items():
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            raise ValueError(
                f"--{name.replace('_', '-')} is {value:g}; it must be {low:g} to {high:g} {unit}"
            )
    if args.beam != "parallel" and args.source_to_detector < args.source_to_axis:
        raise ValueError(
            f"--source-to-detector {args.source_to_detector:g} is less than --source-to-axis "
            f"{args.source_to_axis:g}; the detector stands behind the axis"
        )


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
