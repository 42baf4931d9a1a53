"""Write an image as a DICOM series (one file per slice) or, with the suffix .dcm, as one slice.

Stored value q (int16) and real value v: ``v = RescaleSlope * q + RescaleIntercept``. HU are stored one to
one; anything else takes a slope that spreads its range over the 16 bits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image
from rayfold.recon.errors import OutputFailure
from rayfold.recon.io.affine import Matrix, affine_of
from rayfold.recon.io.atomic import atomic_file, atomic_folder
from rayfold.recon.provenance import version

RESEARCH = "Research only, not for diagnosis."
# required by the standard, allowed to be empty, and empty on purpose
EMPTY = (
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "PatientPosition",
    "Laterality",
)
CT_STORAGE, MR_STORAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def write_dicom(image: Image, path: str | Path, *, force: bool = False) -> Path:
    """Write a new DICOM series that carries geometry and unit and no data about a person.

    Parameters
    ----------
    image : Image
        Slices in HU are rounded to 1 HU; other units to 1 part in 65534 of the image's range.
    path : str or Path
        A folder, or a file ending in .dcm for an image of one slice.
    force : bool
        Replace an earlier series; a folder with anything but .dcm files in it is never replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If values are not finite, if several slices are to go into one file, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     series = write_dicom(Image(np.zeros((2, 8, 8)), (1.0, 0.5, 0.5), unit="HU"), f"{folder}/series")
    ...     sorted(p.name for p in series.iterdir())
    ['slice_0001.dcm', 'slice_0002.dcm']
    """
    target = Path(path)
    volume = image.array if image.array.ndim == 3 else image.array[None]
    if not np.isfinite(volume).all():
        raise OutputFailure(
            "DICOM holds integers and this image has values that are not finite; write .nii.gz or .h5"
        )
    slope, intercept = _rescale(volume, image.unit)
    common = series_attributes(image, slope, intercept)
    matrix = affine_of(image)
    if target.suffix.lower() == ".dcm":
        if len(volume) > 1:
            raise OutputFailure(f"{target.name} holds one slice, the image has {len(volume)}; give a folder")
        with atomic_file(target, force=force) as part:
            _write_slice(part, common, volume[0], 0, matrix)
        return target
    with atomic_folder(target, holds=".dcm", force=force) as folder:
        for k, plane in enumerate(volume):
            _write_slice(folder / f"slice_{k + 1:04d}.dcm", common, plane, k, matrix)
    return target


def _rescale(volume: npt.NDArray[Any], unit: str) -> tuple[str, str]:
    """Slope and intercept as the 16-character decimal strings that DICOM holds."""
    from pydicom.valuerep import format_number_as_ds

    low, high = float(volume.min()), float(volume.max())
    if unit == "HU" and low >= -32768 and high <= 32767:
        return "1", "0"
    if low == high:
        return "1", str(format_number_as_ds(low))
    # one step to spare at either end: the decimal strings are rounded
    return str(format_number_as_ds((high - low) / 65532)), str(format_number_as_ds((high + low) / 2))


def series_attributes(image: Image, slope: str, intercept: str) -> Any:
    """Everything that the slices share."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made_by = version()
    ds = Dataset()
    ds.SOPClassUID = MR_STORAGE if image.modality == "MR" else CT_STORAGE
    ds.Modality = image.modality
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(ds, name, generate_uid(prefix=None))
    ds.PatientName, ds.PatientID = "RESEARCH^ONLY", "RESEARCH-ONLY"
    for name in EMPTY:
        setattr(ds, name, "")
    ds.SeriesNumber = 1
    ds.SeriesDescription = f"rayfold {image.unit}"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "rayfold", "rayfold", made_by
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if image.modality == "CT" else "OTHER"]
    ds.DerivationDescription = f"Reconstructed or processed by rayfold {made_by}"
    length = " pixel size unknown: 1 px is written as 1 mm." if image.unit == "1/px" else ""
    ds.ImageComments = f"{RESEARCH}{length} unit={image.unit}"
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.RescaleType = "HU" if image.unit == "HU" else "US"
    ds.WindowCenter, ds.WindowWidth = _window(image)
    ds.VOILUTFunction = "LINEAR_EXACT"  # the default may not be narrower than 1, attenuation is
    _modality(ds, image.modality)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _modality(ds: Any, modality: str) -> None:
    """Attributes that one storage class requires; unknown acquisition parameters stay empty."""
    if modality == "CT":
        ds.KVP, ds.AcquisitionNumber = "", ""
        return
    ds.ScanningSequence, ds.SequenceVariant = "RM", "NONE"  # RM: research mode
    for name in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
        setattr(ds, name, "")


def _window(image: Image) -> tuple[str, str]:
    from pydicom.valuerep import format_number_as_ds

    from rayfold.recon.windows import window_of

    low, high = window_of(image.array, image.unit)
    return str(format_number_as_ds((low + high) / 2)), str(format_number_as_ds(high - low))


def _write_slice(path: Path, common: Any, plane: npt.NDArray[Any], index: int, matrix: Matrix) -> None:
    import copy

    from pydicom.uid import generate_uid

    ds = copy.deepcopy(common)
    ds.SOPInstanceUID = generate_uid(prefix=None)
    ds.InstanceNumber = index + 1
    _place(ds, index, matrix)
    slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
    stored = np.rint((plane.astype(np.float64) - intercept) / slope)
    ds.set_pixel_data(np.clip(stored, -32768, 32767).astype(np.int16), "MONOCHROME2", 16)
    ds.save_as(os.fspath(path), enforce_file_format=True)


def _place(ds: Any, index: int, matrix: Matrix) -> None:
    """Position, orientation and pixel size of slice `index`."""
    from pydicom.valuerep import format_number_as_ds

    def strings(values: npt.ArrayLike) -> list[str]:
        # + 0.0 turns a negative zero into a plain one
        return [str(format_number_as_ds(float(v) + 0.0)) for v in np.asarray(values)]

    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    unit = matrix[:3, :3] / steps
    ds.ImageOrientationPatient = strings(np.concatenate([unit[:, 0], unit[:, 1]]))
    ds.ImagePositionPatient = strings((matrix @ [0, 0, index, 1])[:3])
    ds.PixelSpacing = strings(steps[1::-1])  # rows first: the step down, then the step across
    # a tilted gantry steps obliquely; the distance of two slices is measured along their normal
    distance = abs(float(np.cross(unit[:, 0], unit[:, 1]) @ matrix[:3, 2]))
    ds.SliceThickness = ds.SpacingBetweenSlices = strings([distance])[0]
