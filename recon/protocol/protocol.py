"""What an acquisition is, before it is measured: immutable, comparable, the same in Python and in a file."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from rayfold.recon.protocol.facts import facts, unknown

if TYPE_CHECKING:
    from rayfold.operators import LinearOperator, Volume
    from rayfold.operators.noise import Noise
    from rayfold.recon.data import Scan
    from rayfold.recon.kspace import KSpace
    from rayfold.recon.problem import Problem

Array = Any


class Protocol(abc.ABC):
    """An acquisition: `CTProtocol` or `MRIProtocol`, frozen dataclasses with units in their names.

    ``eval(repr(p)) == p``; equal protocols have equal hashes; `to_toml` and `from_toml` are exact inverses.

    Examples
    --------
    >>> from rayfold.recon.protocol import CTProtocol
    >>> p = Protocol.preset("clinical-fan")
    >>> q = p.replace(views=100)
    >>> q.dose / p.dose, q.scan_time == p.scan_time
    (0.1, True)
    """

    modality: ClassVar[Literal["CT", "MRI"]]
    name: str

    @staticmethod
    def preset(name: str) -> Any:
        """A protocol to start from.

        Parameters
        ----------
        name : str
            One of `rayfold.recon.protocol.PRESETS`.

        Raises
        ------
        ValueError
            If there is none of that name, with the nearest.

        Examples
        --------
        >>> Protocol.preset("brain-sense").pattern
        'equispaced'
        """
        from rayfold.recon.protocol.presets import PRESETS

        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; {unknown(name, PRESETS)}")
        return PRESETS[name]()

    def replace(self, **changes: Any) -> Self:
        """The same protocol with other values.

        Raises
        ------
        ValueError
            For an unknown field, with the nearest known ones, or a value that is not allowed.

        Examples
        --------
        >>> Protocol.preset("clinical-fan").replace(photons=1e4).photons
        10000.0
        """
        known = facts(type(self))
        for name in changes:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no {name}; {unknown(name, known)}")
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def __repr__(self) -> str:
        given = [
            f"{field.name}={value!r}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def to_toml(self, path: str | Path | None = None, *, comments: bool = True, force: bool = False) -> str:
        """The protocol as a TOML text; also written to a file when a path is given.

        Parameters
        ----------
        path : str or Path, optional
            File to write, whole or not at all.
        comments : bool
            What each value is, with its unit, behind it.
        force : bool
            Replace a file that exists.

        Raises
        ------
        OutputFailure
            If the file exists or cannot be written.

        Examples
        --------
        >>> Protocol.preset("clinical-fan").to_toml(comments=False).splitlines()[:2]
        ['modality = "CT"', 'name = "clinical fan"']
        """
        from rayfold.recon.protocol.text import write

        return write(self, path, comments=comments, force=force)

    @staticmethod
    def from_toml(source: str | Path) -> Any:
        """The protocol of a TOML file, or of its text.

        Parameters
        ----------
        source : str or Path
            Path of a file, or the text itself when it holds a line break.

        Raises
        ------
        UnreadableInput
            If the file is missing or no TOML.
        InconsistentInput
            For an unknown section or key, with the nearest known ones, or a value that is not allowed.

        Examples
        --------
        >>> p = Protocol.preset("clinical-fan")
        >>> Protocol.from_toml(p.to_toml()) == p
        True
        """
        from rayfold.recon.protocol.text import read

        return read(source)

    @property
    @abc.abstractmethod
    def scan_time(self) -> float:
        """Duration in ms."""

    @property
    @abc.abstractmethod
    def dose(self) -> float | None:
        """Relative dose, or None where there is none to state."""

    @abc.abstractmethod
    def volume(self, n: int | None = None) -> Volume:
        """A grid that suits the protocol, of n x n pixels."""

    @abc.abstractmethod
    def operator(self, volume: Volume | None = None, maps: Array | None = None) -> LinearOperator:
        """What reconstructs: from an image on `volume` to the data."""

    @abc.abstractmethod
    def noise(self, scale: float | Array = 1.0) -> Noise:
        """How the data scatter."""

    @abc.abstractmethod
    def scale(self, image: Array, clean: Array) -> Array:
        """What the noise level refers to, per image of a batch."""

    @abc.abstractmethod
    def measure(self, clean: Array, *, scale: float | Array = 1.0, seed: int = 0) -> Array:
        """Noisy data from exact ones, in their library."""

    @abc.abstractmethod
    def truth(self, image: Any, volume: Volume | None = None) -> Array:
        """What an exact scan of the object would show on `volume`."""

    @abc.abstractmethod
    def simulate(self, image: Any, seed: int = 0) -> Scan | KSpace:
        """Raw data of an object, as a scanner would hand them over."""

    @abc.abstractmethod
    def problem(self, image: Any, seed: int = 0, *, volume: Volume | None = None) -> Problem:
        """The same data as a `Problem` for any solver or prior."""

    def picture(self) -> Any:
        """A figure of the acquisition: where the rays or the samples are, and when.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from rayfold.recon.protocol.picture import picture

        return picture(self)
