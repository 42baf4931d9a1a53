"""Pulseq sequences (.seq): where every sample of every readout lies in k-space, and what its labels say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.files import reading
from rayfold.recon.io.twix_file import need, tidy

Array = npt.NDArray[Any]
LABELS = {"SLC": "slice", "ECO": "echo", "AVG": "average", "REP": "repetition", "PHS": "phase", "SET": "set"}
FLAGS = ("NAV", "REF", "NOISE")


@dataclass(frozen=True, eq=False)
class PulseqReadouts:
    """What a sequence file says about its readouts.

    Parameters
    ----------
    places : ndarray, (3, samples)
        k-space of all samples in cycles per field of view, rows x, y, z of the sequence.
    lengths : ndarray of int, (readouts,)
        Samples of every readout.
    shots : ndarray of int, (readouts,)
        Number of the excitation before every readout.
    times : ndarray, (samples,)
        Time since that excitation in ms.
    dwell : float
        Time between samples in ms, of the first readout.
    field_of_view : tuple of float, (x, y, z)
        In mm.
    labels : mapping of str to ndarray, (readouts,)
        Labels of the format that are in use.
    """

    places: Array
    lengths: Array
    shots: Array
    times: Array
    dwell: float
    field_of_view: tuple[float, float, float]
    labels: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)


def read_pulseq(path: str | Path) -> PulseqReadouts:
    """Readouts of a Pulseq sequence.

    Parameters
    ----------
    path : str or Path
        File ending in .seq.

    Returns
    -------
    PulseqReadouts
        Places, times and labels.

    Raises
    ------
    ImportError
        If pypulseq is not installed, with the command that installs it.
    UnreadableInput
        If the file is missing or no sequence.
    InconsistentInput
        If it has no readouts or states no field of view.
    """
    path = Path(path)
    pypulseq = need("pypulseq", path.name)
    with reading(path, "a Pulseq sequence"):
        sequence = pypulseq.Sequence()
        with tidy():
            sequence.read(str(path))
        readouts = [
            block.adc
            for number in sequence.block_events
            if getattr(block := sequence.get_block(number), "adc", None) is not None
        ]
        if not readouts:
            raise InconsistentInput(f"{path.name} has no readouts; give the sequence that was run")
        moment, _, excited, _, at = sequence.calculate_kspace()
        labels = sequence.evaluate_labels(evolution="adc") or {}
        extent = _field_of_view(path, sequence.definitions)
    lengths = np.array([int(adc.num_samples) for adc in readouts])
    at, excited = np.asarray(at, float), np.sort(np.asarray(excited, float))
    first = at[np.cumsum(lengths) - lengths]
    shots = np.maximum(np.searchsorted(excited, first, side="right") - 1, 0)
    since = excited[shots] if len(excited) else np.zeros(len(shots))
    return PulseqReadouts(
        places=np.asarray(moment, float) * np.array(extent)[:, None],
        lengths=lengths,
        shots=shots,
        times=1000 * (at - np.repeat(since, lengths)),
        dwell=1000 * float(readouts[0].dwell),
        field_of_view=(1000 * extent[0], 1000 * extent[1], 1000 * extent[2]),
        labels={name: np.asarray(value).astype(int) for name, value in labels.items()},
    )


def _field_of_view(path: Path, definitions: Mapping[str, Any]) -> tuple[float, float, float]:
    """In m; a few writers state mm."""
    stated = np.atleast_1d(np.asarray(definitions.get("FOV", ()), float))
    if stated.shape != (3,) or not (stated > 0).all():
        raise InconsistentInput(
            f"{path.name} defines no FOV; add 'FOV 0.256 0.256 0.003' (m) under its [DEFINITIONS]"
        )
    x, y, z = stated / (1000 if stated.max() > 5 else 1)
    return float(x), float(y), float(z)
