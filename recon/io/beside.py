"""Small arrays that lie next to a scan: angles as .npy or as text (.tlt, .rawtlt, .txt, .csv)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.files import reading
from rayfold.recon.io.sidecar import Lookup


def beside(path: Path) -> Lookup:
    """Lookup of arrays by file name, in the folder of `path`."""

    def lookup(name: str) -> npt.NDArray[Any]:
        file = path.parent / name
        if not file.is_file():
            raise UnreadableInput(f"{path.name}: there is no file {name} next to it; check the geometry")
        with reading(file, "an array"):
            if file.suffix == ".npy":
                array: npt.NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
                return array
            return np.loadtxt(file, delimiter="," if file.suffix == ".csv" else None)

    return lookup
