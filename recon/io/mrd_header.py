"""The ISMRMRD (MRD) XML header, only what describes the measurement: nothing of person or place is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from rayfold.recon.errors import UnreadableInput

STEPS = {"kspace_encoding_step_1": "ky", "kspace_encoding_step_2": "kz"}


@dataclass(frozen=True)
class MrdHeader:
    """Facts of one encoding space.

    Parameters
    ----------
    encoded, recon : tuple of int, (x, y, z)
        Matrix sizes.
    encoded_mm, recon_mm : tuple of float, (x, y, z)
        Fields of view, zeros where not stated.
    limits : dict of str to (minimum, maximum, centre)
        Encoding limits of "ky" and "kz", where stated.
    trajectory : str
        "cartesian", "epi", "radial", ...
    calibration : str
        "embedded", "separate", ... or "".
    echo_times : tuple of float
        In ms.
    field_strength : float or None
        In T.
    noise_bandwidth : float
        Relative receiver noise bandwidth, 1 where not stated.
    vendor : str
        Maker of the scanner, in lower case.
    readout : dict of str to float
        Numbers of the trajectory description (times of an EPI readout in microseconds).
    """

    encoded: tuple[int, int, int]
    recon: tuple[int, int, int]
    encoded_mm: tuple[float, float, float]
    recon_mm: tuple[float, float, float]
    limits: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    trajectory: str = "cartesian"
    calibration: str = ""
    echo_times: tuple[float, ...] = ()
    field_strength: float | None = None
    noise_bandwidth: float = 1.0
    vendor: str = ""
    readout: dict[str, float] = field(default_factory=dict)


def parse_mrd_header(text: str | bytes) -> MrdHeader:
    """Header of the first encoding space.

    Parameters
    ----------
    text : str or bytes
        The XML document; files that are close to the schema (fastMRI, M4Raw) are read too.

    Raises
    ------
    UnreadableInput
        If it is no XML or states no matrix.

    Examples
    --------
    >>> size = "<matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>"
    >>> spaces = f"<encodedSpace>{size}</encodedSpace><reconSpace>{size}</reconSpace>"
    >>> parse_mrd_header(f"<ismrmrdHeader><encoding>{spaces}</encoding></ismrmrdHeader>").encoded
    (8, 6, 1)
    """
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        # the parser's message would quote nothing of the document, only a place in it
        raise UnreadableInput("its header is not XML; the file is damaged, copy it again") from error
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    encoding = root.find("encoding")
    if encoding is None or encoding.find("encodedSpace/matrixSize") is None:
        raise UnreadableInput("its header states no encoded matrix; export the scan again")
    encoded = _triple(encoding, "encodedSpace/matrixSize", int)
    recon = (
        _triple(encoding, "reconSpace/matrixSize", int)
        if encoding.find("reconSpace") is not None
        else encoded
    )
    limits = {}
    for step, name in STEPS.items():
        limit = encoding.find(f"encodingLimits/{step}")
        if limit is not None:
            low, high, centre = (int(_number(limit, part, 0)) for part in ("minimum", "maximum", "center"))
            limits[name] = (low, high, centre)
    strength = _number(root, "acquisitionSystemInformation/systemFieldStrength_T", 0)
    return MrdHeader(
        encoded=encoded,
        recon=recon,
        encoded_mm=_triple(encoding, "encodedSpace/fieldOfView_mm", float),
        recon_mm=_triple(encoding, "reconSpace/fieldOfView_mm", float),
        limits=limits,
        trajectory=(encoding.findtext("trajectory") or "cartesian").strip().lower(),
        calibration=(encoding.findtext("parallelImaging/calibrationMode") or "").strip().lower(),
        echo_times=tuple(_number(te, ".", 0) for te in root.findall("sequenceParameters/TE")),
        field_strength=strength or None,
        noise_bandwidth=_number(root, "acquisitionSystemInformation/relativeReceiverNoiseBandwidth", 1.0),
        vendor=(root.findtext("acquisitionSystemInformation/systemVendor") or "").strip().lower(),
        readout=_readout(encoding),
    )


def _triple(node: Any, place: str, kind: Any) -> Any:
    return tuple(kind(_number(node, f"{place}/{axis}", 0)) for axis in "xyz")


def _number(node: Any, place: str, otherwise: float) -> float:
    try:
        return float(node.findtext(place) or otherwise)
    except ValueError:
        raise UnreadableInput(
            f"its header has no number at {place}; the file is damaged, copy it again"
        ) from None


def _readout(encoding: Any) -> dict[str, float]:
    """Numbers of the trajectory description by name."""
    found = {}
    for node in encoding.iterfind("trajectoryDescription/*"):
        if node.tag in ("userParameterLong", "userParameterDouble"):
            found[(node.findtext("name") or "").strip()] = _number(node, "value", 0)
    return found
