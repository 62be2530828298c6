"""Lists the layer calls of a Keras model in order, including those of nested models.

It reads only what `Functional` itself uses, unchanged since Keras 3.0: `model.inputs` and
`model.outputs`, the `_keras_history` of a tensor, and the nodes in `operation._inbound_nodes` to
which it points.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnnzoo.errors import ConversionError

__all__ = ["LayerCall", "Walk", "output_names", "walk"]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer.

    Attributes:
        path: Unique path: the layer's name after those of the enclosing models, `outer/inner`. The
            k-th call of a shared layer, k >= 2, ends in `:k`.
        first_path: Path of the layer's first call, for what its calls share.
        layer: The layer, or the operation of `keras.ops`.
        inputs: Numbers of its inputs.
        outputs: Numbers of its outputs.
        shapes: Shapes of its outputs, without the batch axis.
        listed: Whether it takes its inputs as a list.
        others: Non-tensor arguments of an operation of `keras.ops`, by position.
        settings: Keyword arguments of an operation of `keras.ops`.
    """

    path: str
    first_path: str
    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    listed: bool
    others: Mapping[int, Any]
    settings: Mapping[str, Any]

    def arguments(self, inputs: list[Any]) -> list[Any]:
        """Returns the arguments for calling the layer or operation on some inputs."""
        if self.listed or _is_layer(self.layer):
            return [inputs] if self.listed else inputs[:1]
        values = iter(inputs)
        count = len(inputs) + len(self.others)
        return [self.others[k] if k in self.others else next(values) for k in range(count)]


@dataclass(frozen=True)
class Walk:
    """A Keras model as a list of calls. Values have numbers, beginning with the model's inputs.

    Attributes:
        inputs: Name of each input -> its shape without the batch axis, in the model's order.
        calls: The calls, each after those it depends on.
        outputs: Numbers of the model's outputs.
    """

    inputs: Mapping[str, tuple[int | None, ...]]
    calls: tuple[LayerCall, ...]
    outputs: tuple[int, ...]


def walk(model: Any) -> Walk:
    """Returns the calls of a functional or sequential model.

    Raises:
        ConversionError: The model is of another kind, is not built, or calls a layer in training
            mode.
    """
    inputs, _ = _ends(model, str(getattr(model, "name", type(model).__name__)))
    walker = _Walker()
    returned = walker.enter(model, "", [walker.new_value() for _ in inputs])
    return Walk(
        inputs={t._keras_history.operation.name: tuple(t.shape[1:]) for t in inputs},
        calls=tuple(walker.calls),
        outputs=tuple(returned),
    )


def output_names(model: Any) -> tuple[str, ...] | None:
    """Returns the names of a model's outputs: keys of dicts, or Keras's names of the layers.

    Nested keys are joined by slashes. Returns None for a single output without a key, or if layers
    have several outputs.
    """
    import keras

    if isinstance(model, keras.Sequential):
        return None
    paths = [path for path, _ in keras.tree.flatten_with_path(model.output)]
    if any(isinstance(part, str) for path in paths for part in path):
        return tuple("/".join(map(str, path)) for path in paths)
    names = tuple(model.output_names)
    return names if 1 < len(names) == len(set(names)) else None


def _ends(model: Any, path: str) -> tuple[list[Any], list[Any]]:
    """Returns the symbolic inputs and outputs of a model."""
    built = getattr(model, "built", False)  # Sequential raises if it is not
    inputs = getattr(model, "inputs", None) if built else None
    outputs = getattr(model, "outputs", None) if built else None
    if not inputs or not outputs:
        raise ConversionError(
            f"'{path}' ({type(model).__name__}) must be a functional or built Sequential model, "
            "got one without symbolic inputs and outputs. Add a keras.Input to a Sequential model, "
            "or write the model with the functional API."
        )
    return list(inputs), list(outputs)


def _is_model(operation: Any) -> bool:
    import keras

    return isinstance(operation, keras.Model)


def _is_layer(operation: Any) -> bool:
    import keras

    return isinstance(operation, keras.layers.Layer)


def _is_cast(operation: Any) -> bool:
    """Returns whether Keras added a change of dtype, as 3.5 does for mixed precision."""
    kind = type(operation)
    return kind.__name__ == "Cast" and kind.__module__.startswith("keras.src.ops")


def _others(node: Any) -> dict[int, Any]:
    """Returns the non-tensor arguments of an operation, by position."""
    import keras

    arguments = enumerate(node.arguments.args)
    return {place: x for place, x in arguments if not isinstance(x, keras.KerasTensor)}


def _trains_by_default(layer: Any) -> bool:
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True


class _Walker:
    def __init__(self) -> None:
        self.calls: list[LayerCall] = []
        self._values = 0
        self._first_paths: dict[int, str] = {}
        self._paths: set[str] = set()

    def new_value(self) -> int:
        self._values += 1
        return self._values - 1

    def enter(self, model: Any, prefix: str, arguments: Sequence[int]) -> list[int]:
        """Records the calls inside a model that is called on some values; returns its outputs."""
        inputs, outputs = _ends(model, prefix.rstrip("/") or model.name)
        values = {id(tensor): value for tensor, value in zip(inputs, arguments, strict=True)}
        for node in _nodes(inputs, outputs):
            taken = [values[id(tensor)] for tensor in node.input_tensors]
            path = self._path(node.operation, prefix)
            if _is_cast(node.operation):
                returned = taken
            elif _is_model(node.operation):
                returned = self.enter(node.operation, f"{path}/", _ordered(node, taken))
            else:
                returned = self._record(node, path, taken)
            values |= {
                id(tensor): value for tensor, value in zip(node.outputs, returned, strict=True)
            }
        return [values[id(tensor)] for tensor in outputs]

    def _record(self, node: Any, path: str, taken: list[int]) -> list[int]:
        layer = node.operation
        # Keras also records defaults: layers that augment images have training=True.
        if node.arguments.kwargs.get("training") and not _trains_by_default(layer):
            raise ConversionError(
                f"Cannot convert layer '{path}' ({type(layer).__name__}): it is called with "
                "training=True. Call it without."
            )
        listed = isinstance(next(iter(node.arguments.args), None), (list, tuple))
        returned = [self.new_value() for _ in node.outputs]
        call = LayerCall(
            path=path,
            first_path=self._first_paths.setdefault(id(layer), path),
            layer=layer,
            inputs=tuple(taken),
            outputs=tuple(returned),
            shapes=tuple(tuple(tensor.shape[1:]) for tensor in node.outputs),
            listed=listed,
            others={} if listed or _is_layer(layer) else _others(node),
            settings={} if _is_layer(layer) else dict(node.arguments.kwargs),
        )
        self.calls.append(call)
        return returned

    def _path(self, operation: Any, prefix: str) -> str:
        base = path = f"{prefix}{operation.name}"
        k = 1
        while path in self._paths:
            k += 1
            path = f"{base}:{k}"
        self._paths.add(path)
        return path


def _ordered(node: Any, taken: list[int]) -> list[int]:
    """Returns the arguments of a nested model in the order of its inputs.

    A model with a list of inputs may be called with a dict by name, which Keras sorts by name.
    """
    given = next(iter(node.arguments.args), None)
    if not isinstance(given, dict) or isinstance(node.operation.input, dict):
        return taken
    places = {name: place for place, name in enumerate(sorted(given))}
    return [taken[places[tensor.name]] for tensor in node.operation.inputs]


def _nodes(inputs: list[Any], outputs: list[Any]) -> Iterator[Any]:
    """Yields the nodes between tensors, each after those it depends on, without recursion."""
    known = {id(tensor) for tensor in inputs}
    done: set[int] = set()
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in known:
            continue
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            known.update(id(output) for output in node.outputs)
            yield node
            continue
        if not node.input_tensors:
            raise ConversionError(
                f"Cannot convert layer '{operation.name}' ({type(operation).__name__}): it does "
                "not depend on the model's input. Remove it."
            )
        stack.append((tensor, True))
        stack.extend((source, False) for source in reversed(node.input_tensors))
