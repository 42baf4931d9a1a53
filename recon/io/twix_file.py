"""Siemens twix: headers through twixtools, and the readouts of a measurement in bulk.

A file holds measurements (adjustments first, the image last), each a text header and then blocks: a line
header with flags and counters, and the samples of every channel. The text header also names the person; only
single values of its protocol part are ever taken out.
"""

from __future__ import annotations

import io
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import UnreadableInput

Array = npt.NDArray[Any]
LENGTH_BITS = 25


@dataclass(frozen=True, eq=False)
class Blocks:
    """Readouts of one size of one measurement, in the order measured.

    Parameters
    ----------
    heads : ndarray, (n,)
        Line headers as a structured array.
    samples : ndarray, (n, coils, samples)
        complex64.
    dwell : float or None
        Time between samples in ms.
    first : ndarray of int, (n,)
        Number of each block in its measurement.
    """

    heads: Array
    samples: Array
    dwell: float | None
    first: Array

    def flagged(self, *names: str) -> Array:
        """Which readouts carry any of the flags."""
        mask = need("twixtools.mdh_def", "twix").mask_dict
        bits = np.uint64(sum(1 << mask[name] for name in names))
        return np.asarray((self.heads["EvalInfoMask"] & bits) != 0)

    def counter(self, name: str) -> Array:
        """A counter as integers."""
        return np.asarray(self.heads["Counter"][name]).astype(int)

    def take(self, which: Array) -> Blocks:
        """Some of the readouts, by mask."""
        return Blocks(self.heads[which], self.samples[which], self.dwell, self.first[which])


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement of a file: protocol values and readouts by size."""

    protocol: Mapping[str, Any]
    ve: bool
    blocks: tuple[Blocks, ...]


def read_measurements(path: Path) -> list[Measurement]:
    """All measurements of a twix file.

    Parameters
    ----------
    path : Path
        File ending in .dat.

    Returns
    -------
    list of Measurement
        The last one is the image scan.

    Raises
    ------
    UnreadableInput
        If the file ends early or is no twix file.
    """
    twixtools = need("twixtools", path.name)
    layout = need("twixtools.mdh_def", path.name)
    content = np.memmap(path, np.uint8, "r")
    ve, places = _measurements(path, content)
    with tidy(), redirect_stdout(io.StringIO()):  # it prints what it meets
        headers = twixtools.read_twix(
            str(path), parse_data=False, parse_pmu=False, parse_geometry=False, verbose=False
        )
    kind = np.dtype(layout.Scan_header if ve else layout.VB17_header)
    found = []
    for (start, stop), header in zip(places, headers, strict=True):
        protocol = header.get("hdr") or {}
        if "MeasYaps" not in protocol:
            raise UnreadableInput(f"{path.name} has no protocol in its header; it is damaged, copy it again")
        blocks = tuple(_blocks(path, content, start, stop, kind, ve, dwell_of(protocol)))
        found.append(Measurement(protocol, ve, blocks))
    return found


def need(package: str, name: str) -> Any:
    """A module of an optional package, or an ImportError that says how to install it.

    Parameters
    ----------
    package : str
        Module to import.
    name : str
        File that needs it.

    Examples
    --------
    >>> need("math", "scan.dat").pi
    3.141592653589793
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(
            f"reading {name} needs {package.partition('.')[0]}; install it with: pip install 'rayfold[mri]'"
        ) from error


@contextmanager
def tidy() -> Iterator[None]:
    """Close what a library leaves open when it fails, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            raise


def dwell_of(protocol: Mapping[str, Any]) -> float | None:
    """Time between samples in ms as the protocol states it, with the readout oversampling counted."""
    times = protocol["MeasYaps"].get("sRXSPEC", {}).get("alDwellTime", ())
    return float(times[0]) / 1e6 if times and isinstance(times[0], int | float) and times[0] > 0 else None


def looks_like_twix(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a twix file (VB, or VD and later)."""
    if len(head) < 16:
        return False
    first, second = (int.from_bytes(head[at : at + 4], "little") for at in (0, 4))
    if first < 10000 and 1 <= second <= 64:  # table of measurements
        return True
    # a single header: its length, the number of its parts, and the name of the first part
    name = head[8:20].split(b"\0")[0]
    return 1 <= second <= 32 and first < 2**28 and len(name) >= 4 and name.isalnum()


def _measurements(path: Path, content: Array) -> tuple[bool, list[tuple[int, int]]]:
    """Where the blocks of every measurement begin, and where the measurement ends."""
    size = len(content)
    if not looks_like_twix(content[:64].tobytes()):
        raise UnreadableInput(
            f"{path.name} is not a Siemens twix file; give the .dat that the scanner exported"
        )
    first, count = np.frombuffer(content[:8].tobytes(), "<u4").tolist()
    ve = first < 10000 and count <= 64
    spans = [(0, size)]
    if ve:
        table = np.frombuffer(content[8 : 8 + 152 * count].tobytes(), "<u4")
        if len(table) < 38 * count:
            raise _short(path)
        entries = table.reshape(count, 38)[:, 2:6].copy().view("<u8").tolist()
        spans = [(at, size if length == 0 and count == 1 else at + length) for at, length in entries]
    places = []
    for at, end in spans:
        if at + 4 > size or end > size + 512:  # the last measurement is padded to 512 bytes
            raise _short(path)
        header = int(np.frombuffer(content[at : at + 4].tobytes(), "<u4")[0])
        if at + header > size:
            raise _short(path)
        places.append((at + header, min(end, size)))
    return ve, places


def _blocks(
    path: Path, content: Array, start: int, stop: int, kind: np.dtype[Any], ve: bool, dwell: float | None
) -> Iterator[Blocks]:
    """Readouts of a measurement, one `Blocks` per size."""
    layout = need("twixtools.mdh_def", path.name)
    mask_dict = layout.mask_dict
    channel = np.dtype(layout.Channel_header).itemsize if ve else kind.itemsize
    ends, skipped = 1 << mask_dict["ACQEND"], 1 << mask_dict["SYNCDATA"]
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}
    at, number, ended = start, 0, False
    while at + kind.itemsize <= stop:
        head = np.frombuffer(content[at : at + kind.itemsize].tobytes(), kind)[0]
        flags, length = int(head["EvalInfoMask"]), int(head["FlagsAndDMALength"]) % 2**LENGTH_BITS
        if flags & ends:
            ended = True
            break
        if not flags & skipped:
            samples, coils = int(head["SamplesInScan"]), int(head["UsedChannels"])
            # not the stated length, which is wrong in packed files
            length = coils * (channel + 8 * samples) + (kind.itemsize if ve else 0)
            if samples == 0 or coils == 0:
                raise UnreadableInput(
                    f"{path.name} holds an empty readout; the file is damaged, copy it again"
                )
            if at + length > stop:
                raise _short(path)
            places.setdefault((coils, samples), []).append((at, number))
            number += 1
        if length < kind.itemsize:
            raise UnreadableInput(
                f"{path.name} holds a block without length; the file is damaged, copy it again"
            )
        at += length
    if not ended and not any(
        int(np.frombuffer(content[block[-1][0] :][: kind.itemsize].tobytes(), kind)[0]["EvalInfoMask"])
        & 1 << mask_dict["LASTSCANINMEAS"]
        for block in places.values()
    ):
        raise _short(path)
    for (coils, samples), found in places.items():
        row = np.dtype([("skip", f"V{channel}"), ("data", "<c8", (samples,))])
        whole = np.dtype(
            [("head", kind), ("channels", row, (coils,))] if ve else [("channels", row, (coils,))]
        )
        offsets = np.array([place for place, _ in found])
        picked = _gather(content, offsets, whole)
        values = np.ascontiguousarray(picked["channels"]["data"])
        heads = _gather(content, offsets, kind)
        yield Blocks(heads, values, dwell, np.array([k for _, k in found]))


def _gather(content: Array, offsets: Array, kind: np.dtype[Any]) -> Array:
    """Records of one type at `offsets`; a run of evenly spaced ones is one copy."""
    step = np.diff(offsets)
    if len(step) and (step == step[0]).all():
        rows = np.lib.stride_tricks.as_strided(
            content[offsets[0] :], (len(offsets), kind.itemsize), (int(step[0]), 1), writeable=False
        )
        return np.ascontiguousarray(rows).view(kind)[:, 0]
    out = np.empty((len(offsets), kind.itemsize), np.uint8)
    for k, at in enumerate(offsets):
        out[k] = content[at : at + kind.itemsize]
    return out.view(kind)[:, 0]


def _short(path: Path) -> UnreadableInput:
    return UnreadableInput(f"{path.name} ends before its measurement does; it is incomplete, copy it again")
