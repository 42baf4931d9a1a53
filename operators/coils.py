"""Receive coils: every coil sees the image through its own sensitivity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import dispatch
from .arithmetic import Arithmetic
from .base import LinearOperator

Array = Any


@dataclass(frozen=True, eq=False, repr=False)
class CoilSensitivities(Arithmetic):
    """The image as each receive coil sees it: ``y[c] = maps[c] * x``.

    With several sets of maps, as ESPIRiT gives them where the object is larger than the field of view, there
    is an image for each set and ``y[c] = sum_s maps[c, s] * x[s]``.

    Parameters
    ----------
    maps : array, (coils, *shape) or (coils, sets, *shape)
        Sensitivities; the operand ``maps``, bound with or without batch axes.
    sets : bool
        Whether `maps` has the axis of sets.
    components : int, optional
        Component images of a temporal basis, ``(components, *shape)``, each seen by every coil; their axis
        stays behind that of the coils, where `NUFFT` wants it.

    References
    ----------
    K. P. Pruessmann et al., Magn. Reson. Med. 42 (1999) 952; M. Uecker et al., Magn. Reson. Med. 71 (2014)
    990, for several sets.

    Examples
    --------
    >>> import numpy as np
    >>> S = CoilSensitivities(np.ones((8, 4, 6), np.complex64))
    >>> S.in_shape, S.out_shape
    ((4, 6), (8, 4, 6))
    """

    maps: Array
    sets: bool = False
    components: int | None = None
    core: tuple[int, ...] | None = field(default=None, repr=False)
    lead: tuple[int, ...] = ()

    held = ("maps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 3 if self.sets else 2
        if self.core is None:
            if self.maps is None or self.maps.ndim < least:
                shape = None if self.maps is None else tuple(self.maps.shape)
                axes = "coils, sets and" if self.sets else "coils and"
                raise ValueError(f"maps have shape {shape}; they need {axes} one or more image axes")
            object.__setattr__(self, "core", tuple(self.maps.shape))

    field = "complex"

    @property
    def _core(self) -> tuple[int, ...]:
        return self.core or ()

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"maps": self._core}

    @property
    def n_coils(self) -> int:
        """Number of coils."""
        return self._core[0]

    @property
    def _mixed(self) -> tuple[int, ...]:
        return () if self.components is None else (self.components,)

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (*self.lead, *self._mixed, *self._core[1:])

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.lead, self.n_coils, *self._mixed, *self._core[2 if self.sets else 1 :])

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return replace(self, lead=(*lead, *self.lead))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        xp = dispatch.namespace(x)
        maps = self.own("maps", x)
        core = self._core
        batch = tuple(maps.shape)[: len(maps.shape) - len(core)]
        if tuple(maps.shape)[len(batch) :] != core:
            raise ValueError(f"operand maps must end in shape {core}, got {tuple(maps.shape)}")
        maps = maps.reshape((*batch, *(1,) * len(self.lead), core[0], *(1,) * len(self._mixed), *core[1:]))
        coil = -len(core) - len(self._mixed)  # axis of the coils
        one_set = coil + 1 + len(self._mixed)
        if adjoint:
            if self.sets:
                x = xp.expand_dims(x, axis=one_set)
            return xp.sum(xp.conj(maps) * x, axis=coil)
        y = maps * xp.expand_dims(x, axis=coil)
        return xp.sum(y, axis=one_set) if self.sets else y
