"""Pictures of k-space and the names of the package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import rayfold.recon.trajectories as package
from rayfold.recon.panels import png
from rayfold.recon.trajectories import equispaced, kooshball, poisson_disc, radial, sampling


def test_a_mask_is_drawn_as_it_is():
    mask = poisson_disc((24, 36), 4)
    figure = sampling(mask, title="Poisson disc")
    (axes,) = figure.axes
    (picture,) = axes.images
    np.testing.assert_array_equal(picture.get_array(), mask)
    assert picture.get_extent() == [-18.5, 17.5, 11.5, -12.5]  # the centre of k-space at 0
    assert "R = 4.00" in {text.get_text() for text in figure.texts}
    assert png(figure) == png(sampling(mask, title="Poisson disc"))


@pytest.mark.parametrize("mask", [equispaced(16, 2), equispaced(16, 2)[:, None], equispaced(16, 2)[None]])
def test_lines_are_drawn_along_the_axis_they_are_constant_in(mask):
    (axes,) = sampling(mask.astype(float)).axes
    shown = axes.images[0].get_array()
    assert shown.shape == (16, 16)
    np.testing.assert_array_equal(shown, np.broadcast_to(mask, (16, 16)))


def test_a_trajectory_is_coloured_by_time():
    k = radial(6, 20)
    axes, scale = sampling(k).axes
    (lines,) = axes.collections
    segments = lines.get_segments()
    assert len(segments) == 6 * 19
    np.testing.assert_allclose(segments[0][0], k[0, 0, ::-1])  # kx across, ky down
    times = lines.get_array()
    assert (np.diff(times[:19]) > 0).all() and times[0] == times[19]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert [t.get_text() for t in scale.get_yticklabels()] == ["start", "end"]


def test_a_volume_is_drawn_in_three_planes_and_many_shots_are_thinned():
    figure = sampling(kooshball(900, 8))
    *planes, _ = figure.axes
    assert [(a.get_xlabel(), a.get_ylabel()) for a in planes] == [("kx", "ky"), ("kx", "kz"), ("ky", "kz")]
    assert len(planes[0].collections[0].get_segments()) == 300 * 7
    assert "900 shots of 8 samples" in {text.get_text() for text in figure.texts}


@pytest.mark.parametrize(
    "bad", [np.full((4, 4), 0.5), np.zeros((2, 3, 4)), np.zeros(0), np.zeros((2, 2, 2, 2))]
)
def test_what_is_neither_is_refused(bad):
    with pytest.raises(ValueError, match="is no mask"):
        sampling(bad)


def test_public_names_exist_and_importing_them_loads_nothing_heavy():
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert not isinstance(getattr(package, name), type(package))  # no function is hidden by its module
    with pytest.raises(AttributeError, match="no attribute 'Radial'"):
        package.Radial  # noqa: B018
    code = (
        "import sys, rayfold.recon.trajectories as t; [getattr(t, n) for n in t.__all__]; "
        "print([m for m in ('scipy', 'matplotlib', 'torch', 'numba', 'finufft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
