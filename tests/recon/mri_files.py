"""Small raw MRI files for the tests: an object with known coils, written by the formats' own packages."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

MARK = "ZZMARKZZ"  # stands in every personal field of every header


def fft(x, axes=(-2, -1)):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def ifft(y, axes=(-2, -1)):
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(y, axes), axes=axes, norm="ortho"), axes)


def coil_images(rng, *shape: int) -> np.ndarray:
    """Complex images ``(*shape)`` without any symmetry."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


# --- ISMRMRD ---


def mrd_xml(
    nx, ny, nz=1, *, recon_x=None, trajectory="cartesian", calibration="", limits=True, extra="", vendor=""
) -> str:
    recon_x = recon_x or nx

    def space(name, x):
        return (
            f"<{name}><matrixSize><x>{x}</x><y>{ny}</y><z>{nz}</z></matrixSize><fieldOfView_mm>"
            f"<x>{2.0 * x}</x><y>{2.0 * ny}</y><z>{5.0 * nz}</z></fieldOfView_mm></{name}>"
        )

    centre = ny // 2 if limits is True else limits
    steps = f"<minimum>0</minimum><maximum>{ny - 1}</maximum><center>{centre}</center>"
    parallel = f"<parallelImaging><calibrationMode>{calibration}</calibrationMode></parallelImaging>"
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"<subjectInformation><patientName>{MARK}</patientName><patientID>{MARK}</patientID>"
        f"<patientBirthdate>{MARK}</patientBirthdate></subjectInformation>"
        f"<studyInformation><studyDate>{MARK}</studyDate><studyDescription>{MARK}</studyDescription>"
        f"<accessionNumber>{MARK}</accessionNumber></studyInformation>"
        f"<measurementInformation><protocolName>{MARK}</protocolName></measurementInformation>"
        f"<acquisitionSystemInformation><systemVendor>{vendor}</systemVendor>"
        "<systemFieldStrength_T>1.5</systemFieldStrength_T>"
        "<relativeReceiverNoiseBandwidth>0.5</relativeReceiverNoiseBandwidth>"
        f"<institutionName>{MARK}</institutionName><stationName>{MARK}</stationName>"
        "</acquisitionSystemInformation>"
        f"<encoding>{space('encodedSpace', nx)}{space('reconSpace', recon_x)}"
        f"<encodingLimits><kspace_encoding_step_1>{steps}</kspace_encoding_step_1></encodingLimits>"
        f"<trajectory>{trajectory}</trajectory>{extra}{parallel if calibration else ''}</encoding>"
        "<sequenceParameters><TE>3.5</TE><TE>7</TE></sequenceParameters></ismrmrdHeader>"
    )


def write_mrd(path: Path, xml: str, readouts) -> Path:
    """`readouts`: (data (coils, samples), counters, flags, further attributes) each."""
    import ismrmrd

    with ismrmrd.File(str(path), "w") as file:
        group = file["dataset"]
        made = []
        for data, counters, flags, about in readouts:
            more = dict(about)
            acquisition = ismrmrd.Acquisition.from_array(
                np.asarray(data, np.complex64), more.pop("trajectory", None)
            )
            for name, value in counters.items():
                setattr(acquisition.idx, name, value)
            for flag in flags:
                acquisition.set_flag(flag)
            for name, value in more.items():
                if name in ("position", "read_dir", "phase_dir", "slice_dir"):
                    getattr(acquisition, name)[:] = value
                else:
                    setattr(acquisition, name, value)
            made.append(acquisition)
        group.acquisitions = made
    import h5py

    with h5py.File(path, "r+") as file:
        kind = h5py.special_dtype(vlen=bytes)
        if "xml" in file["dataset"]:
            del file["dataset/xml"]
        file["dataset"].create_dataset("xml", (1,), kind)[0] = xml.encode()
    return path


# --- Siemens twix ---


def twix_block(data, counters, flags=(), *, centre=(0, 0, 0), place=(0, 0, 0)) -> bytes:
    """One readout as VD and later software stores it."""
    from twixtools import mdh_def

    data = np.atleast_2d(np.asarray(data, np.complex64))
    head = mdh_def.Scan_header()
    head.SamplesInScan, head.UsedChannels = data.shape[1], data.shape[0]
    head.CenterCol, head.CenterLin, head.CenterPar = centre
    for name, value in counters.items():
        setattr(object.__getattribute__(head, "Counter"), name, value)
    data_of_slice = object.__getattribute__(head, "SliceData")
    position = object.__getattribute__(data_of_slice, "SlicePos")
    position.Sag, position.Cor, position.Tra = place
    object.__getattribute__(data_of_slice, "Quaternion")[:] = [2**-0.5, 0, 0, 2**-0.5]
    for flag in ("ONLINE", *flags):
        mdh_def.add_flag(head, flag)
    channel = ctypes.sizeof(mdh_def.Channel_header)
    length = ctypes.sizeof(head) + data.shape[0] * (channel + 8 * data.shape[1])
    head.FlagsAndDMALength = length
    return bytes(head) + b"".join(bytes(channel) + row.tobytes() for row in data)


def twix_end() -> bytes:
    from twixtools import mdh_def

    head = mdh_def.Scan_header()
    mdh_def.add_flag(head, "ACQEND")
    head.FlagsAndDMALength = ctypes.sizeof(head)
    return bytes(head)


def twix_protocol(base=8, lines=8, *, name="%SiemensSeq%\\\\gre", mode=4, meas="", **more) -> dict[str, str]:
    values = {
        "tSequenceFileName": f'"{name}"',
        "sKSpace.lBaseResolution": base,
        "sKSpace.lPhaseEncodingLines": lines,
        "sKSpace.ucDimension": 2,
        "sPat.ucRefScanMode": mode,
        "sSliceArray.asSlice[0].dThickness": 4.0,
        "sSliceArray.asSlice[0].dPhaseFOV": 200.0,
        "sSliceArray.asSlice[0].dReadoutFOV": 200.0,
        "sRXSPEC.alDwellTime[0]": 10000,
        "alTE[0]": 5000,
        "alTE[1]": 9000,
        "lContrasts": 1,
        "sProtConsistencyInfo.flNominalB0": 2.89,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    body = "\n".join(f"{key} = {value}" for key, value in values.items())
    person = f'<ParamString."tPatientName"> {{ "{MARK}" }}\n<ParamString."PatientID"> {{ "{MARK}" }}\n'
    person += (
        f'<ParamString."InstitutionName"> {{ "{MARK}" }}\n<ParamString."PatientBirthDay"> {{ "{MARK}" }}\n'
    )
    return {
        "Config": person,
        "Dicom": person + '<ParamString."SoftwareVersions"> { "syngo MR E11" }\n',
        "Meas": person + meas,
        "MeasYaps": f"### ASCCONV BEGIN ###\n{body}\n### ASCCONV END ###\n",
    }


def write_twix(path: Path, *measurements: tuple[dict[str, str], bytes]) -> Path:
    """Each measurement: texts of its header by name, and its blocks."""
    table = np.zeros(
        64, [("id", "<u4", 2), ("at", "<u8"), ("n", "<u8"), ("patient", "S64"), ("protocol", "S64")]
    )
    parts, at = [], 10240
    for number, (texts, blocks) in enumerate(measurements):
        header = b"".join(
            name.encode() + b"\0" + np.uint32(len(text)).tobytes() + text.encode()
            for name, text in texts.items()
        )
        header = np.array([len(header) + 8, len(texts)], "<u4").tobytes() + header
        body = header + blocks
        table[number] = ((1, 1), at, len(body), MARK.encode(), MARK.encode())
        body += bytes(-len(body) % 512)
        parts.append(body)
        at += len(body)
    head = np.array([0, len(measurements)], "<u4").tobytes() + table.tobytes()
    path.write_bytes(head.ljust(10240, b"\0") + b"".join(parts))
    return path


# --- Pulseq ---


def pulseq_sequence(path: Path, kind: str, n: int = 16, fov: float = 0.16):
    """A small sequence, written, and its k-space in cycles per field of view, ``(3, samples)``.

    "gre": two echoes per line; "epi": ramps sampled, lines to and fro; "radial": spokes over the half circle.
    """
    import pypulseq as pp

    limits = pp.Opts(max_grad=30, grad_unit="mT/m", max_slew=120, slew_unit="T/m/s", adc_dead_time=1e-5)
    sequence = pp.Sequence(limits)
    rf = pp.make_block_pulse(0.1, duration=1e-4, system=limits, use="excitation")
    step = 1 / fov
    if kind == "epi":
        _epi(sequence, limits, rf, n, step)
    else:
        flat = 1e-5 * 10 * n
        read = pp.make_trapezoid("x", system=limits, flat_area=n * step, flat_time=flat)
        adc = pp.make_adc(n, duration=flat, delay=read.rise_time, system=limits)
        back = pp.make_trapezoid("x", system=limits, area=-read.area / 2, duration=2e-3)
        again = pp.make_trapezoid("x", system=limits, area=-read.area, duration=2e-3)
        for line in range(n):
            if kind == "gre":
                up = pp.make_trapezoid("y", system=limits, area=(line - n // 2) * step, duration=2e-3)
                sequence.add_block(rf)
                sequence.add_block(back, up)
                sequence.add_block(read, adc)
                sequence.add_block(again)
                sequence.add_block(read, adc)
            else:
                turned = [pp.rotate(g, angle=np.pi * line / n, axis="z", system=limits) for g in (back, read)]
                sequence.add_block(rf)
                sequence.add_block(*turned[0])
                sequence.add_block(*turned[1], adc)
    sequence.set_definition("FOV", [fov, fov, 0.004])
    sequence.write(str(path))
    return np.asarray(sequence.calculate_kspace()[0]) * fov


def _epi(sequence, limits, rf, n, step):
    import pypulseq as pp

    read = pp.make_trapezoid("x", system=limits, area=n * step, duration=8e-4)
    back = pp.make_trapezoid("x", system=limits, area=-read.area / 2, duration=2e-3)
    fro = pp.scale_grad(read, -1)
    samples = 2 * n + 8
    dwell = np.floor((read.rise_time + read.flat_time + read.fall_time - 4e-5) / samples * 1e7) / 1e7
    adc = pp.make_adc(samples, dwell=dwell, delay=2e-5, system=limits)
    down = pp.make_trapezoid("y", system=limits, area=-(n // 2) * step, duration=2e-3)
    blip = pp.make_trapezoid("y", system=limits, area=step)
    sequence.add_block(rf)
    sequence.add_block(back, down)
    for line in range(n):
        sequence.add_block(fro if line % 2 else read, adc)
        sequence.add_block(blip)


def samples_at(images: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """Exact samples ``(coils, ...)`` of images ``(coils, ny, nx)`` at places ``(2 or 3, ...)``, x first."""
    ny, nx = images.shape[-2:]
    x, y = np.arange(nx) - nx // 2, np.arange(ny) - ny // 2
    kx, ky = cycles[0].ravel(), cycles[1].ravel()
    wave_x, wave_y = (np.exp(-2j * np.pi * np.outer(k, p / len(p))) for k, p in ((kx, x), (ky, y)))
    found = np.einsum("cyx,sy,sx->cs", images, wave_y, wave_x) / np.sqrt(nx * ny)
    return found.reshape(len(images), *cycles.shape[1:])
