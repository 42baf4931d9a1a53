"""The command `rayfold`: verbs, options, and one clear line instead of a traceback.

Exit codes: 0 done, 1 a fault of rayfold, 2 usage, 3 missing or unreadable input, 4 inconsistent input,
5 memory, disk or output, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from rayfold.recon.cli.options import add_common, add_denoise, add_input, add_recon
from rayfold.recon.cli.protocol import add_protocol
from rayfold.recon.cli.superres import add_superres
from rayfold.recon.cli.train import add_train
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.shipped import DEFAULT

VERBS = {
    "info": "what a file holds: geometry, dose, and what can be done with it",
    "recon": "reconstruct a scan: image, preview, provenance and report in one folder",
    "denoise": "remove noise from a DICOM series or an image; the same geometry comes out",
    "superres": "a finer grid, or a sharper image on its own (--factor 1 --psf MM), with evidence",
    "protocol": "describe an acquisition in a file, look at it, compare protocols at the same dose",
    "simulate": "raw data of a synthetic object, with noise, as an HDF5 scan",
    "view": "a picture (PNG) or a page (HTML) of an image or a scan",
    "demo": "simulate a low-dose sparse-view scan, reconstruct and compare, in a minute",
    "train": "train the prior from a configuration, or adapt it to your own scans (--adapt)",
    "card": "what the weights of the prior are, saw and reached, and what they are not for",
    "doctor": "devices, optional packages, kernels: what works on this machine",
}


# cures that name a Python argument, as they are spelt here
SPELLINGS = (
    (r"\bslices=slice\((\d+), (\d+)\)", r"--rows \1:\2"),
    (r"\bgeometry=", "--geometry"),
    (r"; open it with read_image", "; look at it with rayfold view"),
    (r"\bgive center as", "give --center as"),
    (r"\bgive psf\b", "give --psf"),
    (r"central slice, row (\d+)", r"central slice with --rows \1"),
    (r"leave rows out", "leave --rows out"),
    (r"^load: ", ""),
)


class Parser(argparse.ArgumentParser):
    """Mistakes in one line; the pages of usage are in --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help shows what is allowed\n")


def parser() -> argparse.ArgumentParser:
    """The command line; builds without loading anything that computes."""
    from rayfold.recon import __version__

    top = Parser(
        prog="rayfold",
        description="From raw CT and MRI measurements to images: exact physics, and evidence with each.",
        epilog="Begin with `rayfold demo` or `rayfold recon FILE -o DIR`; `rayfold VERB --help` tells more. "
        "Nothing is overwritten without --force.",
    )
    top.add_argument("--version", action="version", version=f"rayfold {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB")
    made = {name: verbs.add_parser(name, help=text, description=text) for name, text in VERBS.items()}

    made["info"].add_argument("file", help="scan or image")
    add_input(made["info"])

    made["recon"].add_argument(
        "file", help="raw scan: HDF5, NXtomo, .mat, MRC, TIFF, .npz; MRI: ISMRMRD, twix .dat, .cfl, fastMRI"
    )
    add_recon(made["recon"])

    made["denoise"].add_argument("file", help="DICOM folder or slice, NIfTI, TIFF, HDF5 image, .npy")
    add_denoise(made["denoise"])
    add_superres(made["superres"])

    add_protocol(made.pop("protocol"))

    simulate = made["simulate"]
    simulate.add_argument("--protocol", metavar="TOML", help="CT or MRI protocol instead of the next options")
    simulate.add_argument("--phantom", choices=("thorax", "shepp-logan", "disc"), default="thorax")
    simulate.add_argument("--beam", choices=("fan", "curved-fan", "parallel"), default="fan")
    simulate.add_argument("--views", type=int, default=360, metavar="N")
    simulate.add_argument("--cols", type=int, default=512, metavar="N", help="detector bins")
    simulate.add_argument(
        "--pitch", type=float, metavar="MM", help="bin distance; by default the object fits"
    )
    simulate.add_argument("--span", type=float, metavar="DEG", help="angular range, end excluded")
    simulate.add_argument("--source-to-axis", type=float, default=595.0, metavar="MM")
    simulate.add_argument("--source-to-detector", type=float, default=1085.6, metavar="MM")
    simulate.add_argument("--photons", type=float, default=1e5, metavar="N", help="per detector pixel")
    simulate.add_argument("--electronic", type=float, default=0.0, metavar="N", help="noise in photons")

    add_train(made["train"])
    made["card"].add_argument("weights", nargs="?", default=DEFAULT, metavar="NAME|FILE")

    made["view"].add_argument("file", help="image or scan")
    made["view"].add_argument(
        "--window", metavar="NAME|LOW,HIGH", help="lung, bone, soft, brain or two numbers"
    )
    add_input(made["view"])

    for name, sub in made.items():
        outputs = {
            "recon": "folder of results; by default FILE-rayfold here",
            "denoise": "folder of results; by default FILE-denoised here",
            "superres": "folder of results; by default FILE-superres here",
            "simulate": "HDF5 file to write (.h5)",
            "demo": "folder of results; by default rayfold-demo",
            "view": "PNG or HTML file; by default FILE.png here",
            "train": "folder of the training; with --adapt, .safetensors file to write",
        }
        add_common(sub, outputs.get(name), seed=name in ("simulate", "demo"))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    verbose = False
    try:
        with _stopped_by_sigterm():
            args = parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
            if args.verb is None:
                parser().print_help(sys.stderr)
                return 2
            verbose = args.verbose
            import_module(f"rayfold.recon.cli.{args.verb}").command(args)
            sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader, as `head`, has seen enough; nothing may be flushed to it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if verbose:
            traceback.print_exc()
        text, code = _explained(error)
        print(f"rayfold: {text}", file=sys.stderr)  # noqa: T201
        return code


def _explained(error: BaseException) -> tuple[str, int]:
    """One line for a person, and the exit code."""
    first = " ".join(str(error).split())
    for python, here in SPELLINGS:
        first = re.sub(python, here, first)
    match error:
        case Terminated():
            return "terminated; nothing was left half-written", 143
        case KeyboardInterrupt():
            return "interrupted; nothing was left half-written", 130
        case UnreadableInput() | InconsistentInput() | OutputFailure():
            return first, error.exit_code
        case MemoryError():
            cure = "fewer rows at a time (--rows A:B) or a smaller grid (--grid N) need less"
            return f"not enough memory: {first or 'an allocation failed'}; {cure}", 5
        case OSError():
            return f"{first}; check the path, the disk and its permissions", 5
        case ValueError() | ImportError():
            return first, 2
    return f"{type(error).__name__}: {first}; this is a fault of rayfold: --verbose shows where", 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, cleaned up after as Ctrl-C is."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _joined(argv: Sequence[str]) -> list[str]:
    """``--window -160,240`` as ``--window=-160,240``, or the value would be taken for an option."""
    words = list(argv)
    for i in reversed(range(len(words) - 1)):
        if words[i] == "--window" and words[i + 1][:1] == "-" and words[i + 1][1:2].isdigit():
            words[i : i + 2] = [f"--window={words[i + 1]}"]
    return words
