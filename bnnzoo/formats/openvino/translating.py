"""Translates layers of OpenVINO to ONNX operators that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.openvino.ir_file import IrFile, Layer
from bnnzoo.formats.qonnx.onnx_file import OPSETS, NodeEntry, OnnxFile
from bnnzoo.formats.strict_json import shown

__all__ = ["LAYERS", "translated"]

Settings = dict[str, Any]

_AUTO_PADS = {
    "explicit": "NOTSET", "notset": "NOTSET", "valid": "VALID", "same_upper": "SAME_UPPER",
    "same_lower": "SAME_LOWER",
}  # fmt: skip
_TYPES = {"f16": 10, "f32": 1, "i32": 6, "i64": 7}  # ONNX's numbers of the types


def translated(file: IrFile) -> OnnxFile:
    """Returns an ONNX network that computes the same.

    Raises:
        ModelFormatError: A layer or a setting of a layer is unsupported.
    """
    unknown = sorted({layer.kind for layer in file.layers} - LAYERS.keys())
    if unknown:
        raise ModelFormatError(
            f"it has unsupported layers: {shown(', '.join(unknown))}. docs/deployment.md lists the "
            "supported ones."
        )
    nodes = []
    for layer in file.layers:
        op, translate = LAYERS[layer.kind]
        label = f"layer {shown(layer.name)} ({layer.kind})"
        inputs, settings = layer.inputs, translate(layer)
        if layer.kind == "BatchNormInference" and layer.opset < 5 and len(inputs) == 5:
            inputs = (inputs[2], inputs[0], inputs[1], *inputs[3:])
        if layer.kind == "Transpose":
            settings["perm"] = _order(layer, file)
            inputs = inputs[:1]
        if layer.kind == "MatMul" and layer.flag("transpose_b", False) and len(inputs) == 2:
            rows = f"{layer.outputs[0]}/rows"
            nodes.append(NodeEntry("Transpose", inputs[1:], (rows,), {"perm": (1, 0)}, label))
            inputs = (inputs[0], rows)
        # Only the first output is used: the second one of MaxPool has the indices of the maxima.
        nodes.append(NodeEntry(op, inputs, layer.outputs[:1], settings, label))
    return OnnxFile(
        OPSETS[-1], file.inputs, file.outputs, file.constants, tuple(nodes), file.layouts, "", {}
    )


def _order(layer: Layer, file: IrFile) -> tuple[int, ...]:
    order = file.constants.get(layer.inputs[1]) if len(layer.inputs) == 2 else None
    if order is None or order.ndim != 1 or order.dtype.kind not in "iu" or len(order) > 8:
        raise layer.wrong("its second input must be a constant permutation of the axes")
    return tuple(int(axis) for axis in order)


def _no_settings(layer: Layer) -> Settings:
    return {}


def _elementwise(layer: Layer) -> Settings:
    layer.word("auto_broadcast", "numpy", "none")
    return {}


def _window(layer: Layer) -> Settings:
    rule = layer.word("auto_pad", *_AUTO_PADS)
    pads = layer.integers("pads_begin") + layer.integers("pads_end")
    settings = {"auto_pad": _AUTO_PADS[rule], "strides": layer.integers("strides"), "pads": pads}
    if "dilations" in layer.settings:
        settings["dilations"] = layer.integers("dilations")
    return settings


def _binary_convolution(layer: Layer) -> Settings:
    layer.word("mode", "xnor-popcount")
    return {**_window(layer), "pad_value": layer.number("pad_value")}


def _pool(layer: Layer) -> Settings:
    ceil = layer.word("rounding_type", "floor", "ceil", "ceil_torch") != "floor"
    if layer.integer("axis", 0) != 0:
        raise layer.wrong("axis must be 0")
    settings = {**_window(layer), "kernel_shape": layer.integers("kernel"), "ceil_mode": int(ceil)}
    if layer.kind == "AvgPool":
        settings["count_include_pad"] = int(not layer.flag("exclude-pad", True))
        if ceil and settings["count_include_pad"] and any(settings["pads"]):
            raise layer.wrong("rounding_type ceil must not be combined with exclude-pad false")
    return settings


def _fake_quantize(layer: Layer) -> Settings:
    return {**_elementwise(layer), "levels": layer.integer("levels")}


def _batch_norm(layer: Layer) -> Settings:
    return {"epsilon": layer.number("eps" if "eps" in layer.settings else "epsilon")}


def _matmul(layer: Layer) -> Settings:
    if layer.flag("transpose_a", False):
        raise layer.wrong("transpose_a must be false")
    return {}


def _convert(layer: Layer) -> Settings:
    kind = layer.word("destination_type", *_TYPES)
    return {"to": _TYPES[kind]}


def _clamp(layer: Layer) -> Settings:
    return {name: layer.number(name) for name in ("min", "max")}


def _reduce(layer: Layer) -> Settings:
    return {"keepdims": int(layer.flag("keep_dims", False))}


def _reshape(layer: Layer) -> Settings:
    return {"allowzero": int(not layer.flag("special_zero", False))}


def _axis(default: int | None, layer: Layer) -> Settings:
    return {"axis": layer.integer("axis", default)}


# Type of a layer -> operator that it is read as, and its settings as attributes of ONNX.
LAYERS: Mapping[str, tuple[str, Callable[[Layer], Settings]]] = {
    "Add": ("Add", _elementwise),
    "AvgPool": ("AveragePool", _pool),
    "BatchNormInference": ("BatchNormalization", _batch_norm),
    "BinaryConvolution": ("BinaryConvolution", _binary_convolution),
    "Clamp": ("Clamp", _clamp),
    "Concat": ("Concat", partial(_axis, None)),
    "Convert": ("Cast", _convert),
    "Convolution": ("Conv", _window),
    "Divide": ("Div", _elementwise),
    "FakeQuantize": ("FakeQuantize", _fake_quantize),
    "GroupConvolution": ("GroupConvolution", _window),
    "MatMul": ("MatMul", _matmul),
    "MaxPool": ("MaxPool", _pool),
    "Maximum": ("Max", _elementwise),
    "Minimum": ("Min", _elementwise),
    "Multiply": ("Mul", _elementwise),
    "PReLU": ("PReLU", _no_settings),
    "ReLU": ("Relu", _no_settings),
    "ReduceMax": ("ReduceMax", _reduce),
    "ReduceMean": ("ReduceMean", _reduce),
    "Reshape": ("Reshape", _reshape),
    "Sigmoid": ("Sigmoid", _no_settings),
    "SoftMax": ("Softmax", partial(_axis, 1)),
    "Squeeze": ("Squeeze", _no_settings),
    "Subtract": ("Sub", _elementwise),
    "Tanh": ("Tanh", _no_settings),
    "Transpose": ("Transpose", _no_settings),
    "Unsqueeze": ("Unsqueeze", _no_settings),
}
