"""Converted trajectories through the peers themselves, against the exact sum."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tests.recon.trajectories.simulate import exact

from rayfold.recon.trajectories import from_peer, from_real_view, peer_scale, radial, to_peer, to_real_view
from rayfold.recon.trajectories.conventions import PEERS

SHAPES = [(16, 20), (15, 17), (15, 20), (7, 8, 9)]


@pytest.fixture(params=SHAPES, ids=str)
def case(request):
    rng = np.random.default_rng(3)
    shape = request.param
    k = rng.uniform(-np.pi, np.pi, (4, 25, len(shape)))
    x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return shape, k, x


def check(package, theirs, case, tolerance):
    shape, k, x = case
    ours = exact(x, k)
    found = np.asarray(theirs).reshape(ours.shape) * peer_scale(package, shape)
    assert np.linalg.norm(found - ours) < tolerance * np.linalg.norm(ours)


def test_sigpy(case):
    sigpy = pytest.importorskip("sigpy")
    shape, k, x = case
    check("sigpy", sigpy.nufft(x, to_peer("sigpy", k, shape), oversamp=2, width=6), case, 3e-5)


def test_finufft(case):
    finufft = pytest.importorskip("finufft")
    shape, k, x = case
    transform = finufft.nufft2d2 if len(shape) == 2 else finufft.nufft3d2
    check("finufft", transform(*to_peer("finufft", k, shape), x, isign=-1, eps=1e-9), case, 1e-8)


def test_torchkbnufft(case):
    peer = pytest.importorskip("torchkbnufft")
    import torch

    shape, k, x = case
    transform = peer.KbNufft(im_size=shape, numpoints=8, table_oversamp=2**14, dtype=torch.complex128)
    points = torch.as_tensor(to_peer("torchkbnufft", k, shape))
    check("torchkbnufft", transform(torch.as_tensor(x)[None, None], points), case, 2e-4)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mri_nufft(case):
    peer = pytest.importorskip("mrinufft")
    shape, k, x = case
    points = to_peer("mri-nufft", k, shape).astype(np.float32)
    check(
        "mri-nufft", peer.get_operator("finufft")(points, shape=shape).op(x.astype(np.complex64)), case, 1e-5
    )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mirtorch(case):
    peer = pytest.importorskip("mirtorch.linear")
    import torch

    shape, k, x = case
    maps = torch.ones((1, 1, *shape), dtype=torch.complex64)
    points = torch.as_tensor(to_peer("mirtorch", k, shape), dtype=torch.float32)
    y = peer.NuSense(maps, points, norm="ortho") * torch.as_tensor(x, dtype=torch.complex64)[None, None]
    check("mirtorch", y.resolve_conj(), case, 1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_jax_finufft(case):
    peer = pytest.importorskip("jax_finufft")
    shape, k, x = case
    points = (p.astype(np.float32) for p in to_peer("jax-finufft", k, shape))
    check("jax-finufft", peer.nufft2(x.astype(np.complex64), *points, iflag=-1, eps=1e-6), case, 1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mrpro(case):
    operators = pytest.importorskip("mrpro.operators")
    import torch
    from mrpro.data import KTrajectory, SpatialDimension

    shape, k, x = case
    whole = (1,) * (3 - len(shape)) + shape
    points = (torch.as_tensor(p, dtype=torch.float32) for p in to_peer("mrpro", k, shape))
    transform = operators.FourierOp(SpatialDimension(*whole), SpatialDimension(*whole), KTrajectory(*points))
    (y,) = transform(torch.as_tensor(x, dtype=torch.complex64).reshape(1, 1, *whole))
    check("mrpro", y, case, 1e-5)


@pytest.mark.parametrize("package", PEERS)
@pytest.mark.parametrize("shape", [(12, 9), (6, 8, 10)])
def test_there_and_back(package, shape):
    k = np.random.default_rng(0).uniform(-np.pi, np.pi, (3, 5, len(shape)))
    there = to_peer(package, k, shape)
    kept = k.copy()
    np.testing.assert_allclose(from_peer(package, there, shape, shots=3), k, atol=1e-14)
    np.testing.assert_array_equal(k, kept)
    single = from_peer(package, to_peer(package, k[:1], shape), shape)
    np.testing.assert_allclose(single, k[:1], atol=1e-14)


def test_forms_of_the_packages_that_are_not_installed():
    """(shots, samples) = (1, 2), ky = (0, -pi), kx = (pi/2, 0) in a 64 x 32 image."""
    k = np.array([[[0.0, np.pi / 2], [-np.pi, 0.0]]])
    bart = to_peer("bart", k, (64, 32))
    assert bart.shape == (3, 2, 1)
    np.testing.assert_allclose(bart[:, :, 0], [[8, 0], [0, -32], [0, 0]], atol=1e-12)
    kz, ky, kx = to_peer("mrpro", k, (64, 32))
    assert kz.shape == (1, 1, 1, 1, 1) and ky.shape == kx.shape == (1, 1, 1, 1, 2)
    np.testing.assert_allclose(ky.ravel(), [0, -32], atol=1e-12)
    np.testing.assert_allclose(kx.ravel(), [8, 0], atol=1e-12)
    for package in ("pytorch-finufft", "torchkbnufft"):
        np.testing.assert_array_equal(to_peer(package, k, (64, 32)), [[0, -np.pi], [np.pi / 2, 0]])
    assert to_peer("mirtorch", k, (64, 32)).shape == (1, 2, 2)
    np.testing.assert_allclose(to_peer("mri-nufft", k, (64, 32))[0, 1], [-0.5, 0])
    volume = to_peer("bart", np.array([[[1.0, 2.0, 3.0]]]) * np.pi / 4, (8, 16, 32))
    np.testing.assert_allclose(volume.ravel(), [12, 4, 1])


def test_bart_files_hold_complex_numbers():
    k = radial(4, 6)
    stored = to_peer("bart", k, (16, 16)).astype(np.complex64)
    np.testing.assert_allclose(from_peer("bart", stored, (16, 16)), k, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_real_view_is_a_view(dtype):
    x = (np.arange(6) + 1j).astype(dtype).reshape(2, 3)
    pairs = to_real_view(x)
    assert pairs.shape == (2, 3, 2) and np.shares_memory(pairs, x) and pairs.dtype == x.real.dtype
    np.testing.assert_array_equal(pairs[..., 0], x.real)
    back = from_real_view(pairs)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: to_peer("gadgetron", radial(2, 4), (8, 8)), "'gadgetron' is not one of sigpy, finufft"),
        (lambda: to_peer("sigpy", radial(2, 4)[0], (8, 8)), "give .shots, samples, 2."),
        (
            lambda: from_peer("torchkbnufft", np.zeros((2, 10)), (8, 8), shots=3),
            "cannot be divided into 3 shots",
        ),
        (lambda: from_peer("torchkbnufft", np.zeros((3, 10)), (8, 8)), "points have 3 axes, the image 2"),
        (lambda: from_peer("bart", np.zeros((2, 10)), (8, 8)), "do not have the form of bart"),
        (lambda: from_peer("sigpy", np.zeros((4, 3)), (8, 8)), "do not have the form of sigpy"),
        (lambda: to_real_view(np.zeros(3)), "are real already"),
        (lambda: from_real_view(np.zeros(3)), "with a last axis of 2"),
    ],
)
def test_bad_input_is_one_line_with_a_cure(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_no_peer_is_imported():
    import rayfold.recon.trajectories.conventions as module

    assert "finufft" not in vars(module) and module.__name__ in sys.modules
