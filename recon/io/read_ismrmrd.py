"""ISMRMRD (MRD) HDF5 of the ISMRM: one table of readouts, each with flags and counters, and an XML header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.cartesian import cartesian_scan, oversampling
from rayfold.recon.io.hdf5 import checked, open_hdf5
from rayfold.recon.io.lines import Lines, slice_ranks
from rayfold.recon.io.mrd_header import MrdHeader, parse_mrd_header
from rayfold.recon.io.regrid import regridding, trapezoid_positions
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
# bit of each flag, as the format numbers them (from 1)
NOISE, CALIBRATION, CALIBRATION_AND_IMAGE, REVERSE, NAVIGATION, PHASE_CORRECTION = 19, 20, 21, 22, 23, 24
OTHER = (26, 27, 28, 29, 30, 31)  # feedback, dummies, surface-coil correction, phase stabilisation
AXES = {
    "slice": "slice",
    "contrast": "echo",
    "average": "average",
    "repetition": "repetition",
    "phase": "phase",
    "set": "set",
}


def is_ismrmrd(file: Any) -> str | None:
    """Name of the group of an open HDF5 file that holds an ISMRMRD data set, or None."""
    import h5py

    for name, node in file.items():
        if isinstance(node, h5py.Group) and "xml" in node and "data" in node:
            fields = node["data"].dtype.names if isinstance(node["data"], h5py.Dataset) else None
            if fields and {"head", "data"} <= set(fields):
                return str(name)
    return None


def read_ismrmrd(path: Path) -> KSpace:
    """k-space from an ISMRMRD file.

    Parameters
    ----------
    path : Path
        HDF5 file with a group that holds "xml" and "data".

    Raises
    ------
    UnreadableInput
        If the file is damaged.
    InconsistentInput
        If header and data contradict each other.
    """
    with open_hdf5(path, "ISMRMRD") as file:
        group = is_ismrmrd(file)
        if group is None:
            raise UnreadableInput(f"{path.name} holds no ISMRMRD data set; open it with load")
        xml = np.ravel(checked(file[group]["xml"])[()])[0]
        # the whole table at once: a library call per readout takes most of the time otherwise
        table = checked(file[group]["data"])[()]
        header = parse_mrd_header(xml)
        if not len(table):
            raise InconsistentInput(f"{path.name} holds no readouts; export the scan again")
        return _Table(table, header).scan(path.name)


@dataclass(frozen=True, eq=False)
class _Table:
    rows: Array
    header: MrdHeader

    @property
    def heads(self) -> Array:
        return np.asarray(self.rows["head"])

    def marked(self, *bits: int) -> Array:
        mask = np.uint64(sum(1 << (bit - 1) for bit in bits))
        return np.asarray((self.heads["flags"] & mask) != 0)

    def scan(self, name: str) -> KSpace:
        heads, header, notes = self.heads, self.header, []
        noise_rows = self.marked(NOISE)
        image = ~(noise_rows | self.marked(NAVIGATION, PHASE_CORRECTION, *OTHER))
        separate = self.marked(CALIBRATION) & ~self.marked(CALIBRATION_AND_IMAGE) & image
        if header.calibration == "embedded" and separate.any():
            separate[:] = False  # the same readouts as the image's: they are used as data
            notes.append("embedded calibration lines are part of the data")
        calibrating = image & self.marked(CALIBRATION, CALIBRATION_AND_IMAGE) & separate.any()
        image &= ~separate
        if not image.any():
            raise InconsistentInput(
                "the file holds no lines of an image, only adjustments; choose another file"
            )
        space = heads["encoding_space_ref"]
        if (other := image & (space != space[image][0])).any():
            notes.append(f"{int(other.sum())} readouts of further encoding spaces are left out")
            image &= ~other
        grid = _grid(header)
        facts = self._facts(name, image, grid, notes)
        if noise_rows.any():
            facts["noise"] = self._noise(noise_rows, image)
        slices = heads["idx"]["slice"][image].astype(int)
        positions = slice_ranks(slices, heads["position"][image].astype(float), facts)
        if heads["trajectory_dimensions"][image].max() > 0 and header.trajectory not in ("cartesian", "epi"):
            return self._along_trajectory(image, grid, facts, positions)
        lines = self._lines(image, positions)
        return cartesian_scan(
            lines,
            grid,
            facts,
            start=self._start(image, grid[-1]),
            reference=self._lines(self.marked(PHASE_CORRECTION) & ~noise_rows, positions),
            calibration=self._lines(calibrating, positions),
            regrid=self._regrid(lines.samples.shape[-1], grid[-1]),
        )

    def _facts(self, name: str, image: Array, grid: tuple[int, ...], notes: list[str]) -> dict[str, Any]:
        header, first = self.header, self.heads[image][0]
        ndim = len(grid)
        encoded_mm = tuple(reversed(header.encoded_mm))[-ndim:]
        kept = tuple(reversed(header.recon))[-ndim:]
        kept_mm = tuple(reversed(header.recon_mm))[-ndim:]
        axes = np.stack([first[f"{of}_dir"] for of in ("read", "phase", "slice")], axis=1).astype(float)
        oriented = bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-3))
        if "siemens" in header.vendor:
            # its directions belong to the other sign of the transform: encoded axes run backwards
            axes[:, :ndim] *= -1
        dwell = float(first["sample_time_us"]) / 1000
        return {
            "crop": oversampling(grid, encoded_mm, kept, kept_mm),
            "field_of_view": encoded_mm if min(encoded_mm) > 0 else None,
            "slice_thickness": (header.encoded_mm[2] or None) if ndim == 2 else None,
            "direction": axes if oriented else None,
            "origin": tuple(map(float, first["position"])) if oriented else None,
            "echo_times": header.echo_times or None,
            "dwell": dwell if dwell > 0 else None,
            "field_strength": header.field_strength,
            "path": name,
            "source": "ISMRMRD",
            "notes": tuple(notes),
        }

    def _samples(self, which: Array) -> Array:
        """Complex samples ``(n, coils, samples)``, turned round where reversed, discarded ones cut off."""
        rows, heads = self.rows["data"][which], self.heads[which]
        shape = [(int(h), int(c)) for h, c in np.unique(_sizes(heads), axis=0)]
        if len(shape) > 1:
            text = ", ".join(f"{c} coils x {n}" for n, c in shape[:3])
            raise InconsistentInput(f"readouts differ in size ({text}); export one measurement per file")
        n, coils = shape[0]
        wrong = [len(row) for row in rows if len(row) != 2 * n * coils]
        if wrong:
            raise InconsistentInput(
                f"a readout stores {wrong[0]} numbers, its header says {coils} coils x {n} samples; "
                "the file is damaged, copy it again"
            )
        flat = np.concatenate(list(rows)).astype(np.float32, copy=False)
        samples = flat.view(np.complex64).reshape(len(rows), coils, n)
        before, after = int(heads["discard_pre"].max()), int(heads["discard_post"].max())
        if before + after >= n:
            raise InconsistentInput(
                f"all {n} samples of a readout are to be discarded; export the scan again"
            )
        samples = samples[..., before : n - after]
        back = self.marked(REVERSE)[which]
        if back.any():
            samples = samples.copy()
            samples[back] = samples[back, :, ::-1]
        return samples

    def _lines(self, which: Array, rank: Array | None) -> Lines:
        if not which.any():
            none = np.zeros(0, int)
            return Lines(
                np.zeros((0, 1, 1), np.complex64), dict.fromkeys(AXES.values(), none), none, none, none > 0
            )
        index = self.heads[which]["idx"]
        counters = {ours: index[theirs].astype(int) for theirs, ours in AXES.items()}
        if rank is not None:
            counters["slice"] = rank[np.minimum(counters["slice"], len(rank) - 1)]
        ky, kz = (
            index[step].astype(int) + _shift(self.header, axis, n)
            for step, axis, n in (
                ("kspace_encode_step_1", "ky", self.header.encoded[1]),
                ("kspace_encode_step_2", "kz", self.header.encoded[2]),
            )
        )
        return Lines(self._samples(which), counters, ky, kz, self.marked(REVERSE)[which])

    def _start(self, image: Array, nx: int) -> int:
        """Index along kx of the first kept sample: an asymmetric echo is shorter than the matrix."""
        head = self.heads[image][~self.marked(REVERSE)[image]]
        head = (head if len(head) else self.heads[image])[0]
        kept = int(head["number_of_samples"]) - int(head["discard_pre"]) - int(head["discard_post"])
        if kept >= nx:
            return 0
        return nx // 2 - (int(head["center_sample"]) - int(head["discard_pre"]))

    def _regrid(self, samples: int, nx: int) -> Array | None:
        times, header = self.header.readout, self.header
        names = ("acqDelayTime", "rampUpTime", "flatTopTime", "rampDownTime")
        if header.trajectory != "epi" or not all(name in times for name in names) or "dwellTime" not in times:
            return None
        delay, up, flat, down = (times[name] for name in names)
        if delay >= up and delay + samples * times["dwellTime"] <= up + flat:
            return None  # only the plateau was sampled
        try:
            return regridding(trapezoid_positions(samples, times["dwellTime"], delay, up, flat, down), nx)
        except ValueError as error:
            raise InconsistentInput(str(error)) from None

    def _noise(self, noise_rows: Array, image: Array) -> Array:
        """Noise samples ``(coils, n)`` at the bandwidth of the data.

        Noise power per sample is inverse to the dwell time, and a receiver's filter passes only a part of the
        nominal bandwidth of the noise scan.
        """
        raw = self._samples(noise_rows)
        samples = np.moveaxis(raw, 1, 0).reshape(raw.shape[1], -1)
        ours, theirs = (float(self.heads[rows]["sample_time_us"][0]) for rows in (image, noise_rows))
        if min(ours, theirs, self.header.noise_bandwidth) <= 0:
            return samples
        return samples * np.float32(np.sqrt(theirs / (ours * self.header.noise_bandwidth)))

    def _along_trajectory(
        self, image: Array, grid: tuple[int, ...], facts: dict[str, Any], rank: Array | None
    ) -> KSpace:
        from rayfold.recon.io.shots import shots_scan, to_radians

        lines, heads = self._lines(image, rank), self.heads[image]
        columns = int(heads["trajectory_dimensions"].max())
        n = int(heads["number_of_samples"][0])
        before, after = int(heads["discard_pre"].max()), int(heads["discard_post"].max())
        stored = self.rows["traj"][image]
        wrong = [len(row) for row in stored if len(row) != n * columns]
        if wrong:
            raise InconsistentInput(
                f"a readout stores {wrong[0]} numbers of trajectory, its header says {n} x {columns}; "
                "the file is damaged, copy it again"
            )
        places = np.concatenate(list(stored)).reshape(len(stored), n, columns)[:, before : n - after]
        back = self.marked(REVERSE)[image]
        places[back] = places[back, ::-1]
        # columns are kx, ky, (kz or, in 2D, density weights)
        places, note = to_radians(places[..., : min(columns, len(grid))].astype(float), grid)
        if len(grid) == 3 and columns == 2:  # a stack: Cartesian along kz
            kz = 2 * np.pi * (lines.kz - grid[0] // 2) / grid[0]
            places = np.concatenate([np.broadcast_to(kz[:, None, None], (*places.shape[:2], 1)), places], -1)
        facts["notes"] = (*facts["notes"], note)
        return shots_scan(lines, places, grid, facts)


def _sizes(heads: Array) -> Array:
    return np.stack([heads["number_of_samples"], heads["active_channels"]], axis=1)


def _grid(header: MrdHeader) -> tuple[int, ...]:
    nx, ny, nz = header.encoded
    if min(nx, ny) < 1 or nx > 2**16 or ny > 2**16 or nz > 2**16:
        raise InconsistentInput(f"the header's matrix is {nx} x {ny} x {nz}; export the scan again")
    return (nz, ny, nx) if nz > 1 else (ny, nx)


def _shift(header: MrdHeader, axis: str, n: int) -> int:
    """What turns a counter into a grid index: the limits' centre lies at ``n // 2``."""
    if axis not in header.limits:
        return 0
    low, high, centre = header.limits[axis]
    return 0 if high <= low else n // 2 - centre
