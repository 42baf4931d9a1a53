"""Scans of synthetic objects: what a training of reconstruction sees."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.phantoms import draw  # noqa: E402
from rayfold.recon.train.pool import Pool  # noqa: E402
from rayfold.recon.train.restoring import Restoring, _cropped  # noqa: E402


def test_a_crop_of_k_space_keeps_what_it_holds_and_rings():
    y, x = np.mgrid[:32, :32] * (2 * np.pi / 32)
    smooth = np.cos(3 * x + 1) + 1j * np.sin(5 * y - 2 * x)
    both = torch.from_numpy(np.stack([smooth.real, smooth.imag])[None])
    torch.testing.assert_close(_cropped(both), both[..., ::2, ::2])
    step = torch.zeros(1, 2, 32, 32)
    step[:, 0, :, 8:24] = 1
    cut = _cropped(step)
    assert cut.mean() == pytest.approx(0.25, abs=1e-6)
    assert cut[:, 0].max() > 1.05 and cut[:, 0].min() < -0.05  # Gibbs: 9 % of the step on either side


def test_samples_are_scans_of_their_truth_and_depend_on_the_seed_alone():
    def samples():
        task = Restoring(
            Pool(lambda shape, seed: draw(shape, seed, family="mr_head"), side=64, window=4), 2, 32
        )
        return [task(torch.Generator().manual_seed(k)) for k in range(8)]

    first, again = samples(), samples()
    assert {s.task for s in first} == {"ct", "mri", "superresolution"}
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.truth, b.truth) and torch.equal(a.problem.y, b.problem.y)
        size = a.problem.y.abs().square().mean().sqrt()
        misfit = (a.problem.A(a.truth) - a.problem.y).abs().square().mean().sqrt()
        assert 0 < misfit < 0.5 * size


def test_a_kind_of_scan_without_a_share_is_not_drawn():
    pool = Pool(lambda shape, seed: draw(shape, seed, family="mr_head"), side=64, window=4)
    task = Restoring(pool, 2, 32, ct=0, mri=3, superresolution=1)
    kinds = [task(torch.Generator().manual_seed(k)).task for k in range(12)]
    assert set(kinds) == {"mri", "superresolution"} and kinds.count("mri") > 6
