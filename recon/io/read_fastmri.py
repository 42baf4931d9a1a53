"""fastMRI (and M4Raw) HDF5: one k-space array of slices, with an MRD header as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.cartesian import oversampling
from rayfold.recon.io.hdf5 import checked, open_hdf5
from rayfold.recon.io.lines import shortest
from rayfold.recon.io.mrd_header import MrdHeader, parse_mrd_header
from rayfold.recon.kspace import KSpace

AXES = {3: ("slice", "rows", "cols"), 4: ("slice", "coil", "rows", "cols")}


def is_fastmri(file: Any) -> bool:
    """Whether an open HDF5 file has the arrays of the format."""
    import h5py

    return isinstance(file.get("kspace"), h5py.Dataset) and file["kspace"].dtype.kind == "c"


def read_fastmri(path: Path) -> KSpace:
    """k-space from a fastMRI file.

    Rows of the array are the readout (oversampled twice in the knee and brain sets), columns the phase
    encoding. Columns that hold only zeros were not measured.

    Parameters
    ----------
    path : Path
        HDF5 file with "kspace", usually "ismrmrd_header", and "mask" in the test sets.

    Raises
    ------
    UnreadableInput
        If the file is damaged.
    InconsistentInput
        If the arrays contradict each other.
    """
    with open_hdf5(path, "fastMRI HDF5") as file:
        dataset = checked(file["kspace"])
        if dataset.ndim not in AXES:
            raise InconsistentInput(
                f"kspace has {dataset.ndim} axes {dataset.shape}; it must be (slices, [coils,] rows, columns)"
            )
        data = dataset[()].astype(np.complex64, copy=False)
        mask = file["mask"][()].astype(bool) if "mask" in file else None
        # the attributes of the file (patient_id among them) are never read
        header = parse_mrd_header(file["ismrmrd_header"][()]) if "ismrmrd_header" in file else None
    if data.ndim == 3:
        data = data[:, None]
    rows, columns = data.shape[-2:]
    seen = (data != 0).any(axis=(0, 1, 2))
    if mask is not None:
        if mask.shape != (columns,):
            raise InconsistentInput(
                f"mask has {mask.shape}, kspace has {columns} columns; export the file again"
            )
        data = data * mask
        seen &= mask
    if not seen.any():
        raise InconsistentInput("kspace is zero everywhere; copy the file again")
    facts: dict[str, Any] = {"readout": "ky"}
    if header is not None:
        facts |= _facts(header, rows, columns)
    return KSpace(
        data,
        ("slice", "coil", "ky", "kx"),
        sampled=shortest(seen[None, :], 2),
        path=path.name,
        source="fastMRI",
        **facts,
    )


def _facts(header: MrdHeader, rows: int, columns: int) -> dict[str, Any]:
    """Field of view, the part to keep and times; the array's x is the readout, which runs along the rows."""
    grid, thickness = (rows, columns), header.encoded_mm[2]
    facts: dict[str, Any] = {
        "echo_times": header.echo_times or None,
        "field_strength": header.field_strength,
        "slice_thickness": thickness or None,
    }
    if rows != header.encoded[0]:  # transposed (M4Raw) or cut: nothing is known of the axes
        return facts
    whole, kept = header.encoded_mm[:2], header.recon_mm[:2]
    if columns != header.encoded[1]:  # padded or cut: the header's extent is not that of the columns
        whole, kept = (whole[0], 0.0), (kept[0], 0.0)
    facts["field_of_view"] = whole if min(whole) > 0 else None
    facts["crop"] = oversampling(grid, whole, header.recon[:2], kept)
    return facts
