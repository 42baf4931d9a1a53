"""`write_kspace`: raw MRI data out, in rayfold's own HDF5 or as a BART pair."""

from __future__ import annotations

from pathlib import Path

from rayfold.recon.errors import OutputFailure
from rayfold.recon.kspace import KSpace


def write_kspace(path: str | Path, scan: KSpace, *, force: bool = False) -> Path:
    """Write k-space in the format its suffix names.

    Parameters
    ----------
    path : str or Path
        ``.h5`` or ``.hdf5`` (every field comes back), ``.cfl`` or ``.hdr`` (BART: samples and trajectory).
    scan : KSpace
        What to write.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    OutputFailure
        If the suffix is unknown, if the file exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> scan = KSpace(np.ones((2, 4, 6), np.complex64), ("coil", "ky", "kx"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_kspace(f"{folder}/scan.cfl", scan).name
    'scan.cfl'
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        from rayfold.recon.io.kspace_h5 import write_kspace_h5

        return write_kspace_h5(target, scan, force=force)
    if suffix in (".cfl", ".hdr"):
        from rayfold.recon.io.cfl import write_cfl

        return write_cfl(target, scan, force=force)
    raise OutputFailure(f"{target.name}: no k-space format ends in {suffix!r}; use .h5, or .cfl for BART")
