"""Write a preview of an image as PNG: eight bits through a window, for eyes only."""

from __future__ import annotations

import os
from pathlib import Path

from rayfold.recon.data import Image
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.windows import Window


def write_png(image: Image, path: str | Path, *, window: Window = None, force: bool = False) -> Path:
    """Write `path` as `rayfold.recon.plot.image` shows the image.

    Parameters
    ----------
    image : Image
        A volume is shown as three orthogonal slices.
    path : str or Path
        File to write.
    window : str or (low, high), optional
        Name of a HU window, or the values shown black and white.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If the file exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_png(Image(np.eye(8), (1.0, 1.0)), f"{folder}/a.png").name
    'a.png'
    """
    from rayfold.recon.plot import image as draw

    target = Path(path)
    with atomic_file(target, force=force) as part:
        draw(image, window=window).savefig(
            os.fspath(part), format="png", dpi=160, metadata={"Software": "rayfold"}
        )
    return target
