"""Options of the verbs."""

from __future__ import annotations

import argparse

from rayfold.recon.cli.settings import (
    FILTERS,
    FORMATS,
    METHODS,
    MRI_METHODS,
    PARTS,
    PRECISIONS,
    RINGS,
    one_of,
)
from rayfold.recon.shipped import DEFAULT, SHIPPED


def add_common(sub: argparse.ArgumentParser, output: str | None, *, seed: bool) -> None:
    """Options that every verb has."""
    if output:
        sub.add_argument("-o", "--output", metavar="PATH", help=output)
        sub.add_argument("--force", action="store_true", help="replace results that exist")
    if seed:
        sub.add_argument("--seed", type=seed_number, default=0, metavar="N", help="seed of the noise")
    sub.add_argument("--json", action="store_true", help="machine-readable result on standard output")
    sub.add_argument("--quiet", action="store_true", help="no progress and no remarks")
    sub.add_argument("--verbose", action="store_true", help="tracebacks and more detail")


def add_input(sub: argparse.ArgumentParser) -> None:
    """Options that complete what a raw file says."""
    group = sub.add_argument_group("what the file does not say")
    group.add_argument(
        "--center", metavar="COL|auto", help="detector column of the rotation axis, or find it"
    )
    group.add_argument("--mu-water", type=float, metavar="PER_MM", help="attenuation of water, for HU")
    group.add_argument("--rows", metavar="A:B", help="detector rows (slices of an image): one or a range")
    group.add_argument("--sense", choices=("ccw", "cw"), help="turning sense of the angles")
    group.add_argument("--geometry", metavar="TOML", help="geometry; by default FILE.toml beside the data")
    group.add_argument("--pixel-size", type=float, metavar="MM", help="detector bin distance")
    group.add_argument("--sequence", metavar="SEQ", help="Pulseq file of a twix scan; by default beside it")
    group.add_argument("--reference", metavar="DAT", help="twix: the same EPI without phase encoding")


def add_recon(sub: argparse.ArgumentParser) -> None:
    """Options of `recon`."""
    add_input(sub)
    how = sub.add_argument_group("reconstruction")
    how.add_argument(
        "--method",
        help=f"CT: {one_of(METHODS)}; default {METHODS[0]}. "
        f"MRI: {one_of(MRI_METHODS)}; default: what suits the scan",
    )
    how.add_argument("--filter", help=f"of fbp: {one_of(FILTERS)}; default {FILTERS[0]}")
    how.add_argument("--cutoff", type=float, metavar="F", help="fraction of the Nyquist frequency, default 1")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of an iterative method")
    how.add_argument(
        "--strength",
        type=float,
        metavar="W",
        help="weight of the penalty; default: found from the noise. Of prior: factor of the noise, default 1",
    )
    how.add_argument("--weights", metavar="NAME|FILE", help="of prior: small, or a .safetensors file")
    how.add_argument("--precision", metavar="NAME", help=f"of prior: {one_of(PRECISIONS)}; default float32")
    how.add_argument(
        "--thorough",
        action="store_true",
        default=None,
        help="of prior: many more steps, better for few views or samples with little noise",
    )
    how.add_argument("--grid", type=int, metavar="N", help="pixels per side; default: the field of view")
    how.add_argument("--spacing", type=float, metavar="MM", help="pixel size; default: bin pitch at the axis")
    how.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    how.add_argument("--zingers", action="store_true", default=None, help="remove zingers")
    how.add_argument(
        "--rings", metavar="METHOD", help=f"remove rings: {one_of(RINGS)}; sorting is the gentlest"
    )
    out = sub.add_argument_group("output")
    out.add_argument("--hu", action="store_true", default=None, help="Hounsfield units; needs --mu-water")
    out.add_argument(
        "--no-certificate",
        dest="certificate",
        action="store_false",
        default=None,
        help="leave out how far the data support the image",
    )
    out.add_argument("--part", help=f"of MRI images: {one_of(PARTS)}; default {PARTS[0]}")
    out.add_argument("--save", metavar="LIST", help=f"more formats, comma-separated: {', '.join(FORMATS)}")
    out.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and the memory it needs"
    )
    out.add_argument(
        "--config", metavar="TOML", help="settings file with sections input, preprocess, recon, output"
    )
    out.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="one setting, as recon.cutoff=0.8"
    )


def add_denoise(sub: argparse.ArgumentParser) -> None:
    """Options of `denoise`."""
    sub.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="of the noise found; 0 changes nothing"
    )
    sub.add_argument(
        "--sigma", type=float, metavar="X", help="noise in units of the image; default: measured on it"
    )
    sub.add_argument("--size", choices=SHIPPED, default=DEFAULT, help=f"of the prior; default {DEFAULT}")
    sub.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the convolutions; bfloat16 is faster where the processor has it",
    )
    sub.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    sub.add_argument("--window", metavar="NAME|LOW,HIGH", help="of the pictures: lung, bone, soft, brain")
    group = sub.add_argument_group("what the file does not say")
    group.add_argument("--unit", choices=("HU", "1/mm", "a.u."), help="of the values")
    group.add_argument("--modality", choices=("CT", "MR"), help="what made the image")


def seed_number(text: str) -> int:
    """Seed of a random stream: a whole number that NumPy takes."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")
    return int(text)
