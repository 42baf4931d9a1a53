"""The dival test bed is dival's: phantoms, grids, rays and noise against their sources."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks import dival_data as dival

from rayfold.operators import XRay


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_phantoms_are_odls_bit_for_bit(part):
    odl = pytest.importorskip("odl")
    from odl.core.phantom.geometric import ellipsoid_phantom

    space = odl.uniform_discr([-64, -64], [64, 64], (128, 128), dtype=np.float32)
    ours, theirs = (np.random.RandomState(dival.PHANTOM_SEEDS[part]) for _ in range(2))
    for _ in range(5):
        v = theirs.uniform(-0.4, 1.0, (70,))
        axes = [0.2 * theirs.exponential(1.0, (70,)) for _ in range(2)]
        middle = [theirs.uniform(-0.9, 0.9, (70,)) for _ in range(2)]
        turn = theirs.uniform(0.0, 2 * np.pi, (70,))
        v[min(theirs.poisson(40), 70) :] = 0.0
        image = np.array(ellipsoid_phantom(space, np.stack([v, *axes, *middle, turn], axis=1)).data)
        image[image != 0.0] -= np.min(image)
        image /= np.max(image)
        found = dival.phantom(ours)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.T, image)


def test_images_come_in_the_order_of_the_stream():
    stream = np.random.RandomState(1)
    first = [dival.phantom(stream) for _ in range(2)]
    source = dival.images("test")
    for image in first:
        np.testing.assert_array_equal(next(source), image)


def test_upsampling_is_that_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    image = np.random.default_rng(0).random((128, 128))
    up = dival.upsampling()
    np.testing.assert_allclose(up @ image @ up.T, transform.resize(image, (400, 400), order=1), atol=1e-12)


def test_rays_are_those_of_odls_geometry():
    odl = pytest.importorskip("odl")
    from odl.applications.tomo import parallel_beam_geometry

    space = odl.uniform_discr([-64, -64], [64, 64], (128, 128), dtype=np.float32)
    theirs, ours = parallel_beam_geometry(space, num_angles=30), dival.beam()
    assert ours.n_cols == theirs.detector.shape[0] == 183
    np.testing.assert_allclose(ours.angles, theirs.angles, rtol=1e-14)
    assert ours.pitch == pytest.approx(float(theirs.det_partition.cell_sides[0]), rel=1e-14)
    for k in (0, 7, 29):
        along_detector = theirs.det_axis(theirs.angles[k])
        np.testing.assert_allclose(ours.vectors[k, 4:6] / ours.pitch, along_detector, atol=1e-14)
        across = theirs.det_to_src(theirs.angles[k], 0.0)  # (x, y), from the detector to the source
        np.testing.assert_allclose(ours.vectors[k, 0:2], -across, atol=1e-14)


def test_noise_is_relative_and_from_one_stream():
    data, truth = next(dival.pairs("test", block=3))
    clean = XRay(dival.volume(400), dival.beam())(
        np.stack([dival.upsampling() @ x @ dival.upsampling().T for x in truth]).astype(np.float32)
    )
    stream = np.random.RandomState(3)
    for y, p in zip(data, clean, strict=True):
        expected = p + stream.normal(0.0, 0.025 * np.abs(p).mean(), (30, 183))
        np.testing.assert_allclose(y, expected, atol=2e-4 * np.abs(p).max())
    assert data.dtype == truth.dtype == np.float32


def test_filtered_back_projection_reaches_its_published_quality():
    """24.2 dB within the scatter of a few images, as reported for dival's reference parameters."""
    data, truth = next(dival.pairs("test", block=60))
    quality = dival.psnr(dival.fbp()(data), truth)
    assert quality.mean() == pytest.approx(24.18, abs=4 * quality.std() / np.sqrt(60))


def test_psnr_takes_the_range_of_each_image():
    truth = np.zeros((2, 4, 4))
    truth[0, 0, 0], truth[1, 0, 0] = 1.0, 10.0
    np.testing.assert_allclose(dival.psnr(truth + 0.1, truth), [20.0, 40.0])


def test_pairs_are_kept_on_disk(tmp_path):
    dival.prepare(tmp_path, "validation", 3)
    data, images = dival.prepared(tmp_path, "validation")
    assert data.shape == (3, 30, 183) and images.shape == (3, 128, 128)
    expected = next(dival.pairs("validation", block=3))
    np.testing.assert_array_equal(data, expected[0])
    np.testing.assert_array_equal(images, expected[1])


def test_a_short_training_writes_what_the_benchmark_reads(tmp_path):
    pytest.importorskip("torch")
    from benchmarks import dival_ellipses, dival_train

    dival.prepare(tmp_path, "train", 6)
    dival.prepare(tmp_path, "validation", 3)
    design = {"n": 2, "channels": 2, "width": 4, "depth": 2, "fold": 2, "filtered": 1}
    weights = tmp_path / "weights.safetensors"
    dival_train.train(tmp_path, weights, seconds=3.0, design=design, rate=1e-3, batch=2, look=60.0)
    method, about = dival_ellipses.learned(weights)
    assert about["design"] == design and about["steps"] >= 1 and about["images_seen"] == 2 * about["steps"]
    data, truth = dival.prepared(tmp_path, "validation")
    found = dival_ellipses.summary(method, data, truth, block=2)
    assert found["images"] == 3
    assert found["psnr_mean"] == pytest.approx(about["validation_psnr_100"], abs=0.02)
    assert abs(found["psnr_mean"] - dival.psnr(dival.fbp()(np.array(data)), truth).mean()) < 3.0


def test_the_kept_results_meet_the_published_anchors():
    """Filtered back-projection and total variation as published; the learned scheme well above both."""
    kept = json.loads((dival.ROOT / "benchmarks" / "results" / "dival_ellipses.json").read_text())
    assert kept["fbp_first_1000"]["images"] == 1000
    assert kept["fbp_first_1000"]["psnr_mean"] == pytest.approx(24.18, abs=0.15)
    assert kept["tv"]["images"] == 200
    assert kept["tv"]["psnr_mean"] == pytest.approx(27.96, abs=0.25)
    scores = {float(s): q for s, q in kept["tv"]["psnr_on_validation"].items()}
    assert kept["tv"]["strength"] == max(scores, key=lambda s: scores[s])
    assert min(scores) < kept["tv"]["strength"] < max(scores)
    assert kept["learned_primal_dual"]["images"] == 3200
    assert kept["learned_primal_dual"]["psnr_mean"] >= 30.3
    assert all(kept["environment"][name] for name in ("cpu", "cores", "packages", "commit", "date"))
