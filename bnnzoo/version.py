"""The version of the package, and of what a result depends on."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from pathlib import Path

__all__ = ["__version__", "cpu_name", "keras_is_installed", "keras_versions", "versions"]

__version__ = "0.2.0"


def versions() -> dict[str, str]:
    """Returns the versions of bnnzoo, Python and NumPy."""
    import numpy as np

    return {
        "bnnzoo": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def keras_is_installed() -> bool:
    """Returns whether Keras can be imported, without importing it."""
    return importlib.util.find_spec("keras") is not None


def keras_versions() -> dict[str, str]:
    """Returns the version of Keras, the name of its backend and the version of that."""
    import keras

    backend = keras.backend.backend()
    version = str(importlib.import_module(backend).__version__)
    return {"keras": keras.__version__, "backend": backend, backend: version}


def cpu_name() -> str:
    """Returns the name of the processor, or the kind of machine if it is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # another system than Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
