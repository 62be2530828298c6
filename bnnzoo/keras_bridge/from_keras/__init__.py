"""Converts Keras models to graphs.

A layer is converted by its exact type, since a subclass may compute something else. The last node
of a layer has the layer's path, and its value is the layer's output; nodes before it have the path
and a part, `stage1_conv/sign`. Quantized kernels are computed by the quantizers themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import keras

from bnnzoo.errors import ConversionError
from bnnzoo.graph.builder import GraphBuilder
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.distinct_outputs import distinct_outputs
from bnnzoo.keras_bridge.from_keras.convolving import CONVOLVING
from bnnzoo.keras_bridge.from_keras.emitter import Emitter, real
from bnnzoo.keras_bridge.from_keras.normalizing import AUGMENTING, NORMALIZING
from bnnzoo.keras_bridge.from_keras.operating import OPERATING
from bnnzoo.keras_bridge.from_keras.shaping import SHAPING
from bnnzoo.keras_bridge.from_keras.walking import LayerCall, Walk, walk

__all__ = ["HANDLERS", "LayerCall", "Trace", "TracedCall", "Walk", "from_keras", "trace", "walk"]

HANDLERS: dict[Any, Callable[[Emitter], str | list[str]]] = {
    **CONVOLVING,
    **NORMALIZING,
    **SHAPING,
    **OPERATING,
}


@dataclass(frozen=True)
class TracedCall:
    """The values computed by one call of a layer.

    Attributes:
        call: The call.
        inputs: Names of its inputs.
        outputs: Names of its outputs; that of an input if the layer does nothing.
        quantized: Name of the output of its input quantizer, if it has one.
    """

    call: LayerCall
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    quantized: str | None


@dataclass(frozen=True)
class Trace:
    """A graph and the calls it was converted from."""

    graph: Graph
    walk: Walk
    calls: tuple[TracedCall, ...]


def from_keras(model: Any) -> Graph:
    """Returns the graph of a functional or sequential Keras 3 model, batch norm unfolded.

    Args:
        model: A model of layers in `HANDLERS`, which may have nested models and shared layers, and
            inputs of fixed shape.

    Raises:
        ConversionError: A layer, one of its settings or a quantizer cannot be converted; the
            message names it and says what to do.
    """
    return trace(model).graph


def trace(model: Any) -> Trace:
    """Returns the graph of a Keras model with the calls that its values came from.

    Raises:
        ConversionError: See `from_keras`.
    """
    steps = walk(model)
    builder = GraphBuilder({name: _fixed(name, shape) for name, shape in steps.inputs.items()})
    values = dict(enumerate(builder.inputs))
    calls = []
    for call in steps.calls:
        traced = _convert(builder, call, tuple(values[value] for value in call.inputs))
        values |= dict(zip(call.outputs, traced.outputs, strict=True))
        calls.append(traced)
    outputs = [real(builder, values[value]) for value in steps.outputs]
    graph = distinct_outputs(builder.graph(*outputs))
    infer_types(graph)
    return Trace(graph, steps, tuple(calls))


def _fixed(name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """Returns the shape of an input."""
    if None in shape:
        raise ConversionError(
            f"Input '{name}' must have a fixed shape, got {shape}. "
            "Build the model with the size of its images."
        )
    return tuple(int(size or 0) for size in shape)


def _convert(builder: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> TracedCall:
    emit = Emitter(builder, call, inputs)
    handler = HANDLERS.get(type(call.layer))
    if handler is None:
        _refuse_layer(emit)
    result = handler(emit)
    outputs = tuple(result) if isinstance(result, list) else (emit.finish(result),)
    for name, shape in zip(outputs, call.shapes, strict=True):
        if builder.types[name].shape != shape:
            emit.refuse(
                f"its output must be {shape}, got {builder.types[name].shape}", "Report it."
            )
    return TracedCall(call, inputs, outputs, emit.quantized)


def _refuse_layer(emit: Emitter) -> NoReturn:
    if not isinstance(emit.layer, keras.layers.Layer):
        emit.refuse(
            "this operation of keras.ops is not supported",
            f"Supported: {', '.join(sorted(kind.__name__ for kind in OPERATING))}. "
            "Use one of them, or a layer.",
        )
    if type(emit.layer).__name__.endswith("3D"):
        emit.refuse(
            "volumes are not supported, only sequences and images",
            "Use layers for one or two dimensions.",
        )
    unnamed = (*AUGMENTING, *OPERATING, keras.layers.InputLayer)
    names = ", ".join(sorted(kind.__name__ for kind in HANDLERS if kind not in unnamed))
    emit.refuse(
        "this kind of layer is not supported",
        f"Supported: {names}, and layers that augment images. Replace it, or convert the part of "
        "the model before it.",
    )
