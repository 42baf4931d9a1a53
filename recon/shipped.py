"""Which weights of the foundation-model prior come with the package."""

from __future__ import annotations

SHIPPED = ("small",)
DEFAULT = "small"  # what is used where no weights are named
