"""The public names of `bnnzoo.nn`, and what a missing Keras or backend says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bnnzoo import nn


def test_every_public_name_exists():
    assert sorted(nn.__all__, key=str.casefold) == sorted(set(nn.__all__), key=str.casefold)
    for name in nn.__all__:
        assert getattr(nn, name).__doc__


@pytest.mark.parametrize("module", ["keras", "jax"])
def test_missing_dependency_names_the_extras(module):
    # None in sys.modules is how Python marks a module that must not be found.
    code = f"""
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
sys.modules["{module}"] = None
from bnnzoo.errors import MissingDependencyError
try:
    import bnnzoo.nn
except MissingDependencyError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.startswith(f"{module} is needed for networks"), result.stderr
    for extra in (".[tensorflow]", ".[jax]", ".[torch]"):
        assert extra in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_dir_shows_what_is_public():
    assert dir(nn) == sorted(nn.__all__)
    assert all(hasattr(nn, name) for name in dir(nn))
