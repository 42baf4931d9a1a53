"""BM3D of one image, for an interpreter that has the package `bm3d`: ``python prior_bm3d.py GIVEN MADE``.

An outside reference only: the package's licence does not allow commercial use, so rayfold does not depend on
it. The first call on a small image keeps the loading of libraries out of the time.
"""

from __future__ import annotations

import sys
import time

import numpy as np


def main() -> None:
    """Read an image and the standard deviation of its noise; write the result and the processor's seconds."""
    from bm3d import bm3d

    given = np.load(sys.argv[1])
    image, sigma = given["image"].astype(np.float64), float(given["sigma"])
    bm3d(image[:64, :64], sigma)
    start = time.process_time()
    made = bm3d(image, sigma)
    np.savez(sys.argv[2], image=made, seconds=time.process_time() - start)


if __name__ == "__main__":
    main()
