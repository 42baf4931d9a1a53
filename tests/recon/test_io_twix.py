"""Siemens twix: files built from the format's own line headers, with everything a scanner mixes into them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from tests.recon.mri_files import (
    MARK,
    coil_images,
    fft,
    pulseq_sequence,
    samples_at,
    twix_block,
    twix_end,
    twix_protocol,
    write_twix,
)

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io import load
from rayfold.recon.io.regrid import trapezoid_positions

pytest.importorskip("twixtools")


def written(path, blocks, *before, **protocol):
    return write_twix(path, *before, (twix_protocol(**protocol), b"".join(blocks) + twix_end()))


def test_readouts_and_facts(tmp_path, rng):
    y = coil_images(rng, 3, 8, 16)
    scan = load(written(tmp_path / "a.dat", [twix_block(y[:, k], {"Lin": k}) for k in range(8)]))
    assert np.array_equal(scan.data, y) and scan.axes == ("coil", "ky", "kx") and scan.sampled is None
    assert scan.crop == (8, 8) and scan.field_of_view == (200.0, 400.0) and scan.slice_thickness == 4.0
    assert scan.echo_times == (5.0,) and scan.dwell == 0.01 and scan.field_strength == 2.89
    # quaternion of an axial slice: phase along +y, read along -x, and both backwards
    assert np.allclose(scan.direction, [[1, 0, 0], [0, -1, 0], [0, 0, 1]], atol=1e-6)


def test_same_samples_as_twixtools(tmp_path, rng):
    import twixtools

    y = coil_images(rng, 2, 4, 8)
    path = written(tmp_path / "a.dat", [twix_block(y[:, k], {"Lin": k}) for k in range(4)])
    measured = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)
    read = np.stack([block.data for block in measured[-1]["mdb"]], axis=1)
    assert np.array_equal(load(path).data, read)


def test_counters_become_named_axes_and_slices_are_sorted(tmp_path, rng):
    y = coil_images(rng, 2, 3, 2, 1, 4, 8)  # slice, echo, average, coil
    blocks = [
        twix_block(y[s, e, a, :, k], {"Lin": k, "Sli": s, "Eco": e, "Ave": a}, place=(1, 2, 30 - 20 * s))
        for a in range(2)
        for k in range(4)
        for s in range(2)
        for e in range(3)
    ]
    scan = load(written(tmp_path / "a.dat", blocks, lContrasts=2))
    assert scan.axes == ("slice", "echo", "average", "coil", "ky", "kx") and scan.echo_times == (5.0, 9.0)
    assert (
        np.array_equal(scan.data, y[::-1]) and scan.origin == (1.0, 2.0, 10.0) and scan.slice_spacing == 20.0
    )


def test_partial_fourier_and_asymmetric_echo(tmp_path, rng):
    """The centre line 1 of 5 and the centre sample 4 of 12 lie at the middle of 8 x 16."""
    y = coil_images(rng, 2, 8, 16)
    blocks = [twix_block(y[:, k + 3, 4:], {"Lin": k}, centre=(4, 1, 0)) for k in range(5)]
    scan = load(written(tmp_path / "a.dat", blocks))
    mask = np.zeros((8, 16), bool)
    mask[3:, 4:] = True
    assert scan.matrix == (8, 16) and np.array_equal(scan.sampled, mask)
    assert np.array_equal(scan.data, y * mask)


def test_three_dimensions_with_oversampling(tmp_path, rng):
    y = coil_images(rng, 1, 6, 4, 16)
    places = [(z, k) for z in range(6) for k in range(4)]
    blocks = [twix_block(y[:, z, k], {"Lin": k, "Par": z}, centre=(8, 2, 3)) for z, k in places]
    scan = load(written(tmp_path / "a.dat", blocks, sKSpace__dSliceOversamplingForDialog=0.5))
    assert scan.axes == ("coil", "kz", "ky", "kx") and np.array_equal(scan.data, y)
    assert scan.crop == (4, 4, 8) and scan.field_of_view == (6.0, 200.0, 400.0)
    assert scan.slice_thickness is None
    assert np.allclose(scan.direction, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-6)


def test_noise_scan_of_an_earlier_measurement(tmp_path, rng):
    """The vendor samples 8 points of noise every 960 us, and passes 0.793 of the bandwidth."""
    noise, y = coil_images(rng, 2, 3, 8), coil_images(rng, 2, 4, 8)
    spare = b"".join(twix_block(noise[:, k], {}, ("NOISEADJSCAN",)) for k in range(3)) + twix_end()
    blocks = [twix_block(y[:, k], {"Lin": k}) for k in range(4)]
    scan = load(written(tmp_path / "a.dat", blocks, (twix_protocol(), spare)))
    assert np.array_equal(scan.data, y)
    assert np.allclose(scan.noise, noise.reshape(2, -1) * np.sqrt(0.96 / (0.01 * 0.793)), rtol=1e-5)
    other = b"".join(twix_block(noise[:1, k], {}, ("NOISEADJSCAN",)) for k in range(3)) + twix_end()
    scan = load(written(tmp_path / "b.dat", blocks, (twix_protocol(), other)))
    assert scan.noise is None and any("noise scan has 1 coils" in note for note in scan.notes)


@pytest.mark.parametrize("mode", [2, 4])
def test_calibration_lines(tmp_path, rng, mode):
    y, other = coil_images(rng, 2, 8, 8), coil_images(rng, 2, 8, 8)
    blocks = [twix_block(other[:, k], {"Lin": k}, ("PATREFSCAN",)) for k in (3, 5)]
    both = ("PATREFSCAN", "PATREFANDIMASCAN")
    blocks += [
        twix_block(y[:, k], {"Lin": k}, both if k == 4 else (), centre=(4, 4, 0)) for k in (0, 2, 4, 6)
    ]
    scan = load(written(tmp_path / "a.dat", blocks, base=4, mode=mode))
    measured = np.flatnonzero(scan.sampled[:, 0]).tolist()
    if mode == 2:
        assert measured == [0, 2, 3, 4, 5, 6] and scan.calibration is None
    else:
        assert measured == [0, 2, 4, 6]
        assert np.flatnonzero(scan.calibration_sampled[:, 0]).tolist() == [3, 4, 5]
        assert np.array_equal(scan.calibration[:, [3, 5]], other[:, [3, 5]])


def test_epi_is_turned_regridded_and_has_its_reference(tmp_path, rng):
    n, times = 16, (10.0, 60.0, 140.0, 60.0)
    dwell = 240 / n
    image = np.zeros((2, 4, n), complex)
    image[..., 5:11] = coil_images(rng, 2, 4, 6)
    kx, ky = trapezoid_positions(n, dwell, *times), np.arange(4) - 2
    y = samples_at(image, np.stack(np.broadcast_arrays(kx[None], ky[:, None])))
    ref = samples_at(image, np.stack([kx, 0 * kx]))

    def block(row, k, *flags):
        back = ("REFLECT",) if k % 2 else ()
        return twix_block(row[:, ::-1] if k % 2 else row, {"Lin": k}, (*flags, *back), centre=(8, 2, 0))

    blocks = [block(ref, k, "PHASCOR") for k in range(3)] + [block(y[:, k], k) for k in range(4)]
    values = dict(zip(("DelaySamples", "Rampup", "Flattop", "Rampdown"), times, strict=True))
    meas = "".join(f'<ParamLong."alRegrid{name}Time"> {{ {v:g} }}\n' for name, v in values.items())
    meas += '<ParamLong."alRegridMode"> { 2 }\n<ParamDouble."aflRegridADCDuration"> { 240 }\n'
    scan = load(written(tmp_path / "a.dat", blocks, meas=meas))
    truth = fft(image)
    assert np.abs(scan.data - truth).max() < 0.02 * np.abs(truth).max()
    assert scan.reversed_lines.tolist() == [False, True, False, True]
    assert scan.reference.shape == (2, 3, 16) and scan.reference_reversed.tolist() == [False, True, False]
    assert np.allclose(scan.reference, scan.data[:, 2:3], atol=1e-4)


# --- Pulseq ---


@pytest.fixture(scope="module")
def pulseq(tmp_path_factory):
    pytest.importorskip("pypulseq")
    folder = tmp_path_factory.mktemp("pulseq")
    return {kind: (folder / f"{kind}.seq", pulseq_sequence(folder / f"{kind}.seq", kind)) for kind in KINDS}


KINDS = ("gre", "epi", "radial")
INTERPRETER = "%CustomerSeq%\\\\pulseq"


def measured(path, samples, sequence):
    """What the interpreter stores: readouts that are only counted."""
    blocks = [twix_block(samples[:, k], {"Lin": k}) for k in range(samples.shape[1])]
    written(path, blocks, name=INTERPRETER)
    if sequence is not None:
        path.with_suffix(".seq").write_bytes(sequence.read_bytes())
    return path


def test_echoes_come_from_the_sequence(tmp_path, rng, pulseq):
    sequence, cycles = pulseq["gre"]
    images = coil_images(rng, 2, 16, 16)
    readouts = cycles.reshape(3, 16, 2, 16)  # line, echo, sample
    y = samples_at(images, readouts)
    y[:, :, 1] *= 0.5
    scan = load(measured(tmp_path / "a.dat", y.reshape(2, 32, 16), sequence))
    assert scan.axes == ("echo", "coil", "ky", "kx") and scan.matrix == (16, 16) and scan.sampled is None
    assert np.allclose(scan.data[0], y[:, :, 0], atol=1e-5) and np.allclose(
        scan.data[1], y[:, :, 1], atol=1e-5
    )
    assert scan.field_of_view == pytest.approx((160, 160)) and scan.slice_thickness == pytest.approx(4)
    assert scan.dwell == pytest.approx(0.1) and scan.echo_times[1] > scan.echo_times[0] > 2
    # half a sample beside the grid is a phase of the image, no more
    x = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.data[0], (-2, -1)), norm="ortho"), (-2, -1))
    assert np.allclose(np.abs(x), np.abs(images), atol=1e-4)


def test_epi_from_the_sequence(tmp_path, rng, pulseq):
    """Ramps and turned lines: an object within the field of view comes out as on the even grid."""
    sequence, cycles = pulseq["epi"]
    image = np.zeros((2, 16, 16), complex)
    image[:, 3:13, 3:13] = coil_images(rng, 2, 10, 10)
    readouts = cycles.reshape(3, 16, -1)
    y = samples_at(image, readouts)
    flat = samples_at(image, readouts * np.array([1, 0, 0])[:, None, None])
    spare = measured(tmp_path / "flat.dat", flat, None)
    scan = load(measured(tmp_path / "a.dat", y, sequence), reference=spare)
    truth = fft(image)
    assert scan.matrix == (16, 16) and np.abs(scan.data - truth).max() < 0.02 * np.abs(truth).max()
    assert scan.reversed_lines.tolist() == [False, True] * 8 == scan.reference_reversed.tolist()
    assert np.abs(scan.reference - scan.data[:, 8:9]).max() < 0.02 * np.abs(truth).max()
    (tmp_path / "a.toml").write_text('[kspace]\nreference = "flat.dat"\n')
    assert np.array_equal(load(tmp_path / "a.dat").reference, scan.reference)


def test_spokes_keep_their_trajectory(tmp_path, rng, pulseq):
    sequence, cycles = pulseq["radial"]
    y = coil_images(rng, 2, 16, 16)
    scan = load(measured(tmp_path / "a.dat", y, None), sequence=sequence)
    assert scan.axes == ("coil", "shot", "sample") and np.array_equal(scan.data, y)
    places = cycles[1::-1].reshape(2, 16, 16).transpose(1, 2, 0)
    # the file keeps six digits of a gradient
    assert scan.matrix == (16, 16) and np.allclose(scan.trajectory, places * (np.pi / 8), atol=1e-4)


def test_long_readouts_are_stored_in_pieces(tmp_path, rng, pulseq):
    sequence, _ = pulseq["radial"]
    y = coil_images(rng, 2, 16, 16)
    pieces = y.reshape(2, 32, 8)
    scan = load(measured(tmp_path / "a.dat", pieces, sequence))
    assert np.array_equal(scan.data, y)


def test_a_sequence_that_was_not_run(tmp_path, rng, pulseq):
    path = measured(tmp_path / "a.dat", coil_images(rng, 1, 5, 16), pulseq["gre"][0])
    with pytest.raises(
        InconsistentInput, match=r"hold 5 readouts of 16 samples, the sequence 32 of 16 .*with sequence="
    ):
        load(path)
    (tmp_path / "b.seq").write_text("# Pulseq sequence file\n[VERSION]\nmajor 1\n")
    with pytest.raises(UnreadableInput, match=r"b\.seq cannot be read as a Pulseq sequence"):
        load(path, sequence=tmp_path / "b.seq")
    with pytest.raises(
        UnreadableInput, match=r"b\.seq is a Pulseq sequence and holds no data; give the \.dat"
    ):
        load(tmp_path / "b.seq")


def test_without_its_sequence_the_counter_counts(tmp_path, rng):
    y = coil_images(rng, 2, 8, 16)
    scan = load(measured(tmp_path / "a.dat", y, None))
    assert np.array_equal(scan.data, y) and scan.crop is None and "without its .seq" in scan.notes[0]
    assert scan.direction is None and scan.echo_times is None


# --- bad input ---


@pytest.fixture
def good(tmp_path, rng):
    y = coil_images(rng, 2, 4, 8)
    return written(tmp_path / "scan.dat", [twix_block(y[:, k], {"Lin": k}) for k in range(4)])


def test_truncated(good):
    content = good.read_bytes()
    for kept in (len(content) - 700, len(content) - 900, 10240 + 100, 9000, 600):
        good.write_bytes(content[:kept])
        with pytest.raises(UnreadableInput, match=r"scan\.dat.*copy it again") as caught:
            load(good)
        assert "\n" not in str(caught.value)
    good.write_bytes(b"")
    with pytest.raises(UnreadableInput, match=r"scan\.dat is empty"):
        load(good)
    good.write_text("line,value\n1,2\n")
    with pytest.raises(UnreadableInput, match=r"scan\.dat should be Siemens twix but"):
        load(good)


def test_whatever_the_bytes_are_it_is_a_scan_or_one_line(good, rng):
    content = good.read_bytes()
    for _ in range(60):
        broken = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            broken[place] = rng.integers(256)
        for place in rng.integers(10240, len(content), 2):
            broken[place] = rng.integers(256)
        good.write_bytes(bytes(broken))
        try:
            load(good)
        except (UnreadableInput, InconsistentInput) as error:
            assert "scan.dat" in str(error) and "\n" not in str(error) and MARK not in str(error)


def test_only_adjustments(tmp_path, rng):
    y = coil_images(rng, 2, 4, 8)
    path = written(tmp_path / "a.dat", [twix_block(y[:, k], {"Lin": k}, ("NOISEADJSCAN",)) for k in range(4)])
    with pytest.raises(InconsistentInput, match=r"a\.dat: the last measurement holds no lines of an image"):
        load(path)


def test_nan_samples_are_counted(tmp_path, rng):
    y = coil_images(rng, 2, 4, 8)
    y[0, 1, :3] = np.nan
    path = written(tmp_path / "a.dat", [twix_block(y[:, k], {"Lin": k}) for k in range(4)])
    with pytest.raises(InconsistentInput, match=r"a\.dat: data holds 3 NaN or infinite samples of 64"):
        load(path)


def test_missing_package_is_named(good, monkeypatch):
    home = importlib.import_module("rayfold.recon.io.twix_file")
    real = home.import_module

    def absent(name):
        if name.startswith("twixtools"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name)

    monkeypatch.setattr(home, "import_module", absent)
    with pytest.raises(
        ImportError, match=r"reading scan\.dat needs twixtools; install it with: pip install 'rayfold\[mri\]'"
    ):
        load(good)
