"""The command `rayfold`: verbs, options, and one clear line instead of a traceback.

Exit codes: 0 done, 2 usage, 3 missing or unreadable input, 4 inconsistent input, 5 memory, disk or output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rayfold.recon.cli.options import add_common, add_input, add_recon
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput

VERBS = {
    "info": "what a file holds: geometry, dose, and what can be done with it",
    "recon": "reconstruct a scan: image, preview, provenance and report in one folder",
    "simulate": "raw data of a synthetic object, with noise, as an HDF5 scan",
    "view": "a picture (PNG) or a page (HTML) of an image or a scan",
    "demo": "simulate a low-dose sparse-view scan, reconstruct and compare, in a minute",
    "doctor": "devices, optional packages, kernels: what works on this machine",
}


def parser() -> argparse.ArgumentParser:
    """The command line; builds without loading anything that computes."""
    from rayfold.recon.provenance import version

    top = argparse.ArgumentParser(
        prog="rayfold",
        description="From raw CT measurements to images: exact physics, and evidence of how they were made.",
        epilog="rayfold VERB --help tells more; results go to -o and nothing is overwritten without --force.",
    )
    top.add_argument("--version", action="version", version=f"rayfold {version()}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    made = {name: verbs.add_parser(name, help=text, description=text) for name, text in VERBS.items()}

    made["info"].add_argument("file", help="scan or image")
    add_input(made["info"])

    made["recon"].add_argument("file", help="raw scan: HDF5, NXtomo, .mat, MRC, TIFF, .npz")
    add_recon(made["recon"])

    simulate = made["simulate"]
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

    made["view"].add_argument("file", help="image or scan")
    made["view"].add_argument(
        "--window", metavar="NAME|LOW,HIGH", help="lung, bone, soft, brain or two numbers"
    )
    add_input(made["view"])

    for name, sub in made.items():
        outputs = {
            "recon": "folder of results; by default FILE-rayfold",
            "simulate": "HDF5 file to write (.h5)",
            "demo": "folder of results; by default rayfold-demo",
            "view": "PNG or HTML file; by default FILE.png here",
        }
        add_common(sub, outputs.get(name), seed=name in ("simulate", "demo"))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        import_module(f"rayfold.recon.cli.{args.verb}").command(args)
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was left half-written", 130)
    except (UnreadableInput, InconsistentInput, OutputFailure) as error:
        return _fail(str(error), error.exit_code)
    except MemoryError as error:
        cure = "reconstruct fewer rows at a time (--rows A:B) or a smaller grid (--grid N)"
        return _fail(f"not enough memory ({_first(error) or 'allocation failed'}); {cure}", 5)
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _fail(f"{_first(error)}; check the path, the disk and its permissions", 5)
    except (ValueError, TypeError, ImportError) as error:
        if args.verbose:
            raise
        return _fail(_first(error), 2)


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())


def _fail(text: str, code: int) -> int:
    print(f"rayfold: {text}", file=sys.stderr)  # noqa: T201
    return code
