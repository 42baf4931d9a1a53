"""Bridges to other packages' linear operators: ``from_...`` makes theirs ours, ``to_...`` ours theirs.

None of the peers is imported before its bridge is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .astra import from_astra, to_astra
    from .astra_geometry import geometry_from_astra, geometry_to_astra
    from .deepinv import from_deepinv, to_deepinv
    from .foreign import Foreign, compare_adjoints
    from .odl import from_odl, to_odl
    from .odl_geometry import geometry_from_odl
    from .scico import from_scico, to_scico
    from .scipy import from_pylops, from_scipy, to_pylops, to_scipy
    from .sigpy import from_sigpy, to_sigpy
    from .tomosipo import from_tomosipo, to_tomosipo
    from .tomosipo_geometry import geometry_from_tomosipo, geometry_to_tomosipo

_HOME = {
    "Foreign": "foreign",
    "compare_adjoints": "foreign",
    "from_astra": "astra",
    "from_deepinv": "deepinv",
    "from_odl": "odl",
    "from_pylops": "scipy",
    "from_scico": "scico",
    "from_scipy": "scipy",
    "from_sigpy": "sigpy",
    "from_tomosipo": "tomosipo",
    "geometry_from_astra": "astra_geometry",
    "geometry_from_odl": "odl_geometry",
    "geometry_from_tomosipo": "tomosipo_geometry",
    "geometry_to_astra": "astra_geometry",
    "geometry_to_tomosipo": "tomosipo_geometry",
    "to_astra": "astra",
    "to_deepinv": "deepinv",
    "to_odl": "odl",
    "to_pylops": "scipy",
    "to_scico": "scico",
    "to_scipy": "scipy",
    "to_sigpy": "sigpy",
    "to_tomosipo": "tomosipo",
}

__all__ = [
    "Foreign",
    "compare_adjoints",
    "from_astra",
    "from_deepinv",
    "from_odl",
    "from_pylops",
    "from_scico",
    "from_scipy",
    "from_sigpy",
    "from_tomosipo",
    "geometry_from_astra",
    "geometry_from_odl",
    "geometry_from_tomosipo",
    "geometry_to_astra",
    "geometry_to_tomosipo",
    "to_astra",
    "to_deepinv",
    "to_odl",
    "to_pylops",
    "to_scico",
    "to_scipy",
    "to_sigpy",
    "to_tomosipo",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
