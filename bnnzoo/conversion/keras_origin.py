"""The origin of a conversion from a Keras model in memory, by name or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo.conversion.describe import describe
from bnnzoo.conversion.report import LayerReport, layer_report
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.sources import Data
from bnnzoo.evaluation import Report, evaluate
from bnnzoo.formats.packed import PackedFile
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.keras_bridge.float32_copy import computing_in_float32
from bnnzoo.keras_bridge.from_keras import Trace, TracedCall, trace
from bnnzoo.keras_bridge.from_keras.convolving import CONVOLVING
from bnnzoo.keras_bridge.from_keras.values import KerasValues
from bnnzoo.manifest import WeightsRecord
from bnnzoo.model_source import ModelSource

__all__ = ["KerasOrigin", "layer_values"]

Array = NDArray[Any]
Values = dict[str, Array]


class KerasOrigin:
    """A Keras model and its graph.

    Args:
        model: A model whose layers can be converted.
        source: The resolved model argument.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        record: Record of weights that are not in the manifest yet.

    Raises:
        ConversionError: A layer cannot be converted.
    """

    name = "Keras"

    def __init__(
        self,
        model: Any,
        source: ModelSource,
        preprocessing: str | Preprocessing | None,
        record: WeightsRecord | None,
    ) -> None:
        if isinstance(model, keras.Model) and model.built:
            model = computing_in_float32(model)
        self.model = model
        self._traced = trace(model)
        self._values = KerasValues(self._traced.walk)
        self.graph: Graph = self._traced.graph
        self.info = describe(model, source, preprocessing, record, self.graph.outputs)
        self.bytes = sum(int(weight.nbytes) for weight in model.get_weights())

    def values(self, inputs: Mapping[str, NDArray[np.float32]]) -> Values:
        """Returns the values that Keras computes for some inputs, by their names in the graph."""
        return layer_values(self._traced, *self._values(*inputs.values()))

    def evaluate(self, data: Data, **options: Any) -> Report:
        """Measures the model in Keras."""
        return evaluate(self.model, data, **options)

    def layers(self, file: PackedFile) -> tuple[LayerReport, ...]:
        """Returns a report of every layer with a kernel, in order; shared layers once."""
        return tuple(
            self._layer(call, file)
            for call in self._traced.calls
            if type(call.call.layer) in CONVOLVING and call.call.path == call.call.first_path
        )

    def _layer(self, call: TracedCall, file: PackedFile) -> LayerReport:
        nodes = list(_convolutions(file.graph, call.call.path))
        layer, kind = call.call.layer, type(call.call.layer).__name__
        stored = [file.stored[node.tensors["kernel"]].encoding for node in nodes]
        producers = {node.name: node for node in file.graph.nodes}
        border = next((producers.get(n.inputs[0]) for n in nodes), None)
        if border is not None and border.op == "pad" and "bits" in stored:
            why = _why_border(border)
        else:
            why = _why_real(layer, call.quantized, stored)
        return layer_report(call.call.path, kind, nodes, file, *why)


def layer_values(
    traced: Trace, values: Mapping[int, Array], quantized: Mapping[str, Array]
) -> Values:
    """Returns the values of Keras by their names in the graph."""
    named: dict[str, Array] = {
        name: values[number] for number, name in enumerate(traced.graph.inputs)
    }
    for traced_call in traced.calls:
        if traced_call.quantized is not None:
            named.setdefault(traced_call.quantized, quantized[traced_call.call.path])
        for name, number in zip(traced_call.outputs, traced_call.call.outputs, strict=True):
            named.setdefault(name, values[number])
    for name, number in zip(traced.graph.outputs, traced.walk.outputs, strict=True):
        named.setdefault(name, values[number])
    return named


def _convolutions(graph: Graph, path: str) -> Iterator[Node]:
    """Yields the convolutions of a layer with its own kernels."""
    names = [f"{path}/{kernel}" for kernel in ("kernel", "depthwise_kernel", "pointwise_kernel")]
    return (node for node in graph.nodes if node.tensors.get("kernel") in names)


def _why_border(pad: Node) -> tuple[str, bool]:
    """Returns why a convolution cannot absorb its padding, and that this is surprising."""
    value = pad.attributes["value"]
    return (
        f"its input is padded with {value:g}, but signs can be padded with -1, 0 or 1 only, levels "
        "and real numbers with 0 only, and its own padding must have the same value",
        True,
    )


def _why_real(layer: Any, quantized: str | None, stored: list[str]) -> tuple[str, bool]:
    """Returns why a layer computes in real numbers, and whether that is surprising."""
    kind = type(layer).__name__
    if not hasattr(layer, "quantizers"):
        return f"{kind} has no quantizers", False
    if "ternary" in stored and any(quantizer is not None for _, quantizer in layer.quantizers):
        return (
            "its kernel is ternary: stored in 2 bits per weight, computed in real numbers",
            False,
        )
    if "bits" not in stored and quantized is None:
        return "it has no quantizers", False
    if "bits" not in stored and layer.kernel_quantizer is not None and "Transpose" in kind:
        return "its kernel has a scale per input channel, which sums of signs cannot have", True
    if "bits" not in stored:
        return "its kernel is real: it has an input quantizer, but no kernel quantizer", True
    if quantized is None:
        return "its input is real: it has a binary kernel, but no input quantizer", True
    if "Depthwise" in kind or "Separable" in kind:
        return "depthwise kernels have too few products per output to count bits", False
    return "the padding of its input cannot be stored as bits or levels", True
