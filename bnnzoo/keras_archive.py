"""Checks the contents of a `.keras` file before Keras opens it.

Keras imports and calls what a config names, and its safe mode has had gaps. Every object in a
config must therefore be registered in this process, or be one of the classes and functions of
Keras that only compute. Layers that run stored code or read other files are refused. These checks
do not depend on the version of Keras.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras

from bnnzoo.dry_build import count_numbers
from bnnzoo.errors import WeightsError, first_line
from bnnzoo.hdf5_file import check_hdf5, largest_count
from bnnzoo.snapshot import Snapshot

__all__ = ["open_archive"]

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MAX_CONFIG_BYTES = 2**28
# For seeds of random generators and similar state.
SPARE_NUMBERS = 4096
_PLAIN = (
    "__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__bytes__", "__ellipsis__",
    "__slice__",
)  # fmt: skip
# Base classes of the objects in a model, and the modules of its functions.
_KINDS = (
    keras.Layer, keras.Operation, keras.Initializer, keras.Regularizer, keras.Optimizer,
    keras.Loss, keras.Metric, keras.DTypePolicy, keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule, keras.quantizers.Quantizer,
)  # fmt: skip
_FUNCTIONS = (keras.activations, keras.losses, keras.metrics)
_NO_PARTS = ("deserialize", "get", "serialize")
# Layers that run stored code or read files, and their subclasses.
_REFUSED = {
    "IndexLookup", "JaxLayer", "Lambda", "TFSMLayer", "TextVectorization", "TorchModuleWrapper",
}  # fmt: skip
# The largest number in the settings of a metric: the memory of some metrics is its square.
MAX_METRIC_NUMBER = 4096


def open_archive(path: Path) -> keras.Model:
    """Returns the model in a `.keras` file, without running code from the file.

    Raises:
        WeightsError: The file is broken, contains a refused or unregistered object, or describes
            more weights than it stores.
    """
    path = Snapshot.of(path)
    try:
        config, weights = _members(path)
        _check_objects(path, config)
        claimed = _claimed(config)
        most = largest_count(len(weights) if claimed is None else claimed)
        held = check_hdf5(io.BytesIO(weights), f"{path}/{WEIGHTS}", most)
        if claimed is not None and claimed > 2 * held + SPARE_NUMBERS:
            raise WeightsError(
                f"{path} must store the {claimed:,} weights of its model, got {held:,}. Do not "
                "trust this file."
            )
        with path.private_copy() as copy:
            return keras.models.load_model(copy, safe_mode=True)
    except WeightsError:
        raise
    except Exception as error:  # Keras and its backends raise many kinds
        raise WeightsError(f"{path} cannot be opened: {first_line(error)}") from error


def _members(path: Path) -> tuple[Any, bytes]:
    """Returns the config and the bytes of the weights."""
    data = io.BytesIO(path.read_bytes())
    if not zipfile.is_zipfile(data):
        raise WeightsError(
            f"{path} cannot be opened: it is not a zip archive. Save the model again in the .keras "
            "format."
        )
    with zipfile.ZipFile(data) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        missing = [name for name in (CONFIG, WEIGHTS, METADATA) if name not in sizes]
        if missing:
            raise WeightsError(f"{path} has no {missing[0]}. Save the model again.")
        packed, unpacked = data.getbuffer().nbytes, sum(sizes.values())
        if sizes[CONFIG] > MAX_CONFIG_BYTES or unpacked > 100 * packed:
            raise WeightsError(
                f"{path} unpacks from {packed:,} to {unpacked:,} bytes. Do not trust this file."
            )
        return json.loads(archive.read(CONFIG)), archive.read(WEIGHTS)


def _claimed(config: Any) -> int | None:
    """Returns the number of weights that a config describes; None if a user's layer hides it."""
    plain = _uncompiled(config)
    try:
        return count_numbers(lambda: keras.saving.deserialize_keras_object(plain, safe_mode=True))
    except ValueError as error:
        if "stateless scope" not in str(error):  # a variable initialized from a value
            raise
        return None


def _uncompiled(value: Any) -> Any:
    if isinstance(value, list):
        return [_uncompiled(item) for item in value]
    if isinstance(value, dict):
        return {k: _uncompiled(item) for k, item in value.items() if k != "compile_config"}
    return value


def _check_objects(path: Path, value: Any) -> None:
    """Checks every object in a config."""
    if isinstance(value, dict):
        if "class_name" in value and not _is_known(value):
            raise WeightsError(f"{path} cannot be opened: {_refusal(value)}")
        if _is_large_metric(value):
            raise WeightsError(
                f"{path} cannot be opened: the numbers in its metric {value['class_name']} must be "
                f"at most {MAX_METRIC_NUMBER}. Compile the model without it and save it again."
            )
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_objects(path, item)


def _is_known(value: dict[str, Any]) -> bool:
    if value["class_name"] == "function":
        return _is_known_function(value)
    name, module = value["class_name"], value.get("module") or "keras.layers"
    if _is_registered(value.get("registered_name")):
        return True
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    if name in _PLAIN:
        return True
    found = getattr(sys.modules.get(module), name, None)
    known = isinstance(found, type) and issubclass(found, _KINDS) and not _is_refused(found)
    return known and module.split(".")[0] == "keras"


def _is_refused(kind: type) -> bool:
    # On JAX every layer also has a base class JaxLayer of the backend.
    return any(
        base.__name__ in _REFUSED and not base.__module__.startswith("keras.src.backend.")
        for base in kind.__mro__
    )


def _is_large_metric(value: Any) -> bool:
    """Returns whether a config is a metric with a large number in its settings."""
    if "class_name" not in value:
        return False
    found = getattr(sys.modules.get(value.get("module")), value["class_name"], None)
    metric = isinstance(found, type) and issubclass(found, keras.Metric)
    return metric and _largest_number(value.get("config")) > MAX_METRIC_NUMBER


def _largest_number(value: Any) -> float:
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return max(map(_largest_number, items), default=0)
    return value if isinstance(value, (int, float)) else 0


def _is_known_function(value: dict[str, Any]) -> bool:
    name, module = value.get("config"), value.get("module")
    if _is_registered(name):
        return True
    places = [place for place in _FUNCTIONS if module in ("builtins", place.__name__)]
    return (
        isinstance(name, str)
        and name not in _NO_PARTS
        and any(inspect.isfunction(getattr(place, name, None)) for place in places)
    )


def _is_registered(name: Any) -> bool:
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _refusal(value: dict[str, Any]) -> str:
    settings, module = value.get("config"), str(value.get("module"))
    form = "function" if value["class_name"] == "function" else "class"
    kind = settings if form == "function" else value["class_name"]
    if module.split(".")[0] == "keras":
        return (
            f"it contains {module:.80}.{kind!s:.80}, which may run code or read files. Do not "
            "trust this file."
        )
    return (
        f"it needs the {form} '{kind!s:.80}', which is not registered. Import the module that "
        "registers it with keras.saving.register_keras_serializable first."
    )
