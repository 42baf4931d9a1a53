"""The recipe for limited angles on a disc of computed chords, and what an opinion does to it."""

from __future__ import annotations

import numpy as np
from benchmarks import htc_limited_angle as htc

from rayfold.operators import FanBeam
from rayfold.recon.preprocess.hardening import Hardening

MM = 25.0  # per unit of attenuation


def level() -> htc.Level:
    """A disc with one hole, 12 degrees, on 64 x 64 pixels."""
    beam = FanBeam(
        np.deg2rad(np.arange(0, 12, 1.5)), 560, source_to_axis=410.0, source_to_detector=553.0, pitch=0.2
    )
    disc = htc.Circle(1.0, -2.0, 30.0)
    lengths = htc.chords(beam, disc) - htc.chords(beam, htc.Circle(-4.0, 6.0, 8.0))
    return htc.pose(htc.Disc(lengths / MM, beam, disc), Hardening((MM,)), 64, htc.Recipe())


def run(held: htc.Level, opinion: htc.Opinion | None) -> np.ndarray:
    recipe = htc.Recipe()
    state = htc.descend(held, 0.8 * held.upper, 0.0, 60, recipe)
    for pull in recipe.pulls[-3:]:
        state = htc.descend(held, state, pull, 30, recipe, opinion)
    return np.asarray(state.x)


def test_an_opinion_takes_the_place_of_the_image_in_the_pull():
    held = level()
    plain = run(held, None)
    y, x = np.meshgrid(*2 * [(np.arange(64) - 31.5) * htc.SPACING * 8], indexing="ij")
    hole = np.hypot(x + 4, y - 6) < 8
    assert htc.matthews((plain > 0.5)[held.upper == 1], ~hole[held.upper == 1]) > 0.8
    np.testing.assert_array_equal(run(held, lambda x, pull: x), plain)
    truth = held.upper * ~hole
    known = run(held, lambda x, pull: truth)
    assert np.square(known - truth).mean() < 0.5 * np.square(plain - truth).mean()
    told: list[float] = []
    run(held, lambda x, pull: told.append(pull) or x)
    assert told == list(htc.Recipe().pulls[-3:])
