"""How the house is built: packages, layers, sizes, and what an import costs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("recon", "operators", "kernels")
HEAVY = ("numba", "torch", "jax", "cupy", "matplotlib", "scipy", "h5py", "pydicom", "astra", "odl")
BARE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
ENVIRONMENT = BARE | {"PYTHONPATH": str(ROOT / ".dev")}


def sources() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def run(*code: str) -> str:
    done = subprocess.run([sys.executable, *code], capture_output=True, text=True, env=ENVIRONMENT, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_folder_of_sources_is_a_package_of_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"rayfold." + ".".join(path.parent.relative_to(ROOT).parts) for path in sources()}
    with_cuda = {"rayfold.kernels.cuda"} if (ROOT / "kernels" / "cuda").is_dir() else set()
    assert set(settings["packages"]) == found | with_cuda


def test_no_file_is_longer_than_500_lines():
    long = {
        str(path.relative_to(ROOT)): n
        for path in sources()
        if (n := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_every_module_says_what_it_is_for():
    silent = [
        str(path) for path in sources() if path.read_text().strip() and not path.read_text().startswith('"""')
    ]
    assert not silent


def test_layers():
    program = shutil.which(
        "lint-imports", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if program is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["rayfold.recon", "rayfold.operators"])
def test_an_import_loads_no_framework(module):
    loaded = run("-c", f"import {module}, sys; print(*sys.modules)").split()
    assert module in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_numpy_arrays_need_no_framework():
    """A projection of a NumPy array loads numba and nothing else that is heavy."""
    code = """
import sys, numpy as np
from rayfold.operators import ParallelBeam, Volume, XRay
XRay(Volume((8, 8)), ParallelBeam.evenly(5, 9))(np.ones((8, 8)))
print(*sys.modules)
"""
    loaded = run("-c", code).split()
    assert "numba" in loaded and not [
        name for name in ("torch", "jax", "cupy", "matplotlib") if name in loaded
    ]


def test_public_names_exist():
    import rayfold.operators

    for name in rayfold.operators.__all__:
        assert getattr(rayfold.operators, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Xray'"):
        rayfold.operators.Xray  # noqa: B018


def test_import_time():
    """Under 0.6 s beyond a bare interpreter, the best of five of each."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run("-c", code)
            times.append(time.perf_counter() - start)
        return min(times)

    run("-c", "import rayfold.recon")
    assert best("import rayfold.recon") - best("pass") < 0.6


def test_no_copy_of_the_package_is_installed_beside_this_one():
    found = importlib.util.find_spec("rayfold.operators")
    assert found is not None and found.origin is not None
    assert Path(found.origin).resolve() == ROOT / "operators" / "__init__.py"
