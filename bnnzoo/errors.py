"""The exceptions of bnnzoo.

Every error that a user can cause and fix is a `BnnZooError`; any other exception is a bug.

    BnnZooError                  exit code 1
    ├── ArgumentError            exit code 2, also a ValueError: a wrong argument or option
    ├── UnknownModelError        exit code 3, also a LookupError: no such model, alias or tag
    ├── WeightsError             exit code 4: a weight file cannot be fetched or is broken
    │   ├── ManifestError        exit code 4: `weights_manifest.json` breaks its schema
    │   └── ModelFormatError     exit code 4: a packed file is broken
    ├── DataError                exit code 5: a data set, image or label cannot be used
    ├── ConversionError          exit code 6: a model cannot be converted
    ├── GraphError               exit code 6: a graph breaks the rules of its operations
    └── MissingDependencyError   exit code 1, also an ImportError: an extra is not installed

Each message is one line: what is wrong, what was given, what to do. Control characters, as in text
from servers or files, are removed.
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
_UNTRAINABLE_BACKENDS = ("numpy", "openvino")  # of Keras, for inference only
_UNKNOWN_BACKEND = "Unable to import backend"  # the message of Keras


class BnnZooError(Exception):
    """Base of every error that a user can cause and fix."""

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(plain(arg) if isinstance(arg, str) else arg for arg in args))


class ArgumentError(BnnZooError, ValueError):
    """An argument or option has an invalid value."""

    exit_code = 2


class UnknownModelError(BnnZooError, LookupError):
    """No model, alias or weight tag has this name."""

    exit_code = 3


class WeightsError(BnnZooError):
    """A weight file cannot be fetched, verified or loaded."""

    exit_code = 4


class ManifestError(WeightsError):
    """The weights manifest violates its schema."""


class ModelFormatError(WeightsError):
    """A packed file is truncated, altered or invalid."""


class DataError(BnnZooError):
    """A data set, an image or a label cannot be used."""

    exit_code = 5


class ConversionError(BnnZooError):
    """A model, or a layer of it, cannot be converted."""

    exit_code = 6


class GraphError(BnnZooError):
    """A graph breaks the rules of its operations."""

    exit_code = 6


class MissingDependencyError(BnnZooError, ImportError):
    """A package of an extra is not installed.

    Args:
        package: The missing module.
        extra: The extra of bnnzoo that installs it; None if the package is installed by its name.
        purpose: What needs it, as in "to read TFDS data sets".
    """

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        advice = f"Run: pip install {package}" if extra is None else installing(extra)
        super().__init__(f"{package} is needed {purpose}, but it is not installed. {advice}")
        self.package = package
        self.extra = extra


def installing(extra: str) -> str:
    """Returns the advice to install an extra, which no package index has."""
    return f"In a clone of bnnzoo, run: pip install '.[{extra}]'"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'X'?` with the closest known name, or "" if none is close."""
    import difflib  # not needed at start-up

    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error, or its class name if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def naming_keras_extras() -> Iterator[None]:
    """Turns a missing Keras or backend into an error that names its extra.

    A backend that Keras does not know or that cannot train becomes an `ArgumentError`.
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
            purpose="for networks ('.[tensorflow]', '.[jax]' or '.[torch]' installs Keras 3 and a "
            "backend)",
        ) from error
    except ValueError as error:
        unknown = str(error).partition(_UNKNOWN_BACKEND)[2].strip(" :")
        if not unknown:
            raise
        raise _no_backend(unknown) from error


def _no_backend(name: str) -> ArgumentError:
    return ArgumentError(
        f"The Keras backend must be tensorflow, jax or torch, got '{name}'. Set KERAS_BACKEND, or "
        "edit ~/.keras/keras.json."
    )
