"""Moved: see `rayfold.recon.checks`."""

from rayfold.recon.checks import between, nonnegative, positive

__all__ = ["between", "nonnegative", "positive"]
