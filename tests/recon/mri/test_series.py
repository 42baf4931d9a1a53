"""Images of a scan under named axes: parts, places, names, files."""

import nibabel
import numpy as np
import pydicom
import pytest

from rayfold.recon.errors import OutputFailure
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.methods import reconstruct_kspace
from rayfold.recon.series import Series

RNG = np.random.default_rng(0)
ARRAY = RNG.standard_normal((2, 3, 6, 4)) + 1j * RNG.standard_normal((2, 3, 6, 4))
# x runs to the back, y up, slices to the right
TURNED = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def series(**options):
    return Series(ARRAY, ("echo", "slice", "y", "x"), (1.5, 2.0), slice_spacing=5.0, **options)


def test_parts_of_an_image():
    made = series()
    for part, truth in {"magnitude": abs(ARRAY[1]), "phase": np.angle(ARRAY[1]), "complex": ARRAY[1]}.items():
        image = made.image(part, echo=1)
        assert np.array_equal(image.array, truth) and image.spacing == (5.0, 1.5, 2.0)
        assert image.modality == "MR" and image.provenance["part"] == part
    assert made.image("phase", echo=0).unit == "rad"
    assert np.array_equal(made.image(echo=0, slice=2).array, abs(ARRAY[0, 2:]))


def test_a_voxel_lies_where_the_scanner_says():
    """The origin is the place of voxel n // 2 of the first slice, along turned axes."""
    made = series(origin=(10.0, 20.0, 30.0), direction=TURNED)
    from rayfold.recon.io.affine import affine_of

    matrix = affine_of(made.image(echo=0))
    assert np.allclose(matrix @ [2, 3, 0, 1], [10, 20, 30, 1])
    assert np.allclose(matrix @ [3, 3, 0, 1], [10, 22, 30, 1])  # a step along x is 2 mm to the back
    assert np.allclose(matrix @ [2, 4, 1, 1], [5, 20, 31.5, 1])
    alone = affine_of(made.image(echo=0, slice=2))
    assert np.allclose(alone @ [2, 3, 0, 1], [0, 20, 30, 1])


def test_orientation_reaches_nifti_and_dicom(tmp_path):
    data = RNG.standard_normal((3, 4, 8, 6)) + 1j * RNG.standard_normal((3, 4, 8, 6))
    scan = KSpace(
        data.astype(np.complex64), ("slice", "coil", "ky", "kx"), field_of_view=(16.0, 12.0),
        slice_spacing=4.0, slice_thickness=3.0, direction=TURNED, origin=(1.0, 2.0, 3.0),
    )  # fmt: skip
    made = reconstruct_kspace(scan, "rss")
    made.save(tmp_path / "a.nii.gz")
    matrix = nibabel.load(tmp_path / "a.nii.gz").affine
    assert np.allclose(matrix @ [3, 4, 0, 1], [-1, -2, 3, 1])  # RAS of NIfTI
    made.save(tmp_path / "series")
    slices = [pydicom.dcmread(p) for p in sorted((tmp_path / "series").iterdir())]
    assert len(slices) == 3 and {s.Modality for s in slices} == {"MR"}
    row, column = np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3))
    spacing = np.array(slices[0].PixelSpacing, float)
    places = [
        np.array(s.ImagePositionPatient, float) + 3 * spacing[1] * row + 4 * spacing[0] * column
        for s in slices
    ]
    assert np.allclose(min(places, key=lambda p: abs(p - [1, 2, 3]).sum()), [1, 2, 3], atol=1e-4)


def test_several_images_are_several_files(tmp_path):
    made = series().save(tmp_path / "brain.nii.gz", part="complex")
    assert [p.name for p in made] == ["brain_echo1.nii.gz", "brain_echo2.nii.gz"]
    found = nibabel.load(made[1])
    assert found.get_data_dtype() == np.complex64
    assert np.allclose(np.asarray(found.dataobj).transpose(2, 1, 0), ARRAY[1], atol=1e-6)
    with pytest.raises(OutputFailure, match="already"):
        series().save(tmp_path / "brain.nii.gz")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dcm"])
def test_complex_images_go_into_formats_that_hold_them(tmp_path, name):
    with pytest.raises(OutputFailure, match=r"holds no complex images; use \.nii\.gz or \.h5"):
        series().image("complex", echo=0, slice=0).save(tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({}, r"give an index for echo \(0 to 1\)"),
        ({"coil": 0}, "got coil"),
        ({"echo": 2}, r"echo 2 is not there"),
    ],
)
def test_indices(at, message):
    with pytest.raises(ValueError, match=message):
        series().image(**at)


def test_bad_series():
    with pytest.raises(ValueError, match="y, x come last"):
        Series(ARRAY, ("echo", "slice", "x", "y"), (1.0, 1.0))
    with pytest.raises(ValueError, match="it must be one of magnitude, phase, complex"):
        series().image("real", echo=0)
