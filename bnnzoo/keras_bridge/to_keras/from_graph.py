"""Builds a Keras model from any graph: one layer per node.

Files of other tools define what a network computes, but not its layers. A sign becomes the input
quantizer of each convolution that reads it; scale * x + bias becomes a batch norm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo import nn
from bnnzoo.architectures import channels_last
from bnnzoo.architectures.assembly import ZooModel
from bnnzoo.errors import ModelFormatError
from bnnzoo.graph.builder import Names
from bnnzoo.graph.ir import Graph, Node, numbers, signs
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.steady_signs import steady_signs
from bnnzoo.graph.windows import rule_of

__all__ = ["model_of"]

Array = NDArray[Any]


def model_of(graph: Graph, name: str, latent_magnitude: float) -> ZooModel:
    """Returns a model that computes a graph.

    Args:
        graph: The graph after the passes `STORED`.
        name: Name of the model.
        latent_magnitude: Magnitude of the latent weights of binary kernels.

    Raises:
        ModelFormatError: Keras has no layer for a node.
    """
    builder = _Builder(graph, latent_magnitude)
    inputs = {
        value: keras.Input(shape, name=builder.names[value])
        for value, shape in graph.inputs.items()
    }
    builder.values.update(inputs)
    for node in builder.graph.nodes:
        if node.op not in _LAYERS:
            raise builder.wrong(node)
        try:
            builder.values[node.name] = builder.named(node, _LAYERS[node.op](builder, node))
        except ValueError as error:
            raise builder.wrong(node) from error
    outputs = [builder.values[output] for output in graph.outputs]
    given = list(inputs.values())
    return ZooModel(
        given if len(given) > 1 else given[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=_name(name),
    )


def _name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


class _Builder:
    """The model under construction.

    Attributes:
        graph: The graph.
        values: Value -> Keras tensor; bits and levels as the numbers that they represent.
        names: Value -> name of its layer. A name chosen by Keras could be that of another node.
    """

    def __init__(self, graph: Graph, latent_magnitude: float) -> None:
        self.graph = steady_signs(graph)  # Keras adds in float32
        self.types = infer_types(graph)
        self.producers = {node.name: node for node in graph.nodes}
        self.latent_magnitude = latent_magnitude
        self.values: dict[str, Any] = {}
        self.free = Names().free
        self.names = {value: self.free(_name(value)) for value in self.types}

    def wrong(self, node: Node) -> ModelFormatError:
        return ModelFormatError(
            f"Keras has no layer for node '{node.name}' ({node.op}) with these settings. The file "
            "runs in bnnzoo.runtime, but cannot become a Keras model."
        )

    def named(self, node: Node, y: Any) -> Any:
        """Returns the value of a node, after naming its layer."""
        if y is not self.values[node.inputs[0]]:
            y._keras_history.operation.name = self.names[node.name]
        return y

    def shape(self, node: Node) -> tuple[int, ...]:
        """Returns the shape of a node's first input."""
        return self.types[node.inputs[0]].shape

    def inputs(self, node: Node) -> list[Any]:
        return [self.values[name] for name in node.inputs]

    def vector(self, node: Node, role: str, default: float) -> Array:
        """Returns one number per channel."""
        tensor = self.graph.tensor(node, role)
        channels = self.shape(node)[-1]
        return np.full(channels, default, np.float32) if tensor is None else numbers(tensor)

    def quantized(self, value: str) -> tuple[Any, Any]:
        """Returns the tensor before bits or levels, and the quantizer that makes them."""
        node = self.producers[value]
        if node.op in _QUANTIZERS and not node.tensors:
            return self.values[node.inputs[0]], _QUANTIZERS[node.op](node)
        return self.values[value], "ste_sign"

    def add(self, layer: Any, x: Any, **weights: Array) -> Any:
        """Calls a layer and assigns its weights by name."""
        y = layer(x)
        for variable in layer.weights:
            variable.assign(np.reshape(weights[variable.name], variable.shape))
        return y


_QUANTIZERS: Mapping[str, Callable[[Node], Any]] = {
    "sign": lambda node: nn.SteSign(),
    "quantize": lambda node: nn.DoReFa(k_bit=node.attributes["bits"], mode="activations"),
}


def _quantize(builder: _Builder, node: Node) -> Any:
    if node.tensors:
        raise builder.wrong(node)
    layer = keras.layers.Activation(_QUANTIZERS[node.op](node))
    return builder.add(layer, *builder.inputs(node))


def _convolve(builder: _Builder, node: Node) -> Any:
    """Builds a convolution of real numbers, bits or levels, or for one pixel a dense layer."""
    tensor, attributes = builder.graph.tensors[node.tensors["kernel"]], node.attributes
    if "input_bits" in attributes or set(node.tensors) != {"kernel"}:
        raise builder.wrong(node)
    kernel, binary = np.asarray(numbers(tensor), np.float32), signs(tensor)
    height, width, channels = builder.shape(node)
    x, quantizer = builder.values[node.inputs[0]], None
    if node.op == "bconv2d":
        x, quantizer = builder.quantized(node.inputs[0])
    settings: dict[str, Any] = {"use_bias": False, "name": builder.names[node.name]}
    if binary:
        kernel = kernel * builder.latent_magnitude
        settings["input_quantizer"] = quantizer
    if attributes["groups"] == channels > 1:
        return _depthwise(builder, node, x, kernel, settings)
    if binary:
        settings |= {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    is_pixel = (height, width) == kernel.shape[1:3] == (1, 1) and not any(attributes["padding"])
    if is_pixel and attributes["groups"] == 1:
        dense = nn.QuantDense if binary else keras.layers.Dense
        weights = kernel.reshape(len(kernel), channels).T
        return builder.add(dense(len(kernel), **settings), x, kernel=weights)
    x = _padded(builder, node, x, settings, kernel.shape[1:3], binary)
    conv = channels_last.QuantConv2D if binary else channels_last.Conv2D
    layer = conv(len(kernel), kernel.shape[1:3], groups=attributes["groups"], **settings)
    return builder.add(layer, x, kernel=kernel.transpose(1, 2, 3, 0))


def _depthwise(
    builder: _Builder, node: Node, x: Any, kernel: Array, settings: dict[str, Any]
) -> Any:
    """Builds a depthwise convolution; output c * multiplier + m is of channel c."""
    channels, size = node.attributes["groups"], kernel.shape[1:3]
    binary = "input_quantizer" in settings
    if binary:
        settings |= {"depthwise_quantizer": "ste_sign", "depthwise_constraint": "weight_clip"}
    x = _padded(builder, node, x, settings, size, binary)
    conv = channels_last.QuantDepthwiseConv2D if binary else channels_last.DepthwiseConv2D
    layer = conv(size, depth_multiplier=len(kernel) // channels, **settings)
    weights = kernel.reshape(channels, -1, *size).transpose(2, 3, 0, 1)
    return builder.add(layer, x, kernel=weights, depthwise_kernel=weights)


def _padded(
    builder: _Builder, node: Node, x: Any, settings: dict[str, Any], size: Any, quantized: bool
) -> Any:
    """Sets the window of a convolution; a border without a rule in Keras becomes a layer."""
    attributes, shape = node.attributes, builder.shape(node)[:2]
    rule = rule_of(
        attributes["padding"], shape, size, attributes["strides"], attributes["dilation"]
    )
    top, bottom, left, right = attributes["padding"]
    settings["strides"], settings["dilation_rate"] = attributes["strides"], attributes["dilation"]
    settings["padding"] = rule or ((top, bottom), (left, right))
    if quantized:
        settings["pad_values"] = attributes.get("pad_value", 0)
    elif rule is None:
        name = builder.free(f"{settings['name']}_pad")
        x = channels_last.ZeroPadding2D(settings["padding"], name=name)(x)
        settings["padding"] = "valid"
    return x


def _pool(layer: Any, builder: _Builder, node: Node) -> Any:
    pool, strides = node.attributes["pool"], node.attributes["strides"]
    rule = rule_of(node.attributes["padding"], builder.shape(node)[:2], pool, strides)
    if node.tensors or (rule is None and layer is not channels_last.MaxPooling2D):
        raise builder.wrong(node)
    top, bottom, left, right = node.attributes["padding"]
    made = layer(pool, strides, rule or ((top, bottom), (left, right)))
    return builder.add(made, *builder.inputs(node))


def _affine(builder: _Builder, node: Node) -> Any:
    layer = keras.layers.BatchNormalization(name=builder.names[node.name])
    scale, bias = builder.vector(node, "scale", 1), builder.vector(node, "bias", 0)
    zeros = np.zeros_like(bias)
    return builder.add(
        layer, *builder.inputs(node),
        gamma=scale, beta=bias, moving_mean=zeros, moving_variance=zeros + 1 - layer.epsilon,
    )  # fmt: skip


def _clip(builder: _Builder, node: Node) -> Any:
    (x,), low, high = builder.inputs(node), node.attributes["low"], node.attributes["high"]
    if low == 0 and high > 0:
        return keras.layers.ReLU(None if high == math.inf else high)(x)
    if low == -math.inf:
        return keras.ops.minimum(x, high)
    return keras.ops.maximum(x, low) if high == math.inf else keras.ops.clip(x, low, high)


def _prelu(builder: _Builder, node: Node) -> Any:
    axes = list(range(1, len(builder.shape(node))))
    layer = keras.layers.PReLU(shared_axes=axes, name=builder.names[node.name])
    return builder.add(layer, *builder.inputs(node), alpha=builder.vector(node, "alpha", 0))


def _slice(builder: _Builder, node: Node) -> Any:
    begin, size = node.attributes["begin"], node.attributes["size"]
    place = (slice(None),) * (1 + node.attributes["axis"])
    ranges = (*place, slice(begin, begin + size))
    return builder.values[node.inputs[0]][ranges]


def _pad(builder: _Builder, node: Node) -> Any:
    (x,), (top, bottom, left, right) = builder.inputs(node), node.attributes["padding"]
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    return keras.ops.pad(x, border, constant_values=node.attributes["value"])


def _reshape(builder: _Builder, node: Node) -> Any:
    shape = node.attributes["shape"]
    layer = channels_last.Flatten() if len(shape) == 1 else keras.layers.Reshape(shape)
    return layer(*builder.inputs(node))


def _simple(layer: Callable[[Node], Any], builder: _Builder, node: Node) -> Any:
    inputs = builder.inputs(node)
    return layer(node)(inputs if len(inputs) > 1 else inputs[0])


def _activation(name: str) -> Callable[[_Builder, Node], Any]:
    return partial(_simple, lambda node: keras.layers.Activation(name))


_layers = keras.layers
_LAYERS: Mapping[str, Callable[[_Builder, Node], Any]] = {
    "add": partial(_simple, lambda node: _layers.Add()),
    "affine": _affine,
    "avg_pool2d": partial(_pool, channels_last.AveragePooling2D),
    "bconv2d": _convolve,
    "bmax_pool2d": partial(_pool, channels_last.MaxPooling2D),
    "clip": _clip,
    "concat": partial(_simple, lambda node: _layers.Concatenate(1 + node.attributes["axis"])),
    "conv2d": _convolve,
    "dequantize": lambda builder, node: builder.values[node.inputs[0]],
    "global_avg_pool2d": partial(_simple, lambda node: channels_last.GlobalAveragePooling2D()),
    "global_max_pool2d": partial(_simple, lambda node: channels_last.GlobalMaxPooling2D()),
    "max_pool2d": partial(_pool, channels_last.MaxPooling2D),
    "multiply": partial(_simple, lambda node: _layers.Multiply()),
    "pad": _pad,
    "permute": partial(
        _simple, lambda node: _layers.Permute([1 + axis for axis in node.attributes["axes"]])
    ),
    "prelu": _prelu,
    "quantize": _quantize,
    "reshape": _reshape,
    "sigmoid": _activation("sigmoid"),
    "sign": _quantize,
    "slice": _slice,
    "softmax": _activation("softmax"),
    "subtract": partial(_simple, lambda node: _layers.Subtract()),
    "tanh": _activation("tanh"),
}
