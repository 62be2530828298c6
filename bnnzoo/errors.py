"""The exceptions of bnnzoo.

Everything a user can cause and mend is a `BnnZooError`; anything else is a bug.

    BnnZooError                  exit code 1
    ├── ArgumentError            exit code 2, also a ValueError: a wrong argument or option
    ├── UnknownModelError        exit code 3, also a LookupError: no such model, alias or tag
    ├── WeightsError             exit code 4: a weight file cannot be had or is broken
    │   ├── ManifestError        exit code 4: `weights_manifest.json` breaks its schema
    │   └── ModelFormatError     exit code 4: a packed file is broken
    ├── DataError                exit code 5: a data set, image or label cannot be used
    ├── ConversionError          exit code 6: a model cannot be converted
    ├── GraphError               exit code 6: a graph for deployment breaks the rules
    └── MissingDependencyError   exit code 1, also an ImportError: an extra is not installed

The message of each is one line: what is wrong, what was got, what to do. Whatever servers or files
have said in it, it has no control characters.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from bnnzoo.plain_text import plain

__all__ = [
    "ArgumentError",
    "BnnZooError",
    "ConversionError",
    "DataError",
    "GraphError",
    "ManifestError",
    "MissingDependencyError",
    "ModelFormatError",
    "UnknownModelError",
    "WeightsError",
    "did_you_mean",
    "first_line",
    "naming_keras_extras",
]

_KERAS_AND_BACKENDS = ("keras", "tensorflow", "jax", "torch")
_UNTRAINABLE_BACKENDS = ("numpy", "openvino")  # which Keras has, for inference
_UNKNOWN_BACKEND = "Unable to import backend"  # how Keras calls it


class BnnZooError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(plain(arg) if isinstance(arg, str) else arg for arg in args))


class ArgumentError(BnnZooError, ValueError):
    """An argument or option has a value that cannot be used."""

    exit_code = 2


class UnknownModelError(BnnZooError, LookupError):
    """No model, alias or weight tag has this name."""

    exit_code = 3


class WeightsError(BnnZooError):
    """A weight file cannot be fetched, verified or loaded."""

    exit_code = 4


class ManifestError(WeightsError):
    """The weights manifest breaks its schema."""


class ModelFormatError(WeightsError):
    """A packed file is truncated, altered, or breaks its specification."""


class DataError(BnnZooError):
    """A data set, an image or a label cannot be used."""

    exit_code = 5


class ConversionError(BnnZooError):
    """A model, or a layer of it, cannot be converted."""

    exit_code = 6


class GraphError(BnnZooError):
    """A graph for deployment breaks the rules of its operations."""

    exit_code = 6


class MissingDependencyError(BnnZooError, ImportError):
    """A package of an extra is not installed.

    Args:
        package: The module that is missing.
        extra: The extra of bnnzoo that brings it.
        purpose: What it is needed for, as in "to read TFDS data sets".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is needed {purpose}, but it is not installed. "
            f"Run: pip install 'bnnzoo[{extra}]'"
        )
        self.package = package
        self.extra = extra


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'X'?` with the nearest known name; nothing where none is near."""
    import difflib  # which starting up does without

    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def naming_keras_extras() -> Iterator[None]:
    """Turns a missing Keras, or a missing backend of it, into the error that names its extra.

    A backend that Keras does not know, or that does not train, becomes an `ArgumentError`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if os.environ.get("KERAS_BACKEND") in _UNTRAINABLE_BACKENDS:
            raise _no_backend(os.environ["KERAS_BACKEND"]) from error
        if error.name not in _KERAS_AND_BACKENDS:
            raise
        raise MissingDependencyError(
            error.name,
            extra="tensorflow" if error.name == "keras" else error.name,
            purpose="for networks (Keras 3 and a backend come with one of the extras"
            " bnnzoo[tensorflow], bnnzoo[jax] and bnnzoo[torch])",
        ) from error
    except ValueError as error:
        unknown = str(error).partition(_UNKNOWN_BACKEND)[2].strip(" :")
        if not unknown:
            raise
        raise _no_backend(unknown) from error


def _no_backend(name: str) -> ArgumentError:
    return ArgumentError(
        f"The backend of Keras must be tensorflow, jax or torch, got '{name}'. Correct "
        "KERAS_BACKEND, or keras.json in ~/.keras."
    )
