"""Siemens twix (.dat): the last measurement as `KSpace`, with the noise and calibration scans around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.cartesian import cartesian_scan
from rayfold.recon.io.files import BadOption, reading
from rayfold.recon.io.lines import Lines, slice_ranks
from rayfold.recon.io.regrid import regridding, trapezoid_positions
from rayfold.recon.io.twix_file import Blocks, Measurement, need, read_measurements
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
COUNTERS = {
    "Sli": "slice",
    "Eco": "echo",
    "Ave": "average",
    "Rep": "repetition",
    "Phs": "phase",
    "Set": "set",
}
# readouts that belong to no image
OTHER = (
    "RTFEEDBACK",
    "HPFEEDBACK",
    "REFPHASESTABSCAN",
    "PHASESTABSCAN",
    "NOISEADJSCAN",
    "PHASCOR",
    "RETRO_DUMMYSCAN",
    "B1_CONTROLLOOP",
    "SLICE_ACCEL_REFSCAN",
    "SLICE_ACCEL_PHASCOR",
)
EMBEDDED = 2  # calibration lines within the image's own train of echoes
# what the protocol of a Pulseq scan states without meaning it: the sequence sets it, and the axes
UNKNOWN = dict.fromkeys(("dwell", "echo_times", "direction", "origin"))
RECEIVER_PASSES = 0.793  # part of a noise scan's bandwidth that the vendor's receiver passes


def read_twix(
    path: Path, *, sequence: str | Path | None = None, reference: str | Path | None = None
) -> KSpace:
    """k-space from a Siemens twix file.

    Parameters
    ----------
    path : Path
        File ending in .dat, of any software version.
    sequence : str or Path, optional
        Pulseq .seq that was run; by default the one of the same name next to the data. Files of the Pulseq
        interpreter only count their readouts, so lines, echoes and trajectory come from it.
    reference : str or Path, optional
        Twix file of the same Pulseq EPI without phase encoding.

    Raises
    ------
    ImportError
        If twixtools (or pypulseq) is not installed, with the command that installs it.
    UnreadableInput
        If the file is incomplete or no twix file.
    InconsistentInput
        If header, data and sequence contradict each other.
    """
    measurements = _measurements(path)
    scan = measurements[-1]
    if not scan.blocks:
        raise InconsistentInput(f"{path.name} holds no readouts; export the scan again")
    beside = path.with_suffix(".seq") if sequence is None else Path(sequence)
    if sequence is not None or (_is_pulseq(scan) and beside.is_file()):
        return _with_sequence(path, scan, beside, reference)
    if reference is not None:
        raise BadOption("reference belongs to a Pulseq EPI; give its sequence with sequence= too")
    return _by_counters(path, measurements)


def _measurements(path: Path) -> list[Measurement]:
    need("twixtools", path.name)
    with reading(path, "Siemens twix"):
        return read_measurements(path)


def _is_pulseq(scan: Measurement) -> bool:
    return "pulseq" in str(scan.protocol["MeasYaps"].get("tSequenceFileName", "")).lower()


def _with_sequence(path: Path, scan: Measurement, beside: Path, reference: str | Path | None) -> KSpace:
    from rayfold.recon.io.pulseq_scan import pulseq_scan
    from rayfold.recon.io.read_pulseq import read_pulseq

    plan = read_pulseq(beside)
    image = _largest(scan)
    facts = _facts(path, scan, image) | UNKNOWN
    spare = None if reference is None else _largest(_measurements(Path(reference))[-1]).samples
    if spare is not None and spare.shape != image.samples.shape:
        raise InconsistentInput(
            f"the reference has the shape {spare.shape}, the data {image.samples.shape} (readouts, coils, "
            "samples); give the same sequence without phase encoding"
        )
    facts["notes"] = (f"lines from the sequence {beside.name}",)
    return pulseq_scan(image.samples, plan, facts, spare)


def _largest(scan: Measurement) -> Blocks:
    """Readouts of the size that most of the data have, without noise."""
    blocks = [block.take(~block.flagged("NOISEADJSCAN")) for block in scan.blocks]
    return max(blocks, key=lambda block: block.samples.size)


def _by_counters(path: Path, measurements: list[Measurement]) -> KSpace:
    scan = measurements[-1]
    yaps = scan.protocol["MeasYaps"]
    notes: list[str] = []
    embedded = _number(yaps, "sPat", "ucRefScanMode", otherwise=EMBEDDED) == EMBEDDED
    image, separate = _image_and_calibration(scan, embedded)
    facts = _facts(path, scan, image)
    lines_y, lines_z = image.counter("Lin"), image.counter("Par")
    ny, ky = _positions(lines_y, image.heads["CenterLin"], yaps, "lPhaseEncodingLines", "lAccelFactPE")
    nz, kz = _positions(lines_z, image.heads["CenterPar"], yaps, "lPartitions", "lAccelFact3D")
    samples = image.samples.shape[-1]
    if _is_pulseq(scan):
        notes.append("a Pulseq scan without its .seq: lines are taken in the order of their counter")
        facts |= UNKNOWN | {"slice_thickness": None}
        nx, start, regrid = samples, 0, None
    else:
        nx, start = _readout(image, 2 * int(_number(yaps, "sKSpace", "lBaseResolution")))
        regrid = _regrid(scan.protocol, samples, nx)
        facts |= _extent(yaps, (nz, ny, nx))
    grid = (nz, ny, nx) if nz > 1 else (ny, nx)
    if nz > 1:
        facts["slice_thickness"] = None
        if facts["direction"] is not None:
            facts["direction"] = facts["direction"] * (1, 1, -1)  # an encoded axis like the others
    rank = slice_ranks(image.counter("Sli"), _positions_mm(image), facts)
    noise = _noise(measurements, image, facts, notes)
    shift_y, shift_z = int(ky[0] - lines_y[0]), int(kz[0] - lines_z[0])

    def lines(block: Blocks | None) -> Lines | None:
        if block is None or not len(block.heads):
            return None
        counters = {ours: block.counter(theirs) for theirs, ours in COUNTERS.items()}
        if rank is not None:
            counters["slice"] = rank[np.minimum(counters["slice"], len(rank) - 1)]
        back = block.flagged("REFLECT")
        turned = block.samples
        if back.any():
            turned = np.where(back[:, None, None], turned[..., ::-1], turned)
        return Lines(turned, counters, block.counter("Lin") + shift_y, block.counter("Par") + shift_z, back)

    placed = lines(image)
    assert placed is not None
    same = [b for b in scan.blocks if b.samples.shape[1:] == image.samples.shape[1:]]
    phase = same[0].take(same[0].flagged("PHASCOR") & ~same[0].flagged("NOISEADJSCAN")) if same else None
    facts |= {"noise": noise, "notes": tuple(notes)}
    calibration = lines(separate)
    if calibration is not None:
        calibration = calibration.take((calibration.ky >= 0) & (calibration.ky < ny))
    return cartesian_scan(
        placed, grid, facts, start=start, reference=lines(phase), calibration=calibration, regrid=regrid
    )


def _image_and_calibration(scan: Measurement, embedded: bool) -> tuple[Blocks, Blocks | None]:
    pictures, extra = [], []
    for block in scan.blocks:
        usable = ~block.flagged(*OTHER)
        patref, both = block.flagged("PATREFSCAN"), block.flagged("PATREFANDIMASCAN")
        calibrating = usable & patref & ~both & (not embedded)
        pictures.append(block.take(usable & ~calibrating))
        extra.append(block.take(usable & patref) if calibrating.any() else None)
    best = max(range(len(pictures)), key=lambda k: pictures[k].samples.size)
    if not len(pictures[best].heads):
        raise InconsistentInput("the last measurement holds no lines of an image; export the image scan")
    return pictures[best], extra[best]


def _positions(
    counter: Array, centres: Array, yaps: Mapping[str, Any], lines: str, factor: str
) -> tuple[int, Array]:
    """Grid size and indices of lines: the centre line lies at ``n // 2``, also under partial Fourier."""
    count, centre = int(counter.max()) + 1, int(centres[0])
    if count == 1:
        return 1, counter
    if centre == 0 or centre >= count:
        return count, counter
    n = 2 * max(centre, count - centre)
    stated = int(_number(yaps, "sKSpace", lines))
    if n < stated < n + 2 * _number(yaps, "sPat", factor, otherwise=1):  # acceleration ends before the edge
        n = stated
    return n, counter + n // 2 - centre


def _readout(image: Blocks, oversampled: int) -> tuple[int, int]:
    """Matrix along kx, and where its first sample lies: an asymmetric echo is shorter than the matrix."""
    samples = image.samples.shape[-1]
    if samples >= oversampled or samples <= oversampled // 2:
        return samples, 0
    start = oversampled // 2 - int(image.heads["CenterCol"][0])
    return (oversampled, start) if 0 <= start <= oversampled - samples else (samples, 0)


def _extent(yaps: Mapping[str, Any], grid: tuple[int, int, int]) -> dict[str, Any]:
    """Field of view of the encoding, and the central part of it that was asked for."""
    first = yaps.get("sSliceArray", {}).get("asSlice", [{}])[0]
    base = int(_number(yaps, "sKSpace", "lBaseResolution"))
    over_y = 1 + _number(yaps, "sKSpace", "dPhaseOversamplingForDialog")
    over_z = 1 + _number(yaps, "sKSpace", "dSliceOversamplingForDialog")
    nz, ny, nx = grid
    over_x = 2 if nx == 2 * base else 1
    sizes = [(nz, over_z, "dThickness"), (ny, over_y, "dPhaseFOV"), (nx, over_x, "dReadoutFOV")][nz == 1 :]
    lengths = [_number(first, name) * over for _, over, name in sizes]
    crop = tuple(round(n / over) for n, over, _ in sizes)
    return {
        "field_of_view": tuple(lengths) if min(lengths) > 0 else None,
        "crop": crop if crop != tuple(n for n, _, _ in sizes) else None,
    }


def _facts(path: Path, scan: Measurement, image: Blocks) -> dict[str, Any]:
    yaps = scan.protocol["MeasYaps"]
    echoes = int(_number(yaps, "lContrasts", otherwise=1))
    times = [t for t in yaps.get("alTE", ())[:echoes] if isinstance(t, int | float)]
    thickness = _number(yaps.get("sSliceArray", {}).get("asSlice", [{}])[0], "dThickness")
    strength = _number(yaps, "sProtConsistencyInfo", "flNominalB0")
    rotation = _rotation(image.heads["SliceData"]["Quaternion"][0])
    return {
        "slice_thickness": thickness or None,
        "direction": rotation,
        "origin": None if rotation is None else tuple(map(float, _positions_mm(image)[0])),
        "echo_times": tuple(t / 1000 for t in times) or None,
        "dwell": image.dwell,
        "field_strength": strength or None,
        "path": path.name,
        "source": "Siemens twix",
    }


def _positions_mm(image: Blocks) -> Array:
    place = image.heads["SliceData"]["SlicePos"]
    return np.stack([place[name] for name in ("Sag", "Cor", "Tra")], axis=1).astype(float)


def _rotation(quaternion: Array) -> Array | None:
    """Directions of image x (readout), y (phase), z from the line header; None where it holds none.

    The quaternion turns (phase, read, slice) into the patient's frame. The vendor's receiver has the other
    sign of frequency, so that an inverse transform shows both in-plane axes backwards.
    """
    w, x, y, z = map(float, quaternion)
    if abs(w * w + x * x + y * y + z * z - 1) > 1e-3:
        return None
    phase = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    read = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    through = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
    return np.stack([-np.array(read), -np.array(phase), np.array(through)], axis=1)


def _noise(
    measurements: list[Measurement], image: Blocks, facts: dict[str, Any], notes: list[str]
) -> Array | None:
    """Noise samples ``(coils, n)`` of the last noise scan, at the bandwidth of the data."""
    for scan in reversed(measurements):
        for block in scan.blocks:
            which = block.flagged("NOISEADJSCAN")
            if not which.any():
                continue
            raw = block.samples[which]
            if raw.shape[1] != image.samples.shape[1]:
                notes.append(
                    f"the noise scan has {raw.shape[1]} coils, not those of the data; it is left out"
                )
                continue
            samples = np.moveaxis(raw, 1, 0).reshape(raw.shape[1], -1)
            if facts["dwell"] is None:
                return samples
            # the protocol does not state the dwell time of the noise scan; it follows from its length
            n = raw.shape[-1]
            dwell = (int(76800 / n) / 10 if scan.ve else 1e7 / n / 130) / 1000
            notes.append(
                "noise scaled to the bandwidth of the data by the vendor's dwell time of noise scans"
            )
            return samples * np.float32(np.sqrt(dwell / (facts["dwell"] * RECEIVER_PASSES)))
    return None


def _regrid(protocol: Mapping[str, Any], samples: int, nx: int) -> Array | None:
    """Matrix that undoes sampling on the ramps of an EPI readout, None where the plateau was sampled."""
    facts = protocol.get("Meas", {})
    if _first(facts, "alRegridMode") not in (2.0, 4.0):  # trapezoid; 1 is none
        return None
    up, flat, down, delay, total = (
        _first(facts, name)
        for name in (
            "alRegridRampupTime",
            "alRegridFlattopTime",
            "alRegridRampdownTime",
            "alRegridDelaySamplesTime",
            "aflRegridADCDuration",
        )
    )
    if total <= 0 or flat <= 0 or (delay >= up and delay + total <= up + flat):
        return None
    try:
        return regridding(trapezoid_positions(samples, total / samples, delay, up, flat, down), nx)
    except ValueError as error:
        raise InconsistentInput(str(error)) from None


def _first(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name, 0)
    if isinstance(value, list | tuple):
        value = value[0] if value else 0
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _number(node: Any, *names: str, otherwise: float = 0.0) -> float:
    """A number deep in the protocol."""
    for name in names:
        if not isinstance(node, Mapping) or name not in node:
            return otherwise
        node = node[name]
    try:
        return float(int(node, 16) if isinstance(node, str) and node.startswith("0x") else node)
    except (TypeError, ValueError):
        return otherwise
