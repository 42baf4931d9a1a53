"""Protocols as values: text and repr come back exactly, mistakes are named in one line, dose scales."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.operators import Volume
from rayfold.recon import CTProtocol, InconsistentInput, MRIProtocol, Protocol, UnreadableInput
from rayfold.recon.protocol import PRESETS, random_ct, random_mri

GRID = Volume((64, 64), 3.0)
NAMES = {"CTProtocol": CTProtocol, "MRIProtocol": MRIProtocol}


def same(p):
    assert eval(repr(p), NAMES) == p
    for comments in (True, False):
        back = Protocol.from_toml(p.to_toml(comments=comments))
        assert back == p and hash(back) == hash(p) and repr(back) == repr(p)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back(name):
    same(Protocol.preset(name))


@pytest.mark.parametrize("draw", [random_ct, random_mri])
def test_random_protocols_come_back(draw):
    for seed in range(25):
        p = draw(np.random.default_rng(seed), GRID)
        same(p)
        assert p == draw(np.random.default_rng(seed), GRID)
        assert p != draw(np.random.default_rng(seed + 1000), GRID)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=20),
    st.floats(1e-6, 1e6),
    st.floats(1.0, 1e15),
    st.integers(1, 10**6),
    st.floats(-1e4, 1e4),
)
def test_any_value_comes_back(name, pitch, photons, views, offset):
    name = name.encode("utf-8", "ignore").decode()  # a TOML file has no halves of surrogate pairs
    same(CTProtocol(name=name, pitch_mm=pitch, photons=photons, views=views, detector_offset_mm=offset))


def test_a_file_comes_back(tmp_path):
    p = Protocol.preset("sparse-fan")
    p.to_toml(tmp_path / "a.toml")
    assert Protocol.from_toml(tmp_path / "a.toml") == p == Protocol.from_toml(str(tmp_path / "a.toml"))
    with pytest.raises(OSError, match="already there"):
        p.to_toml(tmp_path / "a.toml")


def test_values_are_plain_and_frozen():
    p = CTProtocol(views=np.int64(90), pitch_mm=np.float32(0.5), photons=10**4)
    assert type(p.views) is int and type(p.pitch_mm) is float and type(p.photons) is float
    assert MRIProtocol(matrix=[64, 48]).matrix == (64, 48)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.views = 3
    assert p.replace(views=90) == p != p.replace(views=91)
    assert len({p, p.replace(views=90), CTProtocol(views=91)}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CTProtocol(views=0), "views is 0; it must be a whole number of 1 or more"),
        (lambda: CTProtocol(views=1.5), "views is 1.5; it must be a whole number"),
        (lambda: CTProtocol(views=True), "views is True"),
        (lambda: CTProtocol(pitch_mm=-1), "pitch_mm is -1; it must be a number above 0"),
        (lambda: CTProtocol(pitch_mm=math.inf), "pitch_mm is inf"),
        (lambda: CTProtocol(photons=math.nan), "photons is nan"),
        (lambda: CTProtocol(geometry="fann"), "did you mean fan?"),
        (lambda: CTProtocol(source_to_axis_mm=500), "a parallel beam has no source"),
        (
            lambda: CTProtocol(geometry="fan", source_to_detector_mm=100),
            "the detector stands behind the axis",
        ),
        (lambda: CTProtocol(photons=1e4, noise_percent=1), "leave one out"),
        (lambda: CTProtocol(electronic=3, noise_percent=1), "electronic noise comes with photons"),
        (lambda: CTProtocol().replace(fotons=3), "CTProtocol has no fotons; did you mean photons?"),
        (lambda: CTProtocol(noise_percent=1).at_dose(1), "noise_percent states no dose"),
        (lambda: CTProtocol().at_dose(-1), "dose is -1; it must be positive"),
        (lambda: CTProtocol().operator(maps=np.ones(3)), "CT has no coils"),
        (lambda: MRIProtocol(pattern="possion", acceleration=4), "did you mean poisson?"),
        (lambda: MRIProtocol(pattern="equispaced"), "pattern 'equispaced' needs acceleration"),
        (lambda: MRIProtocol(pattern="equispaced", acceleration=2.5), "need a whole number"),
        (lambda: MRIProtocol(acceleration=2), "pattern 'full' takes no acceleration; it takes nothing"),
        (lambda: MRIProtocol(pattern="radial", shots=8, acceleration=2), "it takes shots, samples"),
        (lambda: MRIProtocol(pattern="random", acceleration=8, calibration=64), "calibration alone takes"),
        (lambda: MRIProtocol(te_ms=600.0), "puts the readout from"),
        (lambda: MRIProtocol(te_ms=0.1), "puts the readout from -0.54"),
        (lambda: MRIProtocol(matrix=(64, 64, 64)), "two whole numbers, one per image axis"),
        (lambda: MRIProtocol(matrix=(64, 64)).operator(GRID), "the volume is"),
        (lambda: MRIProtocol(matrix=(32, 64)).operator(GRID), "the protocol encodes"),
        (lambda: MRIProtocol(coils=2).operator(maps=np.ones((1, 128, 128))), "maps have shape"),
        (lambda: MRIProtocol().volume(64), "the protocol encodes"),
        (lambda: MRIProtocol().trajectory, "ask for its mask"),
        (lambda: MRIProtocol(pattern="radial", shots=4).mask, "ask for its trajectory"),
        (lambda: Protocol.preset("clinical"), "did you mean clinical-fan?"),
        (lambda: random_ct(np.random.default_rng(0), Volume((4, 4, 4))), "protocols are of one slice"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("views = 3\n", InconsistentInput, 'no modality is given; begin with modality = "CT" or "MRI"'),
        ('modality = "PET"\n', InconsistentInput, "modality is 'PET'; it must be CT or MRI"),
        (
            'modality = "CT"\nviews = 3\n',
            InconsistentInput,
            "views is in the wrong place; it belongs in section",
        ),
        (
            'modality = "CT"\n[dose]\nphoton = 3\n',
            InconsistentInput,
            "no [dose] photon; did you mean photons",
        ),
        (
            'modality = "CT"\n[doze]\nphotons = 3\n',
            InconsistentInput,
            "no section [doze]; did you mean dose?",
        ),
        ('modality = "CT"\n[dose]\nphotons = "many"\n', InconsistentInput, "photons is 'many'; it must be"),
        ('modality = "CT"\n[dose]\nname = "x"\n', InconsistentInput, "it belongs above all sections"),
        ("modality = \n", UnreadableInput, "is not valid TOML"),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, text, kind, message):
    (tmp_path / "bad.toml").write_text(text)
    for source in (tmp_path / "bad.toml", text):
        with pytest.raises(kind) as caught:
            Protocol.from_toml(source)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UnreadableInput, match="cannot be read"):
        Protocol.from_toml(tmp_path / "none.toml")


def test_dose_scales_with_photons_and_views_and_bins():
    p = CTProtocol(views=200, photons=2e4, pitch_mm=0.5)
    assert p.dose == pytest.approx(200 * 2e4 / 0.5 / 1e8)
    assert p.replace(views=400).dose == pytest.approx(2 * p.dose)
    assert p.replace(photons=1e4).dose == pytest.approx(p.dose / 2)
    assert p.replace(pitch_mm=1.0, cols=128).dose == pytest.approx(p.dose / 2)  # the same photons, wider bins
    fan = CTProtocol(geometry="fan", views=200, photons=2e4, pitch_mm=1.0)
    assert fan.dose == pytest.approx(200 * 2e4 / (595 / 1085.6) / 1e8)
    for dose in (1e-3, 0.37, 12.0):
        assert p.at_dose(dose).dose == pytest.approx(dose, rel=1e-9)
        assert p.at_dose(dose).replace(photons=p.photons) == p
    assert Protocol.preset("clinical-fan").dose == pytest.approx(1, rel=1e-3)


def test_times():
    assert CTProtocol(geometry="fan", rotation_ms=400.0).scan_time == 400.0
    assert CTProtocol(span_deg=720.0, rotation_ms=400.0).scan_time == 800.0
    p = MRIProtocol(matrix=(64, 64), pattern="equispaced", acceleration=4, calibration=0, tr_ms=100)
    assert p.scan_time == 16 * 100
    assert p.replace(averages=3).scan_time == 3 * 16 * 100
    points = MRIProtocol(matrix=(64, 64), pattern="poisson", acceleration=8, tr_ms=10, te_ms=3)
    assert points.scan_time == 64 * 64 / 8 * 10
    spokes = MRIProtocol(matrix=(64, 64), pattern="golden-radial", shots=21, tr_ms=10, te_ms=3)
    assert spokes.scan_time == 210 and spokes.trajectory.shape == (21, 128, 2)
    start, end = spokes.readout_ms
    assert (start + end) / 2 == pytest.approx(3) and end - start == pytest.approx(128 * 0.01)


@pytest.mark.parametrize("name", ["clinical-fan", "parallel-bench", "brain-poisson", "radial-golden"])
def test_pictures_show_rays_or_samples_and_time(name):
    p = Protocol.preset(name)
    p = p.replace(views=24) if p.modality == "CT" else p
    figure = p.picture()
    assert len(figure.axes) == (2 if p.modality == "CT" else 3)
    words = " ".join(text.get_text() for text in figure.texts)
    assert p.name in words and ("24 views" in words or "16 coils" in words)
    if p.modality == "CT":
        places = figure.axes[0].collections[0].get_offsets()
        assert len(places) == 24
        if p.geometry != "parallel":  # where the source goes
            assert np.allclose(np.hypot(*np.asarray(places).T), p.source_to_axis_mm)
    assert figure._repr_png_()[:4] == b"\x89PNG"
