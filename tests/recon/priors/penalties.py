"""The priors under test: one line per prior and kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rayfold.recon.priors.bounds import Box
from rayfold.recon.priors.low_rank import LowRank
from rayfold.recon.priors.sparsity import L1
from rayfold.recon.priors.tgv import TGV
from rayfold.recon.priors.tikhonov import Tikhonov
from rayfold.recon.priors.total_variation import TV, HuberTV
from rayfold.recon.priors.wavelet import WaveletL1


@dataclass(frozen=True)
class Kind:
    """A prior for images in units of `u`, and what it is held to.

    Attributes
    ----------
    make : callable
        From the unit of the image, and iterations, to the prior; a scaled image then gives a scaled result.
    shape : tuple of int
        Of one image.
    within : float or None
        Part of the objective that `prox` may miss, rounding in closed form; None: see `test_tgv`.
    complex : bool
        Takes complex images.
    pixels : bool
        `prox` takes a step per pixel.
    """

    name: str
    make: Callable[[float, int], Any]
    shape: tuple[int, ...] = (6, 8)
    within: float | None = 1e-12
    complex: bool = True
    pixels: bool = True

    def image(self, seed: int = 0, kind: Any = np.float64, lead: tuple[int, ...] = ()) -> np.ndarray:
        """Steps, a slope and noise."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((*lead, *self.shape))
        x = 0.3 * x + np.linspace(0, 1, self.shape[-1]) + (np.arange(self.shape[-2])[:, None] > 2)
        if np.issubdtype(kind, np.complexfloating):
            x = x + 0.5j * rng.standard_normal(x.shape)
        return x.astype(kind)


KINDS = [
    Kind("tikhonov", lambda u, n: Tikhonov(0.8)),
    Kind("tikhonov gradient", lambda u, n: Tikhonov(0.8, "gradient", iterations=10 * n)),
    Kind(
        "tikhonov volume", lambda u, n: Tikhonov(0.8, "gradient", 3, (1.0, 0.5, 2.0)), (3, 4, 5), pixels=False
    ),
    Kind("l1", lambda u, n: L1(0.4 * u)),
    Kind("box", lambda u, n: Box(0.1 * u, 0.9 * u), complex=False),
    Kind("tv", lambda u, n: TV(0.3 * u, iterations=30 * n), within=1e-7),
    Kind(
        "tv volume", lambda u, n: TV(0.3 * u, 3, (1.0, 0.5, 2.0), iterations=20 * n), (3, 4, 5), within=1e-6
    ),
    Kind("huber", lambda u, n: HuberTV(0.3 * u, 0.2 * u, iterations=10 * n), within=1e-8),
    Kind("tgv", lambda u, n: TGV(0.3 * u, iterations=10 * n), within=None),
    Kind("tgv volume", lambda u, n: TGV(0.3 * u, 1.5, 3, iterations=5 * n), (3, 4, 5), within=None),
    Kind("wavelet", lambda u, n: WaveletL1(0.3 * u, "db2"), (8, 8), pixels=False),
    Kind(
        "wavelet padded", lambda u, n: WaveletL1(0.3 * u, "haar", 2, iterations=10 * n), (6, 7), within=1e-8
    ),
    Kind("wavelet all", lambda u, n: WaveletL1(0.3 * u, "haar", 1, approximation=True, iterations=10 * n)),
    Kind("low rank", lambda u, n: LowRank(0.5 * u), (3, 4, 5), pixels=False),
    Kind("low rank last", lambda u, n: LowRank(0.5 * u, axis=-1), (3, 4, 5), pixels=False),
]
FAR, NEAR = 100, 1  # iterations, times what a kind takes: to converge, and to compare


def each(**only: Any) -> Any:
    """Parametrise a test over kinds whose fields are as given; `exact` for those with a bound."""
    known = only.pop("exact", False)
    picked = [k for k in KINDS if all(getattr(k, name) == value for name, value in only.items())]
    picked = [k for k in picked if not known or k.within is not None]
    return pytest.mark.parametrize("kind", picked, ids=[k.name for k in picked])
