import getpass
import hashlib
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon.errors import OutputFailure, UnreadableInput
from rayfold.recon.provenance import Stages, file_facts, provenance, write_json


@dataclass
class Config:
    method: str
    iterations: int
    scan: Path


def test_what_it_says(tmp_path):
    (tmp_path / "scan.h5").write_bytes(b"rays")
    (tmp_path / "prior.safetensors").write_bytes(b"weights")
    stages = Stages()
    for _ in range(2):
        with stages("filter"):
            pass
    made = provenance(
        configuration={"recon": Config("cgls", 20, tmp_path / "scan.h5"), "tolerance": np.float32(0.5)},
        inputs=[tmp_path / "scan.h5"],
        weights=[tmp_path / "prior.safetensors"],
        timings=stages.seconds,
        seeds={"noise": np.int64(7)},
    )
    assert made["configuration"] == {
        "recon": {"method": "cgls", "iterations": 20, "scan": "scan.h5"},
        "tolerance": 0.5,
    }
    assert made["inputs"] == [{"name": "scan.h5", "bytes": 4, "sha256": hashlib.sha256(b"rays").hexdigest()}]
    assert made["weights"][0]["name"] == "prior.safetensors" and made["seeds"] == {"noise": 7}
    assert made["packages"]["numpy"] == np.__version__ and list(made["seconds"]) == ["filter"]
    assert json.loads(json.dumps(made)) == made


def test_no_person_host_or_folder(tmp_path):
    folder = tmp_path / "Mueller_Anna"
    folder.mkdir()
    (folder / "scan.h5").write_bytes(b"")
    names = {"a": folder / "scan.h5", "b": str(folder / "scan.h5"), "c": "~/anna/x.h5", "d": "C:\\anna\\y.h5"}
    made = provenance(configuration={**names, "dataset": "/entry/data"}, inputs=[folder / "scan.h5"])
    assert made["configuration"] == {
        "a": "scan.h5",
        "b": "scan.h5",
        "c": "x.h5",
        "d": "y.h5",
        "dataset": "/entry/data",
    }
    text = write_json(tmp_path / "run.json", made).read_text().lower()
    for word in ("mueller", "anna", str(tmp_path).lower(), platform.node().lower(), str(Path.home()).lower()):
        assert not word.strip("/") or word not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text


def test_json_is_stable_complete_and_strict(tmp_path):
    one = write_json(tmp_path / "1.json", {"b": 1, "a": {"y": float("inf"), "x": (1, 2)}})
    two = write_json(tmp_path / "2.json", {"a": {"x": [1, 2], "y": float("inf")}, "b": 1})
    assert one.read_bytes() == two.read_bytes()
    assert json.loads(one.read_text())["a"]["y"] == "inf"
    with pytest.raises(OutputFailure, match="--force"):
        write_json(one, {})
    with pytest.raises(TypeError, match=r"content\.a\[0\] is a object"):
        write_json(tmp_path / "3.json", {"a": [object()]})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.json", "2.json"]


def test_a_folder_is_hashed_by_its_files(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    facts = file_facts(tmp_path)
    assert (facts["files"], facts["bytes"]) == (2, 2)
    (tmp_path / "b").write_text("c")
    assert file_facts(tmp_path)["sha256"] != facts["sha256"]
    with pytest.raises(UnreadableInput, match="no such file"):
        file_facts(tmp_path / "none")


def test_nothing_heavy_is_imported():
    heavy = ("torch", "jax", "scipy", "numba", "matplotlib", "h5py", "pydicom", "nibabel", "tifffile")
    modules = ("provenance", "plot", "report", "metrics", "phantoms", "io.writers", "io.read_image")
    code = f"import sys, {', '.join(f'rayfold.recon.{m}' for m in modules)}; "
    code += "rayfold.recon.provenance.provenance(configuration={}); "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(root / ".dev")}
    )
    assert run.stdout.strip() == "[]", run.stderr
