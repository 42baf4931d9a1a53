"""Measured images for the quality benchmark of the prior: slices of CT in DICOM and of MRI from raw data.

``--data`` is a folder with ``ct/head_dicom`` (28 slices of a head, BSD-2), ``ct/chest_dicom`` (BSD-2),
``ct/skull_kernels``, ``ct/htc2022_training`` and ``mri/brain_16ch_twix``, ``mri/b0_dual_echo``,
``mri/pulseq_gre_epi``, ``mri/twix_small``; where they come from is said in the README. Nothing is ever
trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rayfold.operators.fourier import ifft

Array = Any
WATER = 0.0193  # attenuation of water in 1/mm at 70 keV, about the mean energy of a scan at 120 kV
RANGE = 2000.0  # HU
# the two files of the chest hold the same slice bit by bit, so that there is one
CT = (
    *(("head", f"ct/head_dicom/{n:02d}.dcm") for n in (3, 6, 10, 16, 22)),
    ("chest", "ct/chest_dicom/0.dcm"),
)
TWIX = {
    "spheres (gradient echo)": "mri/pulseq_gre_epi/06_GRE_xSpoil_yRephase_RFspoilADC.dat",
    "phantom (gradient echo)": "mri/twix_small/gre.dat",
}


class Slice(NamedTuple):
    """An image, and its pixel size in mm where that matters; HU for CT, from 0 to 1 for MRI."""

    name: str
    image: Array
    spacing: float = 1.0


def ct_slices(data: Path) -> Iterator[Slice]:
    """Slices in HU; what scanners write outside the circle they reconstruct (below air) is air."""
    from rayfold.recon import read_image

    for kind, path in CT:
        image = read_image(data / path)
        hu = np.maximum(np.asarray(image.array, np.float32)[0], -1000)
        yield Slice(f"{kind} {Path(path).stem}", hu, float(image.spacing[-1]))


def attenuation(hu: Array) -> Array:
    """Attenuation in 1/mm of an image in HU."""
    return (WATER * (1 + hu / 1000)).astype(np.float32)


def halved(image: Array, *axes: int) -> Array:
    """Means of pairs of neighbours along some axes."""
    for axis in axes or (-2, -1):
        image = np.moveaxis(image, axis, -1)
        image = np.moveaxis(image.reshape(*image.shape[:-1], -1, 2).mean(-1), -1, axis)
    return image


def mr_slices(data: Path) -> Iterator[Slice]:
    """Magnitude images, each divided by its maximum: two heads in vivo, two phantoms."""
    from benchmarks import mri_brain
    from rayfold.recon import load

    kspace, body = mri_brain.read(data / "mri" / "brain_16ch_twix")
    maps, _ = mri_brain.measured_maps(kspace, body)
    found = {"brain (16 channels)": mri_brain.mvue(kspace, maps)}
    found["brain (field map scan)"] = field_map_scan(data / "mri" / "b0_dual_echo" / "mag128.fld")
    for name, path in TWIX.items():
        coils = ifft(np.asarray(load(data / path).data), (1, 2))
        found[name] = np.sqrt((abs(coils) ** 2).sum(axis=0))
    for name, image in found.items():
        yield Slice(name, (image / image.max()).astype(np.float32))


def field_map_scan(path: Path) -> Array:
    """The 128 x 128 big-endian floats behind the header of an AVS field file."""
    content = path.read_bytes()
    return (
        np.frombuffer(content[content.index(b"\x0c\x0c") + 2 :], ">f4").reshape(128, 128).astype(np.float32)
    )
