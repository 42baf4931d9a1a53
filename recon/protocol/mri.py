"""MRI protocols: sampling, coils, noise and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from rayfold.operators import FFT, NUFFT, CartesianMask, CoilSensitivities, LinearOperator, Volume
from rayfold.operators.dispatch import match, namespace
from rayfold.operators.noise import Gaussian
from rayfold.recon.kspace import KSpace
from rayfold.recon.problem import Problem
from rayfold.recon.protocol import sampling
from rayfold.recon.protocol.facts import fact, settle
from rayfold.recon.protocol.protocol import Protocol

Array = Any
PATTERNS = tuple(sampling.PATTERNS)


@dataclass(frozen=True, repr=False)
class MRIProtocol(Protocol):
    """An MRI acquisition of one slice. Lengths in mm, times in ms, as the names say.

    Parameters
    ----------
    name : str
        For tables and pictures.
    pattern : str
        Lines along kx: "full", "equispaced", "random", "gaussian", "partial-fourier"; points of two phase
        encodings: "poisson"; off the grid: "radial", "golden-radial", "spiral". Each takes some of the next
        fields, see the functions of its name in `rayfold.recon.trajectories`.
    acceleration : float, optional
        R of a mask.
    calibration : int, optional
        Measured lines (points per axis) in the middle.
    fraction : float, optional
        Part of k-space measured by "partial-fourier".
    shots : int, optional
        Spokes or interleaves.
    samples : int, optional
        Samples of a spoke; by default twice the matrix.
    density : float, optional
        Turns of a spiral relative to Nyquist; 1 by default.
    pattern_seed : int, optional
        Of random masks; 0 by default.
    matrix : (int, int)
        Image grid (ny, nx).
    field_of_view_mm : (float, float)
        Its size.
    coils : int
        Loops around the object, see `rayfold.recon.mri.loop_coils`; 1 for a coil that sees all alike.
    snr : float
        Largest magnitude of the image over the standard deviation of the noise of one coil in one average,
        of the real and of the imaginary part each. Coils have independent noise.
    averages : int
        Repetitions; noise falls as their square root.
    tr_ms, te_ms : float
        Repetition and echo time; contrast is that of the image that is given.
    dwell_ms : float
        Time between samples.

    Raises
    ------
    ValueError
        If a value is out of range, or values contradict each other, with the cure.

    Examples
    --------
    >>> p = MRIProtocol(pattern="equispaced", acceleration=4, calibration=16, coils=8)
    >>> p
    MRIProtocol(pattern='equispaced', acceleration=4.0, calibration=16, coils=8)
    >>> p.operator().out_shape, p.scan_time / MRIProtocol().scan_time
    ((8, 128, 128), 0.34375)
    """

    name: str = fact("", "", "name in tables and pictures", "text")
    pattern: str = fact("full", "sampling", f"one of {', '.join(PATTERNS)}", "text", choices=PATTERNS)
    acceleration: float | None = fact(None, "sampling", "R of a mask", low=1)
    calibration: int | None = fact(None, "sampling", "measured lines in the middle", "whole", low=0)
    fraction: float | None = fact(None, "sampling", "measured part, above 0.5", low=0.5, above=True, high=1)
    shots: int | None = fact(None, "sampling", "spokes or interleaves", "whole", low=1, high=1e6)
    samples: int | None = fact(None, "sampling", "of a spoke; default twice the matrix", "whole", low=2)
    density: float | None = fact(None, "sampling", "spiral turns relative to Nyquist", low=0, above=True)
    pattern_seed: int | None = fact(None, "sampling", "of random masks", "whole", low=0)
    matrix: tuple[int, int] = fact((128, 128), "image", "image grid (ny, nx)", "wholes", low=2, high=65536)
    field_of_view_mm: tuple[float, float] = fact(
        (220.0, 220.0), "image", "size of the image in mm", "numbers", low=0, above=True
    )
    coils: int = fact(1, "receiver", "loops around the object", "whole", low=1, high=1024)
    snr: float = fact(50.0, "receiver", "image maximum over noise of a coil", low=0, above=True)
    averages: int = fact(1, "receiver", "repetitions", "whole", low=1)
    tr_ms: float = fact(500.0, "time", "repetition time in ms", low=0, above=True)
    te_ms: float = fact(10.0, "time", "echo time in ms", low=0, above=True)
    dwell_ms: float = fact(0.01, "time", "between samples in ms", low=0, above=True)

    modality: ClassVar[Literal["CT", "MRI"]] = "MRI"

    def __post_init__(self) -> None:
        settle(self)
        sampling.check(self)
        start, end = self.readout_ms
        if start < 0 or end > self.tr_ms:
            raise ValueError(
                f"te_ms {self.te_ms:g} puts the readout from {start:.4g} to {end:.4g} ms, outside of 0 to "
                f"tr_ms {self.tr_ms:g}; change one of them, or dwell_ms"
            )

    @property
    def cartesian(self) -> bool:
        """Whether samples lie on the grid."""
        return self.pattern not in sampling.SHOTS

    @property
    def mask(self) -> Array:
        """Which points of the grid are measured: bool, (ny, 1) for lines along kx or (ny, nx)."""
        if not self.cartesian:
            raise ValueError(f"pattern {self.pattern!r} is off the grid; ask for its trajectory")
        return sampling.mask(self)

    @property
    def trajectory(self) -> Array:
        """Samples off the grid, (shots, samples, 2) in rad/voxel."""
        if self.cartesian:
            raise ValueError(f"pattern {self.pattern!r} lies on the grid; ask for its mask")
        return sampling.trajectory(self)

    @property
    def excitations(self) -> int:
        """How often a signal is excited: lines, points or shots, times averages."""
        count = int(self.mask.sum()) if self.cartesian else len(self.trajectory)
        return count * self.averages

    @property
    def readout_ms(self) -> tuple[float, float]:
        """Begin and end of a readout after its excitation: around the echo, behind it for a spiral."""
        if self.pattern == "spiral":
            return self.te_ms, self.te_ms + self.dwell_ms * self.trajectory.shape[1]
        count = self.matrix[1] if self.cartesian else self.trajectory.shape[1]
        return self.te_ms - self.dwell_ms * count / 2, self.te_ms + self.dwell_ms * count / 2

    @property
    def scan_time(self) -> float:
        """Duration in ms: one repetition time per excitation (one line, point, spoke or interleave each).

        Examples
        --------
        >>> MRIProtocol(matrix=(100, 100), tr_ms=10, te_ms=3).scan_time
        1000.0
        """
        return self.excitations * self.tr_ms

    @property
    def dose(self) -> None:
        """None: MRI does not ionise; compare scan times."""
        return None

    def volume(self, n: int | None = None) -> Volume:
        """The grid of the image: `matrix` and `field_of_view_mm`.

        Raises
        ------
        ValueError
            If `n` is another size: k-space was encoded for one matrix.
        """
        if n is not None and (n, n) != self.matrix:
            raise ValueError(f"the protocol encodes {self.matrix}, not ({n}, {n}); replace its matrix")
        steps = tuple(f / m for f, m in zip(self.field_of_view_mm, self.matrix, strict=True))
        return Volume(self.matrix, steps)

    def operator(self, volume: Volume | None = None, maps: Array | None = None) -> LinearOperator:
        """Coils, Fourier transform, and what is measured of it.

        Parameters
        ----------
        volume : Volume, optional
            Grid of the image; it must be that of the protocol.
        maps : array, (coils, ny, nx), optional
            Sensitivities instead of those of loops.

        Returns
        -------
        LinearOperator
            ``matrix`` to ``(coils, ny, nx)``, or ``(coils, shots, samples)`` off the grid.

        Raises
        ------
        ValueError
            If the grid or the maps do not fit.
        """
        self._check_grid(volume)
        maps = self.maps() if maps is None else maps
        if tuple(maps.shape) != (self.coils, *self.matrix):
            raise ValueError(
                f"maps have shape {tuple(maps.shape)}; they must be {(self.coils, *self.matrix)}"
            )
        S = CoilSensitivities(maps)
        if not self.cartesian:
            sampled: LinearOperator = NUFFT(self.matrix, self.trajectory) @ S
            return sampled
        transform: LinearOperator = FFT(self.matrix)
        if self.pattern != "full":
            transform = CartesianMask(self.matrix, self.mask.astype(np.float32)) @ transform
        encoded: LinearOperator = transform @ S
        return encoded

    def _check_grid(self, volume: Volume | None) -> None:
        if volume is None:
            return
        if volume.shape != self.matrix:
            raise ValueError(
                f"the volume has shape {volume.shape}, the protocol encodes {self.matrix}; "
                "replace one of them"
            )
        if not np.allclose(volume.extent, self.field_of_view_mm, rtol=1e-6):
            raise ValueError(
                f"the volume is {volume.extent} mm large, field_of_view_mm {self.field_of_view_mm}; "
                "replace one of them"
            )

    def maps(self, shape: tuple[int, int] | None = None) -> Array:
        """Sensitivities of the coils, complex64 (coils, ny, nx), read-only.

        Parameters
        ----------
        shape : (int, int), optional
            Another grid over the same field of view.
        """
        return _maps(self.matrix if shape is None else shape, self.coils)

    def noise(self, scale: float | Array = 1.0) -> Gaussian:
        """How the samples scatter; points of the grid that are not measured have infinite variance.

        Parameters
        ----------
        scale : float or array, (..., 1, 1, 1)
            Largest magnitude of the image, which `snr` refers to.

        Examples
        --------
        >>> MRIProtocol(snr=50, averages=4).noise(2.0).sigma
        0.02
        """
        sigma = scale / (self.snr * math.sqrt(self.averages))
        if not self.cartesian or self.pattern == "full":
            return Gaussian(sigma)
        weights = np.where(self.mask, np.float32(1), np.float32(np.inf))
        if not isinstance(sigma, int | float):
            weights = match(weights, sigma)
        return Gaussian(sigma * weights)

    def scale(self, image: Array, clean: Array) -> Array:
        """Largest magnitude of each image, ``(..., 1, 1, 1)``: what `snr` refers to."""
        xp = namespace(image)
        return xp.amax(xp.abs(image), axis=(-2, -1), keepdims=True)[..., None]

    def measure(self, clean: Array, *, scale: float | Array = 1.0, seed: Any = 0) -> Array:
        """Noisy samples from exact ones; 0 stays where nothing is measured.

        Parameters
        ----------
        clean : array, (..., coils, ny, nx) or (..., coils, shots, samples)
            Of any library.
        scale : float or array
            As for `noise`.
        seed : int or torch.Generator
            Of the noise; see `Noise.sample`.

        Examples
        --------
        >>> p = MRIProtocol(pattern="random", acceleration=2, matrix=(4, 4))
        >>> (abs(p.measure(np.zeros((1, 4, 4), np.complex64))) > 0).any(axis=(0, 2)).sum()
        np.int64(2)
        """
        noisy = Gaussian(scale / (self.snr * math.sqrt(self.averages))).sample(clean, seed)
        if not self.cartesian or self.pattern == "full":
            return noisy
        return noisy * match(self.mask.astype(np.float32), noisy)

    def truth(self, image: Any, volume: Volume | None = None) -> Array:
        from rayfold.recon.protocol.simulate_mri import truth

        self._check_grid(volume)
        return truth(self, image)

    def simulate(self, image: Any, seed: int = 0) -> KSpace:
        from rayfold.recon.protocol.simulate_mri import simulate

        return simulate(self, image, seed)

    def problem(self, image: Any, seed: int = 0, *, volume: Volume | None = None) -> Problem:
        from rayfold.recon.protocol.simulate_mri import problem

        self._check_grid(volume)
        return problem(self, image, seed)


@lru_cache(maxsize=16)
def _maps(shape: tuple[int, int], coils: int) -> Array:
    from rayfold.recon.mri.simulate import loop_coils

    made = np.ones((1, *shape), np.complex64) if coils == 1 else loop_coils(shape, coils)
    made.setflags(write=False)
    return made
