"""The exception tree: exit codes, built-in bases, one-line messages."""

from __future__ import annotations

import pytest

from bnnzoo import errors

EXIT_CODES = {
    "BnnZooError": 1,
    "ArgumentError": 2,
    "UnknownModelError": 3,
    "WeightsError": 4,
    "ManifestError": 4,
    "ModelFormatError": 4,
    "DataError": 5,
    "ConversionError": 6,
    "GraphError": 6,
    "MissingDependencyError": 1,
}
BASES = {"ArgumentError": ValueError, "UnknownModelError": LookupError}


def test_every_error_has_a_row():
    assert set(EXIT_CODES) == {name for name in errors.__all__ if name.endswith("Error")}


@pytest.mark.parametrize("name", EXIT_CODES)
def test_exit_code_and_base(name):
    kind = getattr(errors, name)
    assert kind.exit_code == EXIT_CODES[name]
    assert issubclass(kind, errors.BnnZooError)
    assert issubclass(kind, BASES.get(name, Exception))
    assert f"{name} " in errors.__doc__
    assert f"exit code {kind.exit_code}" in errors.__doc__


def test_missing_dependency_names_the_extra():
    error = errors.MissingDependencyError("keras", "tensorflow", "to load models")
    assert str(error) == (
        "keras is needed to load models, but it is not installed. "
        "In a clone of bnnzoo, run: pip install '.[tensorflow]'"
    )
    assert isinstance(error, ImportError)
    other = errors.MissingDependencyError("pandas", None, "for to_pandas")
    assert str(other).endswith("Run: pip install pandas")
