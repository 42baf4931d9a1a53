"""Several processes train the same weights: the same numbers in all, and those of one with their samples."""

from __future__ import annotations

import pytest
import torch

from rayfold.operators.noise import Gaussian, Poisson, PoissonTransmission
from rayfold.recon.train.pool import Pool
from rayfold.recon.train.together import Group, partners


def _work(group: Group, folder) -> None:
    values = [torch.full((2,), float(group.rank)), torch.tensor(10.0 * group.rank)]
    group.mean(values)
    stop, value = group.agree(group.rank == 1, 5.0 if group.rank == 0 else 7.0)
    told = [*values[0].tolist(), values[1].item(), stop, value]
    (folder / f"{group.rank}.txt").write_text(repr(told))


def test_means_and_agreement(tmp_path):
    with partners(3, _work, tmp_path) as group:
        _work(group, tmp_path)
    told = {(tmp_path / f"{rank}.txt").read_text() for rank in range(3)}
    assert told == {"[1.0, 1.0, 10.0, True, 5.0]"}


def _fails(group: Group) -> None:
    raise ValueError("a partner that fails")


def test_a_partner_that_fails_ends_the_training():
    with pytest.raises(RuntimeError), partners(2, _fails) as group:
        group.mean([torch.ones(1)])


def _image(shape, seed):
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij")
    return (seed + y / 100 + x / 10000).numpy()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pool_goes_on_where_it_was_and_workers_change_nothing(workers):
    pools = [Pool(_image, side=16, window=3, hold=1, workers=w, grain=0.0) for w in (0, workers)]
    try:
        a = [pools[0].draw(4, 6, torch.Generator().manual_seed(k))[0] for k in range(4)]
        pools[1].seek(2)
        b = [pools[1].draw(4, 6, torch.Generator().manual_seed(k))[0] for k in (2, 3)]
        assert all(torch.equal(x, y) for x, y in zip(a[2:], b, strict=True))
    finally:
        for pool in pools:
            pool.close()


def test_sharp_patches_take_every_second_pixel():
    pool = Pool(_image, side=32, window=1, hold=1000, complex_part=0.0, grain=0.0, sharp=1.0)
    patch = pool.draw(8, 8, torch.Generator().manual_seed(0))[0][:, 0]
    steps = {round(float(v), 4) for p in patch for v in (p[0, 1] - p[0, 0], p[1, 0] - p[0, 0])}
    assert {abs(v) for v in steps} == {0.02, 0.0002}


@pytest.mark.parametrize("noise", [Gaussian(0.5), Poisson(1.0), PoissonTransmission(50.0, 2.0)])
def test_noise_of_a_generator_has_the_mean_and_variance_of_the_model(noise):
    p = torch.full((100_000,), 1.5)
    drawn = noise.sample(p, torch.Generator().manual_seed(1))
    again = noise.sample(p, torch.Generator().manual_seed(1))
    host = noise.sample(p, 1)
    assert torch.equal(drawn, again) and drawn.dtype == p.dtype
    assert abs(float(drawn.mean() - host.mean())) < 0.02 and abs(float(drawn.std() / host.std()) - 1) < 0.02
