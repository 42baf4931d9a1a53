"""The names of the package exist, and no module of it can get in the way of one."""

from __future__ import annotations

import pkgutil

import pytest

from rayfold.recon import mri


@pytest.mark.parametrize("name", mri.__all__)
def test_name(name):
    assert getattr(mri, name).__doc__
    assert name not in {found.name for found in pkgutil.iter_modules(mri.__path__)}


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Espirit'"):
        mri.Espirit  # noqa: B018
