"""Reads and writes a Keras model's config, without parts that are unnecessary or unsafe.

A packed file may come from anywhere, and Keras imports what a config names. Before a config is
opened, every object in it must be a layer that the front end converts, a part of Keras for such
layers, or registered by bnnzoo.
"""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import keras

from bnnzoo import nn
from bnnzoo.errors import ConversionError, ModelFormatError, first_line
from bnnzoo.formats.graph_document import MAX_NODES
from bnnzoo.graph.ops import MAX_VALUE_ELEMENTS
from bnnzoo.keras_bridge.from_keras import HANDLERS, Walk
from bnnzoo.keras_bridge.from_keras.operating import OPERATING

__all__ = ["check_values", "from_config", "to_config"]

_MODELS = ("Functional", "Sequential")
_PARTS = ("keras.regularizers", "keras.constraints")
_PLAIN = ("__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__")
# Operations of keras.ops: Keras 3.5 adds Cast for mixed precision.
_OPERATIONS: dict[str, str] = {
    "Cast": "keras.src.ops.core",
    **{kind.__name__: kind.__module__ for kind in OPERATING},
}
# Limit of the values in a config: some layers, such as dropout, have no node in a graph.
_MAX_VALUES = 10 * MAX_NODES
# Needed only to initialize or to train; kernels are converted with LoRA's updates.
_DROPPED = ("compile_config", "build_config", "lora_rank", "lora_alpha")


def to_config(model: keras.Model) -> str:
    """Returns the structure of a model as JSON, in float32 and without initializers.

    Regularizers and constraints that are neither Keras's nor bnnzoo's are left out.

    Raises:
        ConversionError: It has an object that `from_config` would refuse.
    """
    config = _stripped(json.loads(model.to_json()))
    problem = _problem(config)
    if problem is not None:
        raise ConversionError(
            f"Cannot convert {model.name}: {problem} in its config is neither Keras's nor "
            "bnnzoo's. Replace it; a custom quantizer must be an nn.Quantizer registered with "
            "keras.saving.register_keras_serializable."
        )
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False)


def from_config(text: str) -> keras.Model:
    """Returns the model of a config from `to_config`.

    Raises:
        ModelFormatError: The config is invalid, names an unknown object, or has more values than a
            graph may have.
    """
    try:
        config = json.loads(text)
        problem = _problem(config)
        count = _count_values(config)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"keras_config must be JSON: {error}.") from error
    if problem is not None:
        raise ModelFormatError(
            f"keras_config must name only layers of Keras and bnnzoo, got {problem}. If it is your "
            "quantizer, import the module that registers it; otherwise do not trust the file."
        )
    if count > _MAX_VALUES:
        raise ModelFormatError(
            f"keras_config must have at most {_MAX_VALUES:,} values, got {count:,}. Do not trust "
            "the file."
        )
    return _opened(text)


def _opened(text: str) -> keras.Model:
    try:
        model = keras.models.model_from_json(text)
    except Exception as error:  # Keras and its backend raise any type for wrong settings
        raise ModelFormatError(
            f"keras_config does not describe a model: {first_line(error)}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ModelFormatError(f"keras_config must describe a model, got {type(model).__name__}.")
    if not getattr(model, "inputs", None):  # a Sequential that is built with its first images
        raise ModelFormatError(
            f"keras_config must give the input shape, got none for {model.name}."
        )
    return model


def _count_values(layer: Any) -> int:
    """Returns how many values a layer of a config has in total, at all of its calls.

    Otherwise nested models, each called twice, could fill the memory from a few lines.
    """
    config = layer.get("config") if isinstance(layer, dict) else None
    if not isinstance(config, dict):
        return 1
    calls, layers = layer.get("inbound_nodes"), config.get("layers")
    inside: Any = config.get("groups") if layer.get("class_name") == "SplitChannels" else 1
    if isinstance(layers, list):
        inside = sum(map(_count_values, layers))
    times = len(calls) if isinstance(calls, list) else 1
    return max(times, 1) * (inside if isinstance(inside, int) else 1)


def check_values(steps: Walk) -> None:
    """Checks the sizes that the tensors of a file do not limit: those of images and borders.

    Raises:
        ModelFormatError: A value, with its border, is larger than a graph allows.
    """
    shapes = dict(enumerate(steps.inputs.values()))
    for call in steps.calls:
        shapes |= dict(zip(call.outputs, call.shapes, strict=True))
        for shape in (*call.shapes, _bordered(call.layer, shapes[call.inputs[0]])):
            if math.prod(size or 1 for size in shape) > MAX_VALUE_ELEMENTS:
                raise ModelFormatError(
                    f"Layer '{call.path}' must compute at most {MAX_VALUE_ELEMENTS:,} numbers, "
                    f"got {shape}. Do not trust the file."
                )


def _bordered(layer: Any, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Returns the shape of a layer's input with the border that the layer adds."""
    padding = getattr(layer, "padding", "valid")
    pools = isinstance(layer, nn.MaxPooling2D) and not isinstance(padding, str)
    if padding == "valid" or not (pools or hasattr(layer, "dilation_rate")):
        return shape
    if isinstance(padding, str):
        pairs = zip(layer.kernel_size, layer.dilation_rate, strict=True)
        sides = [(taps - 1) * rate for taps, rate in pairs]
    else:
        sides = [before + after for before, after in padding]
    borders = [*sides, 0] if layer.data_format == "channels_last" else [0, *sides]
    return tuple((size or 1) + side for size, side in zip(shape, borders, strict=True))


def _stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: _stripped(item)
        for key, item in value.items()
        if key not in _DROPPED and not key.endswith("_initializer")
    }
    for key, item in kept.items():
        if key == "dtype" and (isinstance(item, dict) or "float" in str(item)):
            kept[key] = "float32"
        elif key.endswith(("_regularizer", "_constraint")) and _problem(item) is not None:
            kept[key] = None
    return kept


def _problem(value: Any) -> str | None:
    """Returns the name of an object in a config that must not be opened, if there is one."""
    if isinstance(value, list):
        return next((found for item in value if (found := _problem(item)) is not None), None)
    if not isinstance(value, dict):
        return None
    if "class_name" in value and not _is_known(value):
        return f"{value.get('module')}.{value['class_name']}"
    return _problem(list(value.values()))


def _is_known(value: dict[str, Any]) -> bool:
    name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    if not isinstance(name, str):
        return False
    if name == "function":
        return module == "builtins" and _is_known_function(value.get("config"))
    if isinstance(registered, str) and ">" in registered:
        found = keras.saving.get_registered_object(registered)
        own = inspect.isclass(found) and issubclass(found, nn.Quantizer)
        return own or (found is not None and registered.startswith("bnnzoo>"))
    if registered not in (None, name):
        return False
    if module == "keras.layers":
        return name in {kind.__name__ for kind in HANDLERS}
    if name in _OPERATIONS:
        return module == _OPERATIONS[name]
    if name in _MODELS:
        return module in ("keras", "keras.models", "keras.src.models.functional")
    return name in _PLAIN or module in _PARTS


def _is_known_function(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    if name.startswith("bnnzoo>"):
        return keras.saving.get_registered_object(name) is not None
    return callable(getattr(keras.activations, name, None)) and not name.startswith("_")
