"""Which weights of the foundation-model prior come with the package, and how they are used."""

from __future__ import annotations

SHIPPED = ("small", "base")
DEFAULT = "base"  # what is used where no weights are named
STEPS = 5  # of data and network in turn; known here without loading them
THOROUGH_STEPS = 24
