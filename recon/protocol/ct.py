"""CT protocols: geometry, detector, photons and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from rayfold.operators import FanBeam, LinearOperator, ParallelBeam, Volume, XRay, covering
from rayfold.operators.dispatch import match, namespace
from rayfold.operators.noise import Gaussian, Noise, PoissonTransmission
from rayfold.recon.data import Scan
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.facts import fact, settle
from rayfold.recon.protocol.protocol import Protocol

Array = Any
GEOMETRIES = ("parallel", "fan", "curved-fan")
PHOTONS = 1e5  # where neither photons nor a noise level are given
# dose 1: 1000 views of 1e5 photons per mm of detector, measured at the axis
REFERENCE = 1000 * 1e5
FWHM = math.sqrt(8 * math.log(2))  # of a Gaussian, in standard deviations


@dataclass(frozen=True, repr=False)
class CTProtocol(Protocol):
    """A CT acquisition of one slice. Lengths in mm, angles in degrees, times in ms, as the names say.

    Parameters
    ----------
    name : str
        For tables and pictures.
    geometry : {"parallel", "fan", "curved-fan"}
        Rays; a curved fan has bins at equal angles.
    views : int
        Number of projections, evenly over the span, end excluded.
    span_deg : float, optional
        Angular range; by default 180 for parallel rays and 360 for a fan.
    start_deg : float
        First angle.
    source_to_axis_mm, source_to_detector_mm : float, optional
        Distances of a fan; 595 and 1085.6 by default.
    cols : int
        Detector bins.
    pitch_mm : float
        Their distance, on the detector.
    detector_offset_mm : float
        Shift of the detector along itself.
    blur_fwhm_mm : float
        Full width at half maximum of the detector's Gaussian blur, on the detector.
    photons : float, optional
        Photons per bin and view without an object; 1e5 where no noise level is given.
    electronic : float
        Standard deviation of the electronic noise, in photons.
    noise_percent : float, optional
        Instead of photons: Gaussian noise of the line integrals, in percent of their mean magnitude.
    rotation_ms : float
        Time of a full turn.
    mu_water_per_mm : float
        Attenuation of water, for HU.

    Raises
    ------
    ValueError
        If a value is out of range, or values contradict each other, with the cure.

    Examples
    --------
    >>> p = CTProtocol(geometry="parallel", views=60, cols=192, photons=1e4)
    >>> p
    CTProtocol(views=60, span_deg=180.0, cols=192, photons=10000.0)
    >>> p.operator(p.volume(128)).out_shape, p.dose
    ((60, 192), 0.006)
    """

    name: str = fact("", "", "name in tables and pictures", "text")
    geometry: Literal["parallel", "fan", "curved-fan"] = fact(
        "parallel", "geometry", "parallel, fan (flat detector) or curved-fan", "text", choices=GEOMETRIES
    )
    views: int = fact(180, "geometry", "projections over the span", "whole", low=1, high=1e6)
    span_deg: float | None = fact(
        None, "geometry", "angular range in degrees, end excluded", low=0, above=True, high=1e5
    )
    start_deg: float = fact(0.0, "geometry", "first angle in degrees", low=-1e5, high=1e5)
    source_to_axis_mm: float | None = fact(None, "geometry", "mm", low=0, above=True)
    source_to_detector_mm: float | None = fact(None, "geometry", "mm", low=0, above=True)
    cols: int = fact(256, "detector", "bins", "whole", low=2, high=1e6)
    pitch_mm: float = fact(1.0, "detector", "distance of bins on the detector in mm", low=0, above=True)
    detector_offset_mm: float = fact(0.0, "detector", "shift along itself in mm")
    blur_fwhm_mm: float = fact(0.0, "detector", "full width at half maximum of the blur in mm", low=0)
    photons: float | None = fact(None, "dose", "per bin and view in the open beam", low=1, high=1e15)
    electronic: float = fact(0.0, "dose", "noise of the electronics in photons", low=0, high=1e15)
    noise_percent: float | None = fact(
        None, "dose", "instead of photons: Gaussian noise, percent of the mean datum", low=0, above=True
    )
    rotation_ms: float = fact(500.0, "time", "a full turn in ms", low=0, above=True)
    mu_water_per_mm: float = fact(0.0195, "object", "attenuation of water in 1/mm, for HU", low=0, above=True)

    modality: ClassVar[Literal["CT", "MRI"]] = "CT"

    def __post_init__(self) -> None:
        settle(self)
        fan = self.geometry != "parallel"
        self._default("span_deg", 360.0 if fan else 180.0)
        if fan:
            self._default("source_to_axis_mm", 595.0)
            self._default("source_to_detector_mm", 1085.6)
            assert self.source_to_axis_mm and self.source_to_detector_mm
            if self.source_to_detector_mm < self.source_to_axis_mm:
                raise ValueError(
                    f"source_to_detector_mm {self.source_to_detector_mm:g} is less than source_to_axis_mm "
                    f"{self.source_to_axis_mm:g}; the detector stands behind the axis"
                )
        elif self.source_to_axis_mm or self.source_to_detector_mm:
            raise ValueError("a parallel beam has no source; leave its distances out, or use geometry 'fan'")
        if self.noise_percent is None:
            self._default("photons", PHOTONS)
        elif self.photons is not None:
            raise ValueError(
                f"photons {self.photons:g} and noise_percent {self.noise_percent:g} are given; "
                "leave one out (None)"
            )
        elif self.electronic:
            raise ValueError("electronic noise comes with photons; noise_percent holds all noise there is")
        self.beam  # noqa: B018 (what only a beam can check, as a detector of half a turn)

    def _default(self, name: str, value: float) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    @property
    def beam(self) -> ParallelBeam | FanBeam:
        """The rays."""
        assert self.span_deg is not None
        span, start = math.radians(self.span_deg), math.radians(self.start_deg)
        rest: dict[str, Any] = {"pitch": self.pitch_mm, "detector_offset": self.detector_offset_mm}
        if self.geometry == "parallel":
            return ParallelBeam.evenly(self.views, self.cols, span=span, start=start, **rest)
        return FanBeam.evenly(
            self.views,
            self.cols,
            span=span,
            start=start,
            source_to_axis=self.source_to_axis_mm,
            source_to_detector=self.source_to_detector_mm,
            curved=self.geometry == "curved-fan",
            **rest,
        )

    @property
    def scan_time(self) -> float:
        """Duration in ms: the part of a turn that the span is.

        Examples
        --------
        >>> CTProtocol(span_deg=180, rotation_ms=500).scan_time
        250.0
        """
        assert self.span_deg is not None
        return self.rotation_ms * self.span_deg / 360

    @property
    def dose(self) -> float | None:
        """Photons onto the slice, relative to 1000 views of 1e5 photons per mm of detector at the axis.

        ``views * photons / (bin width at the axis in mm) / 1e8``, or None where noise is Gaussian. It
        compares protocols of one tube voltage, filter and slice thickness. It is no absorbed dose and no
        CTDI: it knows neither the spectrum nor the patient, neither scatter nor what a collimator or a
        bow-tie filter stops.

        Examples
        --------
        >>> CTProtocol(views=500, photons=1e5).dose, CTProtocol(noise_percent=1.0).dose
        (0.5, None)
        """
        if self.photons is None:
            return None
        return self.views * self.photons / self.beam.resolution / REFERENCE

    def at_dose(self, dose: float) -> Self:
        """The same protocol with photons for this relative dose.

        Parameters
        ----------
        dose : float
            In the unit of `dose`.

        Raises
        ------
        ValueError
            If noise is Gaussian, or less than a photon would be left.

        Examples
        --------
        >>> CTProtocol(views=500).at_dose(0.05).photons
        10000.0
        """
        now = self.dose
        if now is None or self.photons is None:
            raise ValueError("noise_percent states no dose; give photons instead")
        if not 0 < dose < math.inf:
            raise ValueError(f"dose is {dose}; it must be positive, 1 for {REFERENCE:g} photons per mm")
        return self.replace(photons=float(f"{self.photons * (dose / now):.12g}"))

    def volume(self, n: int | None = None) -> Volume:
        """The grid of the field of view.

        Parameters
        ----------
        n : int, optional
            Pixels per side; by default as fine as the bins are at the axis.

        Examples
        --------
        >>> CTProtocol(cols=200, pitch_mm=1.5).volume(100).steps
        (3.0, 3.0)
        """
        beam = self.beam
        return covering(beam) if n is None else covering(beam, n=n, spacing=2 * beam.half_width / n)

    def operator(self, volume: Volume | None = None, maps: Array | None = None) -> LinearOperator:
        """Line integrals, behind them the blur of the detector where there is one.

        Parameters
        ----------
        volume : Volume, optional
            Grid of the image, ``(ny, nx)``; by default `volume` of the protocol.
        maps
            Coil maps: CT has none.

        Returns
        -------
        LinearOperator
            ``volume.shape`` to ``(views, cols)``.

        Raises
        ------
        ValueError
            If the grid reaches the source, or coil maps are given.
        """
        if maps is not None:
            raise ValueError("CT has no coils; leave maps out")
        projector = XRay(self.volume() if volume is None else volume, self.beam)
        if not self.blur_fwhm_mm:
            return projector
        from rayfold.operators import Blur

        sigma = self.blur_fwhm_mm / FWHM / self.pitch_mm
        blurred: LinearOperator = Blur(projector.out_shape, sigma, axes=(-1,)) @ projector
        return blurred

    def noise(self, scale: float | Array = 1.0) -> Noise:
        """How line integrals scatter.

        Parameters
        ----------
        scale : float or array, (..., 1, 1)
            Mean magnitude of the exact data, which `noise_percent` refers to; photons do not need it.

        Examples
        --------
        >>> CTProtocol(noise_percent=2.0).noise(3.0).sigma
        0.06
        """
        if self.photons is not None:
            return PoissonTransmission(self.photons, self.electronic)
        assert self.noise_percent is not None
        return Gaussian(scale * (self.noise_percent / 100))

    def scale(self, image: Array, clean: Array) -> Array:
        """Mean magnitude of each sinogram, ``(..., 1, 1)``: what `noise_percent` refers to."""
        return namespace(clean).abs(clean).mean(axis=(-2, -1), keepdims=True)

    def measure(self, clean: Array, *, scale: float | Array = 1.0, seed: Any = 0) -> Array:
        """Noisy line integrals from exact ones.

        Parameters
        ----------
        clean : array, (..., views, cols)
            Of any library.
        scale : float or array
            As for `noise`.
        seed : int or torch.Generator
            Of the noise; see `Noise.sample`.

        Examples
        --------
        >>> import numpy as np
        >>> CTProtocol(views=2, cols=3, photons=1e12).measure(np.ones((2, 3))).round(3)
        array([[1., 1., 1.],
               [1., 1., 1.]])
        """
        return match(self.noise(scale).sample(clean, seed), clean)

    def truth(self, image: Any, volume: Volume | None = None) -> Array:
        from rayfold.recon.protocol.objects import CTObject

        return CTObject.of(image).pixels(self.volume() if volume is None else volume)

    def simulate(self, image: Any, seed: int = 0) -> Scan:
        from rayfold.recon.protocol.simulate_ct import simulate

        return simulate(self, image, seed)

    def problem(self, image: Any, seed: int = 0, *, volume: Volume | None = None) -> Problem:
        from rayfold.recon.protocol.simulate_ct import problem

        return problem(self, image, seed, volume)
