"""What a trajectory asks of the gradient system: amplitude and slew rate, against what the system can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
GAMMA = 42.577478518e-3  # cycles/mm per mT/m and ms: the proton's 42.577 MHz/T (CODATA 2018)


@dataclass(frozen=True)
class Hardware:
    """Limits of a gradient system.

    Parameters
    ----------
    gradient : float
        Largest amplitude in mT/m.
    slew : float
        Largest slew rate in T/m/s, the same as mT/m/ms.
    name : str
        What the report calls it.

    Notes
    -----
    Amplitude and slew are those of the length of the gradient vector, so that a plane may be turned any way.
    Nerves are not modelled: peripheral stimulation (IEC 60601-2-33) often forbids, by duration and direction,
    what these limits allow.

    Examples
    --------
    >>> Hardware(40, 150)
    Hardware(gradient=40, slew=150, name='')
    """

    gradient: float
    slew: float
    name: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.gradient < np.inf and 0 < self.slew < np.inf):
            raise ValueError(
                f"gradient {self.gradient} mT/m and slew {self.slew} T/m/s must be positive; try 40 and 200"
            )


HARDWARE = {
    "modest": Hardware(30.0, 120.0, "modest"),
    "clinical": Hardware(45.0, 200.0, "clinical"),
    "performance": Hardware(80.0, 200.0, "performance"),
    "connectome": Hardware(300.0, 200.0, "connectome"),
}


@dataclass(frozen=True)
class Limits:
    """Largest gradient (mT/m) and slew rate (T/m/s) of a trajectory, and the system they were held against.

    Examples
    --------
    >>> report = Limits(gradient=38.0, slew=210.0, hardware=Hardware(45, 200))
    >>> report.ok
    False
    >>> print(report)
    exceeds the limits: gradient 38.0 of 45 mT/m, slew rate 210.0 of 200 T/m/s
    """

    gradient: float
    slew: float
    hardware: Hardware

    @property
    def ok(self) -> bool:
        """Whether both limits hold, to within rounding."""
        slack = 1 + 1e-6
        return self.gradient <= self.hardware.gradient * slack and self.slew <= self.hardware.slew * slack

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        name = f" of {self.hardware.name} hardware" if self.hardware.name else ""
        return (
            f"{'within' if self.ok else 'exceeds'} the limits{name}: "
            f"gradient {self.gradient:.1f} of {self.hardware.gradient:g} mT/m, "
            f"slew rate {self.slew:.1f} of {self.hardware.slew:g} T/m/s"
        )


def check_limits(
    trajectory: Array,
    *,
    dwell: float,
    spacing: float | tuple[float, ...],
    hardware: Hardware | str = "clinical",
) -> Limits:
    """Gradient and slew rate of a trajectory, from differences of its samples.

    ``G = dk/dt / gamma`` and ``S = dG/dt`` with k in cycles/mm; between samples the gradient is constant.

    Parameters
    ----------
    trajectory : ndarray, (shots, samples, ndim) or (samples, ndim)
        In rad/voxel, image-axis order, samples in order of time.
    dwell : float
        Time between samples in ms.
    spacing : float or tuple of float
        Voxel size in mm, per image axis: field of view over matrix.
    hardware : Hardware or str
        The system, or one of "modest", "clinical", "performance" and "connectome".

    Returns
    -------
    Limits
        True where both limits hold; printing it states all numbers.

    Raises
    ------
    ValueError
        If times or lengths are not positive, or the hardware is unknown.

    Examples
    --------
    >>> from rayfold.recon.trajectories import radial
    >>> print(check_limits(radial(8, 512), dwell=0.005, spacing=1.0))
    within the limits of clinical hardware: gradient 9.2 of 45 mT/m, slew rate 0.0 of 200 T/m/s
    """
    k = physical(trajectory, spacing)
    if not 0 < dwell < np.inf:
        raise ValueError(f"dwell {dwell} ms must be positive; 0.005 is 5 µs")
    gradient = np.diff(k, axis=-2) / (dwell * GAMMA)
    slew = np.diff(gradient, axis=-2) / dwell
    return Limits(_largest(gradient), _largest(slew), system(hardware))


def system(hardware: Hardware | str) -> Hardware:
    """The limits by their name."""
    if isinstance(hardware, Hardware):
        return hardware
    if hardware not in HARDWARE:
        raise ValueError(
            f"hardware {hardware!r} is not one of {', '.join(HARDWARE)}; or give Hardware(gradient, slew)"
        )
    return HARDWARE[hardware]


def physical(trajectory: Array, spacing: float | tuple[float, ...]) -> Array:
    """From rad/voxel to cycles/mm."""
    k = np.asarray(trajectory, np.float64)
    if k.ndim < 2:
        raise ValueError(f"trajectory of shape {k.shape}; give (shots, samples, ndim) or (samples, ndim)")
    sizes = np.broadcast_to(np.asarray(spacing, np.float64), np.shape(spacing) or (k.shape[-1],))
    if sizes.shape != (k.shape[-1],) or not np.all(sizes > 0):
        raise ValueError(
            f"spacing {spacing} does not fit {k.shape[-1]} axes; give one positive length in mm for each"
        )
    return np.asarray(k / (2 * np.pi * sizes), np.float64)


def _largest(vectors: Array) -> float:
    return float(np.sqrt(np.max(np.sum(vectors**2, axis=-1), initial=0.0)))
