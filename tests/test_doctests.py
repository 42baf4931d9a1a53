"""Every example in every docstring runs."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest


def modules() -> list[str]:
    names = []
    for part in ("kernels", "operators", "recon"):
        package = importlib.import_module(f"rayfold.{part}")
        names += [f"rayfold.{part}"]
        names += [found.name for found in pkgutil.walk_packages(package.__path__, f"rayfold.{part}.")]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own call
@pytest.mark.parametrize("name", modules())
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        pytest.skip(f"needs {missing.name}")
    # peers that other tests import change how NumPy prints
    with np.printoptions(legacy=False, precision=8, suppress=False, floatmode="maxprec", sign="-"):
        result = doctest.testmod(module)
    assert result.failed == 0
