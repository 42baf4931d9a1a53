"""Headers of MRI files name the person; nothing of that reaches what rayfold returns, prints or writes."""

from __future__ import annotations

import json
import logging
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.recon.mri_files import (
    MARK,
    coil_images,
    mrd_xml,
    twix_block,
    twix_end,
    twix_protocol,
    write_mrd,
    write_twix,
)

from rayfold.recon.io import load, write_kspace
from rayfold.recon.provenance import provenance

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "mri"
NAMES = (b"Patient", b"Birth", b"Institution", b"Operator", b"Physician", b"Study", b"Accession")
PERSONAL = rb"\w*(?:" + b"|".join(NAMES) + rb")\w*"


def everything(scan, folder) -> bytes:
    """All that leaves: fields, text, provenance, and both files written."""
    parts = [repr(scan).encode(), str(vars(scan)).encode(), pickle.dumps(scan)]
    told = {name: value for name, value in vars(scan).items() if not isinstance(value, np.ndarray)}
    parts.append(json.dumps(provenance(configuration=told)).encode())
    with h5py.File(write_kspace(folder / "out.h5", scan, force=True)) as file:
        parts += [str(dict(file.attrs)).encode(), *(file[name][()].tobytes() for name in file)]
    write_kspace(folder / "out.cfl", scan, force=True)
    parts += [path.read_bytes() for path in folder.glob("out*")]
    return b"".join(parts)


@pytest.fixture
def watched(capfd, caplog):
    caplog.set_level(logging.DEBUG)

    def said() -> bytes:
        out, err = capfd.readouterr()
        return (out + err + caplog.text).encode()

    return said


def ismrmrd_file(path, y):
    pytest.importorskip("ismrmrd")
    readouts = [(y[:, k], {"kspace_encode_step_1": k}, (), {}) for k in range(6)]
    return write_mrd(path, mrd_xml(8, 6), readouts)


def fastmri_file(path, y):
    with h5py.File(path, "w") as file:
        file["kspace"] = y[None]
        file["ismrmrd_header"] = mrd_xml(6, 8)
        file.attrs.update({"patient_id": MARK, "acquisition": MARK, "norm": 1.0, "max": 1.0})
        file["kspace"].attrs["comment"] = MARK
    return path


def bart_file(path, y):
    header = f"# Dimensions\n8 6 1 2\n# Command\n{MARK} -i {MARK}\n# Creator\n{MARK}\n"
    path.with_suffix(".hdr").write_text(header)
    path.write_bytes(y.T.tobytes(order="F"))
    return path


def twix_file(path, y):
    pytest.importorskip("twixtools")
    blocks = b"".join(twix_block(y[:, k], {"Lin": k}) for k in range(6)) + twix_end()
    return write_twix(path, (twix_protocol(), blocks), (twix_protocol(), blocks))


MAKE = {"a.h5": ismrmrd_file, "b.h5": fastmri_file, "a.cfl": bart_file, "a.dat": twix_file}


@pytest.mark.parametrize("name", MAKE)
def test_marks_in_personal_fields_stay_in_the_file(tmp_path, rng, name, watched):
    path = MAKE[name](tmp_path / name, coil_images(rng, 2, 6, 8))
    around = b"".join(p.read_bytes() for p in path.parent.glob(f"{path.stem}.*"))
    assert MARK.encode() in around
    scan = load(path)
    out = tmp_path / "out"
    out.mkdir()
    assert MARK.encode() not in everything(scan, out) + watched()


@pytest.mark.parametrize("name", ["a.h5", "b.h5", "a.dat"])
def test_nor_do_they_stand_in_errors(tmp_path, rng, name, watched):
    """Numbers of the header are replaced by the mark, so that parsing fails right at it."""
    path = MAKE[name](tmp_path / name, coil_images(rng, 2, 6, 8))
    content = path.read_bytes()
    for number in (b"<x>8</x>", b"<x>6</x>", b"<TE>3.5</TE>", b"lBaseResolution = 8", b"alTE[0] = 5000"):
        if number not in content:
            continue
        mark = MARK.encode()[: len(number) - 7].ljust(len(number) - 7, b"Z")
        path.write_bytes(content.replace(number, number[:3] + mark + number[-4:]))
        try:
            load(path)
        except ValueError as error:
            assert "ZZ" not in str(error), number
    assert b"ZZ" not in watched()


SCANNERS = ("twix_small/epi.dat", "pulseq_gre_epi/05_EPI.dat", "brain_16ch_twix/2024-02-06-164120.dat")


@pytest.mark.parametrize("name", SCANNERS)
def test_marks_patched_into_headers_of_scanners(tmp_path, name, watched):
    """A copy of a real header with every personal field that it has overwritten in place."""
    if not (REAL / name).exists():
        pytest.skip(f"measured data are not here: {name}")
    pytest.importorskip("twixtools")
    content = bytearray((REAL / name).read_bytes())
    fields = re.compile(rb'<Param\w+\."(?:' + PERSONAL + rb')">\s*\{[^}"]*"([^"]*)"')
    n_marks = 0
    for found in list(fields.finditer(bytes(content))):
        start, end = found.span(1)
        if end - start >= 4:
            content[start:end] = (MARK.encode() * 20)[: end - start]
            n_marks += 1
    if int.from_bytes(content[:4], "little") < 10000:  # the table of measurements repeats the name
        for entry in range(int.from_bytes(content[4:8], "little")):
            at = 8 + 152 * entry + 24
            content[at : at + 64] = (MARK.encode() * 8)[:64]
            n_marks += 1
    assert n_marks > 0
    path = tmp_path / "scan.dat"
    path.write_bytes(bytes(content))
    out = tmp_path / "out"
    out.mkdir()
    scan = load(path)
    assert b"ZZMA" not in everything(scan, out) + watched()
    assert np.array_equal(scan.data, load(REAL / name).data) or "05_EPI" in name
