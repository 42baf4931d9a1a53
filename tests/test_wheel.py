"""The wheel: what is in it, and that it works from a clean directory."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMOKE = """
import sys
import numpy as np
import rayfold.operators, rayfold.kernels.launch, rayfold.recon
from rayfold.operators import ParallelBeam, Volume, XRay, dot_test
assert sys.argv[1] in rayfold.operators.__file__, rayfold.operators.__file__
A = XRay(Volume((16, 16)), ParallelBeam.evenly(12, 24))
assert np.allclose(A(np.ones((16, 16)))[0, 4:20], 16)
assert dot_test(A)
assert "joseph" in rayfold.kernels.launch.source("joseph", rayfold.kernels.launch.preamble("float32", 1))
"""


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is written beside the sources."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    skip = shutil.ignore_patterns("__pycache__", ".*", "shared", "build", "*.egg-info", "notebooks")
    shutil.copytree(ROOT, source, ignore=skip)
    if importlib.util.find_spec("build"):
        command = ["build", "--wheel", "--no-isolation", "--outdir", str(place), str(source)]
    else:
        command = ["pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=clean())
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = place.glob("*.whl")
    return found


@pytest.mark.slow
def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for part in ("recon", "operators", "kernels"):
        ours = {f"rayfold/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / part).rglob("*.py")}
        assert ours <= set(names)
    cuda = {f"rayfold/kernels/cuda/{path.name}" for path in (ROOT / "kernels" / "cuda").glob("*.cu*")}
    assert cuda and cuda <= set(names)
    assert {f"rayfold/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("*/py.typed")} <= set(names)
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"rayfold"}
    assert not [name for name in names if "test" in Path(name).parts or "tests" in Path(name).parts]
    assert "rayfold/__init__.py" not in names  # three portions of one namespace


@pytest.mark.slow
def test_works_where_it_is_installed(wheel, tmp_path):
    place = tmp_path / "site"
    command = ["pip", "install", "--no-deps", "--no-index", "--target", str(place), str(wheel)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=clean())
    assert done.returncode == 0, done.stderr
    environment = clean() | {"PYTHONPATH": str(place), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python("-W", "error", "-c", SMOKE, str(place))
    assert "usage" in python("-m", "rayfold.recon", "--help").lower()
