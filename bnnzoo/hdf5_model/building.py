"""Builds a model from a config of Keras 2: sequential, functional, and nested models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.strict_json import shown
from bnnzoo.hdf5_model.layers import layer_of

__all__ = ["build"]

MAX_LAYERS = 10_000
MAX_DEPTH = 16
_MODELS = ("Sequential", "Functional", "Model")
_Place = tuple[str, int, int]  # layer, call, result


def build(config: Any, depth: int = 0) -> keras.Model:
    """Returns a model without the file's weights.

    Raises:
        ModelFormatError: The config is malformed, or has an unsupported layer.
    """
    kind, settings = _entry(config, "the model")
    if kind not in _MODELS:
        raise ModelFormatError(
            f"its model must be Sequential or Functional, got {shown(kind)}. Models of other "
            "classes are not supported: build the model and load its weights."
        )
    if depth > MAX_DEPTH:
        raise ModelFormatError(f"its models must be nested at most {MAX_DEPTH} deep.")
    if isinstance(settings, list):  # Sequential in the first versions of Keras 2
        settings = {"layers": settings}
    layers = settings.get("layers") if isinstance(settings, dict) else None
    if not isinstance(layers, list) or not 0 < len(layers) <= MAX_LAYERS:
        raise ModelFormatError(f"a model must have a list of 1 to {MAX_LAYERS:,} layers.")
    name = settings.get("name")
    if name is not None and not isinstance(name, str):
        raise ModelFormatError(f"the name of a model must be a string, got {shown(name)}.")
    if kind == "Sequential":
        return _sequential(name, settings, layers, depth)
    return _Functional(layers, depth).model(name, settings)


def _entry(value: Any, what: str) -> tuple[str, Any]:
    """Returns the class name and settings."""
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise ModelFormatError(f"{what} must have a class_name, got {shown(value)}.")
    return value["class_name"], value.get("config", {})


def _layer(value: Any, depth: int) -> keras.layers.Layer:
    """Returns a layer, which may be a nested model."""
    kind, settings = _entry(value, "a layer")
    if kind in _MODELS:
        return build(value, depth + 1)
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
        raise ModelFormatError(f"a layer must have settings with a name, got {shown(settings)}.")
    return layer_of(kind, settings)


def _input(shape: Any, name: str | None = None) -> Any:
    """Returns an input for any batch size."""
    if not isinstance(shape, list) or not all(n is None or type(n) is int for n in shape[1:]):
        raise ModelFormatError(f"an input must have a shape of integers, got {shown(shape)}.")
    return keras.Input(tuple(shape[1:]), name=name)


def _sequential(
    name: str | None, settings: dict[str, Any], layers: list[Any], depth: int
) -> keras.Model:
    kind, first = _entry(layers[0], "a layer")
    shape = first.get("batch_input_shape") if isinstance(first, dict) else None
    shape = settings.get("build_input_shape") if shape is None else shape
    if kind == "InputLayer":
        layers = layers[1:]
    elif shape is None and kind in _MODELS:
        return keras.Sequential([_layer(layer, depth) for layer in layers], name=name)
    if shape is None:
        raise ModelFormatError(
            "its first layer must have a shape, got none. Save the model after training it."
        )
    return keras.Sequential([_input(shape), *(_layer(x, depth) for x in layers)], name=name)


class _Functional:
    """Makes the calls of a functional config.

    Args:
        layers: Configs of layers, each with its calls as `inbound_nodes`.
        depth: Nesting depth of the model.
    """

    def __init__(self, layers: list[Any], depth: int) -> None:
        self.tensors: dict[_Place, Any] = {}
        self.calls: list[tuple[keras.layers.Layer, str, int, list[_Place]]] = []
        names = set()
        for value in layers:
            kind, settings = _entry(value, "a layer")
            name = value.get("name")
            if not isinstance(name, str) or name in names or not isinstance(settings, dict):
                raise ModelFormatError(f"layers must have different names, got {shown(name)}.")
            names.add(name)
            if kind == "InputLayer":
                shape = settings.get("batch_input_shape", settings.get("batch_shape"))
                self.tensors[name, 0, 0] = _input(shape, name)
                continue
            layer = _layer(value, depth)
            # The first node of a nested model is its own construction.
            first = int(kind in _MODELS and _begins_with_input(settings))
            for index, call in enumerate(_calls(value)):
                self.calls.append((layer, name, first + index, call))

    def model(self, name: str | None, settings: dict[str, Any]) -> keras.Model:
        """Returns the model."""
        inputs = [self._tensor(place) for place in _places(settings.get("input_layers"))]
        self._run()
        outputs = [self._tensor(place) for place in _places(settings.get("output_layers"))]
        if not inputs or not outputs:
            raise ModelFormatError("its model must have inputs and outputs.")
        return keras.Model(_one_or_all(inputs), _one_or_all(outputs), name=name)

    def _run(self) -> None:
        """Makes each call as soon as all of its inputs are known."""
        waiting: dict[_Place, list[int]] = {}
        missing = [0] * len(self.calls)
        ready = []
        for number, (*_, places) in enumerate(self.calls):
            unknown = {place for place in places if place not in self.tensors}
            missing[number] = len(unknown)
            for place in unknown:
                waiting.setdefault(place, []).append(number)
            if not unknown:
                ready.append(number)
        while ready:
            layer, name, index, places = self.calls[ready.pop(0)]
            results = layer(_one_or_all([self.tensors[place] for place in places]))
            results = results if isinstance(results, (list, tuple)) else [results]
            for k, result in enumerate(results):
                self.tensors[name, index, k] = result
                for number in waiting.pop((name, index, k), ()):
                    missing[number] -= 1
                    if missing[number] == 0:
                        ready.append(number)

    def _tensor(self, place: _Place) -> Any:
        if place not in self.tensors:
            raise ModelFormatError(f"its layers do not compute {shown(place[0])}.")
        return self.tensors[place]


def _one_or_all(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _begins_with_input(settings: dict[str, Any]) -> bool:
    layers = settings.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    return isinstance(first, dict) and first.get("class_name") == "InputLayer"


def _calls(value: dict[str, Any]) -> Iterator[list[_Place]]:
    """Yields the inputs of each call of a layer."""
    nodes = value.get("inbound_nodes")
    if not isinstance(nodes, list) or len(nodes) > MAX_LAYERS:
        raise ModelFormatError(f"layer {shown(value.get('name'))} must have a list of its calls.")
    for node in nodes:
        if isinstance(node, dict):
            raise ModelFormatError(
                "it was saved by Keras 3, whose HDF5 files are not supported. Save it with "
                "model.save('model.keras')."
            )
        yield _places(node)


def _places(value: Any) -> list[_Place]:
    """Returns references to tensors, `[layer, call, result]` or a list of them."""
    if not isinstance(value, list) or not value:
        raise ModelFormatError(f"a call must have a list of inputs, got {shown(value)}.")
    places = []
    for item in [value] if isinstance(value[0], str) else value:
        known = isinstance(item, list) and len(item) in (3, 4) and isinstance(item[0], str)
        if not known or not all(type(n) is int for n in item[1:3]) or any(item[3:]):
            raise ModelFormatError(
                f"an input of a call must be [layer, call, result], got {shown(item)}. Calls with "
                "other arguments are not supported."
            )
        places.append((item[0], item[1], item[2]))
    return places
