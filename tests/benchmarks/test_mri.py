"""The MRI benchmark on a tiny case: what it compares with is right, and what it writes can be rendered."""

import sys

import numpy as np
import pytest

pytest.importorskip("finufft")
from benchmarks import machine, mri_cpu, readme


@pytest.fixture(scope="module")
def case():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"N": 16, "COILS": 3, "SPOKES": 12, "SAMPLES": 24}.items():
            patch.setattr(mri_cpu, name, value)
        yield mri_cpu.standard(places=8)


@pytest.fixture(scope="module")
def results(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mri_cpu, "PEERS", {})
        return {f"eps {eps:g}": mri_cpu.races(case, None, eps, 2, 1.0) for eps in (1e-6, 1e-4)}


def test_the_exact_values_are_sums_over_pixels_and_samples(case):
    n = case["image"].shape[0]
    r = np.stack(np.meshgrid(*[np.arange(n) - n // 2] * 2, indexing="ij"), -1).reshape(-1, 2)
    A = np.exp(-1j * case["trajectory"].astype(float) @ r.T) / n
    x = case["images"].reshape(3, -1).astype(complex)
    y = case["data"].astype(complex)
    np.testing.assert_allclose(case["exact forward"], (x @ A.T)[:, case["rows"]], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        case["exact adjoint"], (y @ A.conj())[:, case["pixels"]], rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        case["exact gram"], (x @ A.T @ A.conj())[:, case["pixels"]], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("eps", [1e-6, 1e-4])
def test_all_here_compute_the_same_within_eps(results, eps):
    found = results[f"eps {eps:g}"]
    for operation in (*mri_cpu.COIL_IMAGES, *mri_cpu.SENSE):
        if eps == 1e-4 and "gram" in operation:
            assert operation not in found
            continue
        bound = 1e-6 if "gram" in operation else 2 * eps + 2e-6
        assert {"rayfold"} < set(found[operation]) or operation.startswith("sense")
        for name, row in found[operation].items():
            assert row["error"] < bound, (operation, name)
            assert 0 < row["best"] <= row["median"] and row["runs"] == 2
    assert found["forward"]["rayfold"]["times_rayfold"] == 1.0
    assert found["plans rayfold made after the first calls"] == 0


def test_targets_compare_the_best_times():
    best = {"rayfold": 1.0, "padded scipy FFTs": 0.9, "MIRTorch": 1.5, "MRpro": 2.0}
    gram = {name: {"times_rayfold": value} for name, value in best.items()}
    found = mri_cpu.targets({"eps 1e-06": {"gram": gram}, "3D": {"peak MB": 1200.0}})
    assert {name: row["met"] for name, row in found.items()} == {
        "gram: rayfold over padded scipy FFTs": True,
        "gram: MIRTorch over rayfold": True,
        "gram: MRpro over rayfold": False,
        "3D: peak GB": True,
    }


def test_the_readme_names_every_tool_once(results):
    text = readme.mri(
        {
            "machine": machine.machine(("numpy",)),
            "peers' versions": {"torch": None},
            "problem": "tiny",
            "threads": 1,
            **results,
        }
    )
    for name in mri_cpu.HERE:
        assert text.count(f"| {name} |") == 1
    assert "numpy" in text and "torch" not in text.split("\n")[1]


def test_the_peers_answer_from_their_own_process(case, tmp_path):
    np.savez(tmp_path / "case.npz", **case)
    with mri_cpu.Elsewhere(sys.executable, str(tmp_path)) as there:
        assert there.ask(do="versions")["numpy"] == np.__version__
        made = there.ask(do="make", peer="MRpro", eps=1e-4)
        assert made == {"missing": "its eps cannot be chosen"}
    assert there.process.returncode == 0


def test_turns_leave_out_who_has_taken_too_long():
    order = []

    def clock(name, seconds):
        return lambda: order.append(name) or seconds

    rows = machine.turns({"slow": clock("s", 2.0), "fast": clock("f", 0.5)}, {"slow": 5, "fast": 5}, most=3.0)
    assert order == ["s", "f", "s", "f", "s", "f", "f", "f"]
    assert rows["slow"] == {"best": 2.0, "median": 2.0, "runs": 3}
