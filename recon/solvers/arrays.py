"""Moved: see `rayfold.recon.arrays`."""

from rayfold.recon.arrays import along, axpy, expand, inner, ratio, root, size, start

__all__ = ["along", "axpy", "expand", "inner", "ratio", "root", "size", "start"]
