import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from rayfold.operators.geometry import ParallelBeam, Volume
from rayfold.recon.before_after import before_after
from rayfold.recon.data import Image, Scan
from rayfold.recon.panels import number, png, round_length
from rayfold.recon.phantoms import MU_WATER, thorax
from rayfold.recon.plot import compare, image, sinogram
from rayfold.recon.report import write_report
from rayfold.recon.windows import window_of


@pytest.fixture(scope="module")
def chest():
    return thorax(Volume((64, 96), 4.0)).to_hu(MU_WATER)


def limits(axes):
    return axes.images[0].get_clim()


def words(figure):
    texts = [t.get_text() for t in figure.texts] + [t.get_text() for a in figure.axes for t in a.texts]
    return " | ".join(texts)


def test_a_picture_is_true_to_scale_and_has_no_ticks():
    tall = Image(np.eye(20, 30), (2.0, 0.5))
    figure = image(tall)
    axes = figure.axes[0]
    box = axes.get_position()
    width, height = figure.get_size_inches()
    assert (box.height * height) / (box.width * width) == pytest.approx(40 / 15)
    assert not axes.axison and axes.images[0].get_cmap().name == "gray"
    assert "2 mm" in words(figure)


def test_the_window_is_named_given_or_robust(chest):
    assert limits(image(chest).axes[0]) == (-160, 240)
    assert limits(image(chest, window="lung").axes[0]) == (-1350, 150)
    assert limits(image(chest, window=(0, 5)).axes[0]) == (0, 5)
    mu = thorax(Volume((64, 96), 4.0))
    mu.array[30, 50] = 7.0  # one hot pixel does not darken the picture
    low, high = window_of(mu.array, "1/mm")
    assert low == 0 and MU_WATER < high < 3 * MU_WATER
    assert window_of(np.zeros((8, 8)), "a.u.") == (-1, 1)
    assert window_of(np.full((8, 8), 5.0), "a.u.") == (0, 5)
    assert window_of(np.full((8, 8), np.nan), "a.u.") == (0, 1)
    rng = np.random.default_rng(0)
    assert window_of(rng.normal(size=(64, 64)), "a.u.")[0] < -2  # a signed image keeps its negative side
    for window, cure in (("liver", "choose lung"), ((3, 1), "low < high")):
        with pytest.raises(ValueError, match=cure):
            image(chest, window=window)
    with pytest.raises(ValueError, match="use to_hu"):
        image(mu, window="lung")


def test_a_volume_shows_three_slices_head_up():
    array = np.zeros((4, 6, 8), np.float32)
    array[-1] = 1.0  # the top of the head
    figure = image(Image(array, (3.0, 1.0, 1.0)), window=(0, 1))
    axial, coronal, sagittal = (a.images[0].get_array() for a in figure.axes[:3])
    assert (axial.shape, coronal.shape, sagittal.shape) == ((6, 8), (4, 8), (4, 6))
    assert coronal[0].all() and not coronal[1:].any() and sagittal[0].all()
    assert len(image(Image(array[:1], (3.0, 1.0, 1.0))).axes) == 2


def test_given_axes_are_used_and_returned(chest):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert image(chest, ax=axes) is axes and len(axes.images) == 1


def test_compare_shares_a_window_and_states_its_metrics(chest):
    rng = np.random.default_rng(1)
    noisy = chest.array + rng.normal(0, 30, chest.shape)
    figure = compare({"noisy": noisy, "worse": noisy * 1.1, "truth": chest}, "truth", window="soft")
    images, differences = figure.axes[:3], figure.axes[4:6]
    assert {limits(a) for a in images} == {(-160, 240)}
    low, high = limits(differences[0])
    assert low == -high and limits(differences[1]) == (low, high)
    assert differences[0].images[0].get_cmap().name == "RdBu_r"
    text = words(figure)
    assert "truth" in text and re.search(r"PSNR [\d.]+ dB   SSIM 0\.\d{3}", text)
    assert f"data range of {number(np.ptp(chest.array))} HU" in text
    np.testing.assert_allclose(differences[0].images[0].get_array(), noisy - chest.array)
    assert "data range of 2000" in words(compare({"noisy": noisy}, chest, window="soft", data_range=2000))


def test_compare_states_the_window_of_its_differences(chest):
    """One symmetric window for all maps, robust or given, and written below."""
    rng = np.random.default_rng(2)
    near, far = (chest.array + rng.normal(0, s, chest.shape) for s in (10, 40))
    figure = compare({"near": near, "far": far}, chest, difference=60)
    assert limits(figure.axes[4]) == limits(figure.axes[5]) == (-60, 60)
    assert "reference, shown within \N{PLUS-MINUS SIGN}60 HU" in words(figure)
    robust = compare({"near": near, "far": far}, chest)
    edge = np.percentile(np.abs([near - chest.array, far - chest.array]), 99.5)
    assert limits(robust.axes[4]) == (-edge, edge) and f"\N{PLUS-MINUS SIGN}{number(edge)} HU" in words(
        robust
    )
    flat = compare({"a": np.ones((16, 16)), "b": np.zeros((16, 16))}, "b")
    assert "PSNR" not in words(flat) and "\N{PLUS-MINUS SIGN}1" in words(flat)  # a flat truth has no range
    for name in ("data_range", "difference"):
        for value in (0, -1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match=f"{name} is .*positive"):
                compare({"near": near}, chest, **{name: value})


@pytest.mark.parametrize(
    ("unit", "spacing", "length"), [("1/px", 5.0, "px"), ("a.u.", 1.0, "px"), ("a.u.", 1.2, "mm")]
)
def test_the_bar_is_in_the_unit_of_the_spacing(unit, spacing, length):
    picture = Image(np.eye(64), (spacing, spacing), unit=unit)
    assert f" {length}" in words(image(picture)) and f" {length}" in words(before_after(picture, picture))


def test_arrays_lie_where_the_images_next_to_them_do(chest):
    figure = compare({"array": chest.array + 1.0}, chest)
    sizes = [a.get_position().bounds[2:] for a in figure.axes[:2]]
    assert (
        sizes[0] == pytest.approx(sizes[1])
        and words(figure).count("50 mm") == 3
        and "px" not in words(figure)
    )
    assert "px" in words(compare({"a": chest.array}, chest.array))
    other = Image(chest.array, (2.0, 2.0), unit="HU")
    with pytest.raises(ValueError, match="one grid"):
        compare({"a": chest, "b": other})


def test_compare_without_a_reference_and_many(chest):
    assert len(compare({"a": chest, "b": chest}).axes) == 3
    assert len(compare({str(k): chest for k in range(6)}).axes) == 7  # two rows, one scale
    many = compare({str(k): chest for k in range(6)}, "0")
    assert len(many.axes) == (4 + 1) + (3 + 1) + (3 + 1) + (2 + 1)
    assert len(compare({"a": chest}, "a").axes) == 2


def test_compare_refuses_what_cannot_be_compared(chest):
    with pytest.raises(ValueError, match="no image"):
        compare({})
    with pytest.raises(ValueError, match="one grid"):
        compare({"a": chest.array, "b": chest.array[1:]})
    with pytest.raises(ValueError, match="one unit"):
        compare({"a": chest, "b": thorax(Volume((64, 96), 4.0))})
    with pytest.raises(ValueError, match="not one of the images"):
        compare({"a": chest}, "truth")
    with pytest.raises(ValueError, match="magnitude"):
        image(1j * chest.array)


def test_a_sinogram_shows_one_row():
    data = np.arange(5 * 3 * 8, dtype=float).reshape(5, 3, 8)
    scan = Scan(data, ParallelBeam.evenly(5, 8), "counts")
    shown = sinogram(scan, row=2).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, data[:, 2])
    with pytest.raises(ValueError, match="0 to 2"):
        sinogram(scan, row=3)


def test_figures_show_themselves_without_pyplot(chest, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    figure = image(chest)
    assert figure._repr_png_()[:4] == b"\x89PNG" and png(figure) == png(image(chest))


def test_round_numbers():
    assert [round_length(x) for x in (0.3, 1, 7, 19.9, 56)] == [0.2, 1, 5, 10, 50]
    assert [number(x) for x in (-1350.0, 0.0365, 240.0)] == ["\N{MINUS SIGN}1350", "0.0365", "240"]


class Seen(HTMLParser):
    """Tags that were opened and not closed, and everything that a browser would load."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_is_whole_escaped_and_self_contained(tmp_path, chest):
    evil = "<script>alert('x')</script>"
    page = write_report(
        tmp_path / "r.html",
        title=f"Dose & views {evil}",
        images={f"Slice {evil}": image(chest)},
        tables=[(evil, [{"method": "fbp", "PSNR": 31.25, "note": None}, {"method": evil, "PSNR": -2.0}])],
        facts={evil: evil, "views": 90, "HU": True, "spacing": np.array([0.5, 0.25])},
        provenance={"configuration": {"x": evil}, "path": tmp_path / "scan.h5"},
    )
    text = page.read_text()
    seen = Seen()
    seen.feed(text)
    assert seen.open == [] and "script" not in seen.tags and {"img", "table", "dl", "details"} <= seen.tags
    assert len(seen.loads) == 1 and seen.loads[0].startswith("data:image/png;base64,")
    assert "prefers-color-scheme: dark" in text and "0.5, 0.25" in text and "\N{MINUS SIGN}2" in text
    assert str(tmp_path) not in text
    again = write_report(tmp_path / "empty.html", title="t", images={})
    assert "<h1>t</h1>" in again.read_text()
