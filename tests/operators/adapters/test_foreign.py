"""What all bridges share: nothing is loaded early, a missing peer has a cure, names are public."""

import subprocess
import sys

import numpy as np
import pytest
from tests.operators.adapters.peers import native

from rayfold.operators import adapters, dot_test
from rayfold.operators.adapters import Foreign, compare_adjoints
from rayfold.operators.adapters.foreign import peer


def test_a_missing_peer_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "astra", None)
    with pytest.raises(ImportError, match="pip install 'astra-toolbox'"):
        adapters.from_astra(1)
    with pytest.raises(ImportError, match="needs no_such_peer: pip install 'no_such_peer'"):
        peer("no_such_peer.sub")


def test_no_peer_is_loaded_before_its_bridge_is_called():
    names = ["astra", "odl", "scipy", "pylops", "sigpy", "deepinv", "scico", "tomosipo", "torch", "jax"]
    code = (
        "import sys, rayfold.operators.adapters as a\n"
        "[getattr(a, name) for name in a.__all__]\n"
        f"print([name for name in {names} if name in sys.modules])"
    )
    path = {"PYTHONPATH": next(p for p in sys.path if p.endswith(".dev"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_documented():
    for name in adapters.__all__:
        assert getattr(adapters, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'from_nowhere'"):
        adapters.from_nowhere  # noqa: B018


def test_two_wraps_of_one_object_are_equal():
    matrix = np.eye(3)
    source = adapters.to_scipy(native(4))
    assert adapters.from_scipy(source) == adapters.from_scipy(source)
    assert adapters.from_scipy(matrix) != adapters.from_scipy(source)
    assert hash(adapters.from_scipy(source)) == hash(adapters.from_scipy(source))


def test_wrong_adjoint_is_named():
    class Half:
        shape, dtype = (3, 3), np.dtype(float)

        def matvec(self, x):
            return 2 * x

        def rmatvec(self, x):
            return x

        def matmat(self, x):
            return 2 * x

    wrong = adapters.from_scipy(Half())
    assert not dot_test(wrong).ok
    lines = compare_adjoints(native(4), wrong).splitlines()
    assert lines[0].startswith("adjoint error of XRay") and "exact" in lines[0]
    assert "adjoint scaled by 0.5" in lines[1]


def test_an_unfinished_bridge_says_so():
    with pytest.raises(NotImplementedError, match="must define `one`"):
        Foreign(object(), ((2,), (2,)))(np.ones(2))
