"""Painted parts have the areas, order and values they were given; filters and enlargement are exact."""

import numpy as np
import pytest

from rayfold.kernels.cpu import paint as kernel
from rayfold.kernels.cpu.fractals import cells, chaos, julia
from rayfold.recon.phantoms.parts import COLUMNS, KINDS, WIDTH, Canvas, rods, table, turns

N = 200


def painted(parts, *, shape=(N, N), add=False):
    canvas = Canvas(shape, fine=1)
    canvas.paint(parts, add=add)
    return canvas.array


def part(kind, half, **more):
    more = {"centre": (0, 99.3, 101.2), "value": 1.0, "turn": turns(0.0)} | more
    return table(1, kind=KINDS.index(kind), half=half, **more)


def test_columns_are_the_kernels():
    assert WIDTH == kernel.COLUMNS
    assert [getattr(kernel, kind.upper()) for kind in KINDS] == list(range(len(KINDS)))
    for name in COLUMNS:
        assert COLUMNS[name].start == getattr(kernel, {"turn": "TURN"}.get(name, name.upper()))
    assert sorted(i for at in COLUMNS.values() for i in range(at.start, at.stop)) == list(range(WIDTH))


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.1])
@pytest.mark.parametrize(
    ("kind", "half", "more", "area"),
    [
        ("ellipsoid", (60, 25, 1), {}, np.pi * 60 * 25),
        ("box", (60, 25, 1), {}, 4 * 60 * 25),
        ("capsule", (50, 20, 20), {}, 4 * 50 * 20 + np.pi * 20**2),
        # r = 1 + a cos 2t: the area is pi (1 + a^2 / 2) times that of the ellipse's unit disc
        ("star", (60, 30, 1), {"form": (0.3, 0, 0, 0, 0, 0, 0, 0)}, np.pi * (1 + 0.045) * 60 * 30),
        ("polygon", (60, 30, 1), {"sides": 6}, 2 * np.sqrt(3) * 0.85**2 * 60 * 30),
    ],
)
def test_areas(kind, half, more, area, angle):
    image = painted(part(kind, half, turn=turns(angle), **more))
    assert image.sum() == pytest.approx(area, rel=4e-3)
    y, x = np.nonzero(image[0])
    assert (y.mean(), x.mean()) == pytest.approx((99.3, 101.2), abs=0.7)
    if kind == "ellipsoid":  # the long axis points along the angle, from x to y
        (syy, syx), (_, sxx) = np.cov(y, x)
        assert np.cos(2 * (0.5 * np.arctan2(2 * syx, sxx - syy) - angle)) > 0.999


def test_balls_and_rods_in_a_volume():
    shape = (60, 64, 68)
    ball = painted(part("ellipsoid", (20, 15, 10), centre=(30.3, 31.2, 33.4)), shape=shape)
    assert ball.sum() == pytest.approx(4 / 3 * np.pi * 20 * 15 * 10, rel=0.01)
    star = painted(part("star", (20, 15, 10), centre=(30.3, 31.2, 33.4)), shape=shape)
    np.testing.assert_array_equal(star, ball)
    rod = rods([[15, 20, 18]], [[45, 40, 50]], [5.0])
    rod[:, COLUMNS["value"]] = 1
    length = np.linalg.norm([30, 20, 32])
    assert painted(rod, shape=shape).sum() == pytest.approx(
        np.pi * 25 * length + 4 / 3 * np.pi * 125, rel=0.01
    )


def test_the_first_is_in_front_and_added_values_add_up():
    front, back = part("ellipsoid", (20, 20, 1), value=2.0), part("ellipsoid", (40, 40, 1), value=5.0)
    image = painted(np.concatenate([front, back]))
    assert image[0, 99, 101] == 2 and image[0, 99, 131] == 5
    assert painted(np.concatenate([front, back]), add=True)[0, 99, 101] == 7
    canvas = Canvas((N, N), fine=1)
    left = canvas.paint([front, back])
    assert left == np.sum(image == 0) == canvas.free.sum()


def test_values_textures_waves_and_cuts():
    everywhere = KINDS.index("everywhere")
    canvas = Canvas((32, 32), fine=1, fields=np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    canvas.paint(table(1, kind=everywhere, value=1.0, strength=0.5, place=(0, 1, 2)))
    np.testing.assert_array_equal(
        canvas.array[0, :4, :4], 1 + 0.5 * np.roll(canvas.fields[0, 0], (-1, -2), (0, 1))
    )
    wave = painted(table(1, kind=everywhere, wave=0.3, frequency=(0, 0, 0.5), phase=0.2))
    np.testing.assert_allclose(wave[0, 7], 0.3 * np.sin(0.5 * np.arange(N) + 0.2), atol=1e-5)
    shaded = painted(part("box", (50, 50, 1), turn=turns(0.0), shade=(0.5, 0, 0)))
    assert np.diff(shaded[0, 99, 60:140]) == pytest.approx(0.01, abs=1e-6)
    cut = Canvas((32, 32), fine=1, cuts=np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(1, 1, 32, 32))
    cut.paint(table(1, kind=everywhere, value=1.0, cut=0, low=-0.5, high=0.25))
    assert cut.array.sum() == pytest.approx(0.75 / 2 * 32 * 32, abs=1)


def test_displaced_coordinates_move_the_part():
    canvas = Canvas((N, N), fine=1, shift=np.zeros((3, 1, N, N), np.float32))
    canvas.shift[2] = 12.0
    canvas.paint(part("ellipsoid", (20, 20, 1)))
    straight = painted(part("ellipsoid", (20, 20, 1), centre=(0, 99.3, 101.2 - 12)))
    np.testing.assert_array_equal(canvas.array, straight)


def test_image_of_a_canvas_keeps_mass_and_place():
    for fine in (1, 2, 3):
        canvas = Canvas((64, 64), fine=fine)
        canvas.paint(part("ellipsoid", np.full(3, 10.0 * fine), centre=canvas.middle))
        image = canvas.image(0.7)
        assert image.sum() * fine**2 == pytest.approx(canvas.array.sum(), rel=1e-5)
        np.testing.assert_allclose(image, image[::-1, ::-1], atol=1e-6)
    row = np.zeros((1, 41, 1), np.float32)
    row[0, 20] = 1
    out = np.empty_like(row)
    kernel.filter_axis(row, np.array([1, 2, 3], np.float32), 1, out)
    assert out[0, 19:22, 0].tolist() == [3, 2, 1]  # taps are met in their order: a correlation


def test_enlarging_is_exact_for_linear_functions():
    z, y, x = np.meshgrid(np.linspace(0, 1, 3), np.linspace(0, 1, 4), np.linspace(0, 1, 5), indexing="ij")
    out = np.empty((5, 13, 21), np.float32)
    kernel.enlarge((2 * z - 3 * y + x).astype(np.float32), out)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in out.shape), indexing="ij")
    np.testing.assert_allclose(out, 2 * z - 3 * y + x, atol=1e-6)


def test_julia_set_of_zero_is_the_unit_ball():
    out = np.empty((21, 21, 21), np.float32)
    frame = np.zeros((4, 4))
    frame[0, :3], frame[1, 0], frame[2, 1], frame[3, 2] = -1.5, 0.15, 0.15, 0.15
    julia(out, frame, np.zeros(4), 30, 16.0)
    g = np.meshgrid(*(0.15 * np.arange(21) - 1.5,) * 3, indexing="ij")
    radius = np.sqrt(sum(v * v for v in g))
    clear = np.abs(radius - 1) > 1e-3
    np.testing.assert_array_equal((out == 30)[clear], (radius < 1)[clear])
    # |q| = r escapes when r**(2**n) = 4: the smoothed count is log2(ln 4 / ln r) there
    far = radius > 1.1
    np.testing.assert_allclose(out[far], np.log2(np.log(4) / np.log(radius[far])) + 1, atol=1e-3)


def test_the_chaos_game_of_three_halvings_is_sierpinskis_triangle():
    maps = np.zeros((3, 3, 4))
    maps[:, 1, 1] = maps[:, 2, 2] = 0.5
    maps[1, 1, 3] = maps[2, 2, 3] = 0.5
    out = np.zeros((1, 64, 64), np.float32)
    chaos(out, maps, np.random.default_rng(0).integers(0, 3, 100_000), np.full(3, 64.0), np.zeros(3))
    j, i = np.nonzero(out[0])
    assert len(j) == 3**6 and not np.any(j & i) and out.sum() == 100_000 - 20


def test_cells_are_those_of_a_tree():
    spatial = pytest.importorskip("scipy.spatial")
    rng = np.random.default_rng(3)
    size = np.array([1.0, 8.0, 8.0])
    points = rng.uniform(0.2, 0.8, (1, 9, 9, 3)) * size
    points[..., 0] = 0
    points[..., 1] += 8 * np.arange(9)[:, None]
    points[..., 2] += 8 * np.arange(9)
    near, second, which = (np.empty((1, 64, 64), t) for t in (np.float32, np.float32, np.int32))
    cells(points, size, near, second, which)
    y, x = np.mgrid[:64, :64]
    distance, index = spatial.cKDTree(points.reshape(-1, 3)).query(
        np.stack([0 * y, y, x], axis=-1).reshape(-1, 3), k=2
    )
    np.testing.assert_allclose(near.ravel(), distance[:, 0], atol=1e-5)
    np.testing.assert_array_equal(which.ravel(), index[:, 0])
    assert np.mean(np.abs(second.ravel() - distance[:, 1]) < 1e-5) > 0.99
