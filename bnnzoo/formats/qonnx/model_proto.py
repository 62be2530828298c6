"""Writes a drawing as the bytes of an ONNX file.

QONNX's two operators are also defined in the file, as functions of ONNX operators. Tools that
support them ignore these definitions; ONNX Runtime uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnzoo.errors import ConversionError, MissingDependencyError
from bnnzoo.formats.qonnx.drawing import QONNX_DOMAIN, Drawing, OnnxNode
from bnnzoo.version import __version__

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

__all__ = ["PRODUCER", "to_bytes"]

PRODUCER = "bnnzoo"
# All QONNX tools read opset 13; 8 is the first IR version with functions.
OPSET = 13
IR_VERSION = 8
# Limit of Protocol Buffers for one message.
MAX_BYTES = 2**31 - 1

_BIPOLAR_QUANT = """
<opset_import: ["" : 13], domain: "qonnx.custom_op.general">
BipolarQuant (x, scale) => (y) {
    zero = Constant <value = float {0.0}> ()
    plus = Constant <value = float {1.0}> ()
    minus = Constant <value = float {-1.0}> ()
    right = GreaterOrEqual (x, zero)
    bit = Where (right, plus, minus)
    y = Mul (bit, scale)
}
"""
# Lowest level: -signed (2^(bits - 1) - narrow). Highest: 2^(bits - signed) - 1, minus narrow if
# not signed. Round rounds half to even, as `rounding_mode` ROUND does.
_QUANT = """
<opset_import: ["" : 13], domain: "qonnx.custom_op.general">
Quant <signed, narrow, rounding_mode> (x, scale, zero_point, bits) => (y) {
    is_signed_int = Constant <value_int: int = @signed> ()
    is_narrow_int = Constant <value_int: int = @narrow> ()
    is_signed = Cast <to = 1> (is_signed_int)
    is_narrow = Cast <to = 1> (is_narrow_int)
    one = Constant <value = float {1.0}> ()
    two = Constant <value = float {2.0}> ()
    bits_less_1 = Sub (bits, one)
    half = Pow (two, bits_less_1)
    below = Sub (half, is_narrow)
    least_unsigned = Mul (is_signed, below)
    least = Neg (least_unsigned)
    value_bits = Sub (bits, is_signed)
    levels = Pow (two, value_bits)
    is_unsigned = Sub (one, is_signed)
    left_out = Mul (is_unsigned, is_narrow)
    largest = Sub (levels, one)
    most = Sub (largest, left_out)
    scaled = Div (x, scale)
    moved = Add (scaled, zero_point)
    not_above = Min (moved, most)
    inside = Max (not_above, least)
    level = Round (inside)
    centred = Sub (level, zero_point)
    y = Mul (centred, scale)
}
"""
_DEFINITIONS = {"BipolarQuant": _BIPOLAR_QUANT, "Quant": _QUANT}


def to_bytes(
    drawing: Drawing,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    name: str,
    facts: Mapping[str, str],
) -> bytes:
    """Returns the file of a drawing.

    Args:
        drawing: The drawing, with every tensor that a node reads.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        name: Name of the graph.
        facts: The file's metadata.

    Raises:
        ConversionError: The file would be larger than ONNX allows.
        MissingDependencyError: The package `onnx` is not installed.
    """
    size = sum(array.nbytes for array in drawing.constants.values())
    if size > MAX_BYTES:
        raise ConversionError(
            f"An ONNX file must have at most {MAX_BYTES:,} bytes, got {size:,} for the weights of "
            f"{name}. Convert a smaller network, or to another format."
        )
    try:
        from onnx import helper
    except ModuleNotFoundError as error:
        raise MissingDependencyError("onnx", "qonnx", "to write QONNX files") from error
    domains = {node.domain for node in drawing.nodes} - {""}
    model: ModelProto = helper.make_model(
        _graph(drawing, inputs, outputs, name),
        ir_version=IR_VERSION,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            *(helper.make_opsetid(domain, 1) for domain in sorted(domains)),
        ],
        producer_name=PRODUCER,
        producer_version=__version__,
        functions=_functions(drawing),
    )
    helper.set_model_props(model, dict(facts))
    return bytes(model.SerializeToString(deterministic=True))


def _graph(
    drawing: Drawing, inputs: tuple[str, ...], outputs: tuple[str, ...], name: str
) -> GraphProto:
    from onnx import TensorProto, helper, numpy_helper

    infos = {
        tensor: helper.make_tensor_value_info(
            tensor,
            TensorProto.INT64
            if tensor in drawing.constants and drawing.constants[tensor].dtype == np.int64
            else TensorProto.FLOAT,
            known.shape,
        )
        for tensor, known in drawing.tensors.items()
    }
    graph = helper.make_graph(
        [_node(node) for node in drawing.nodes],
        name,
        [infos[input] for input in inputs],
        [infos[output] for output in outputs],
        [numpy_helper.from_array(array, key) for key, array in drawing.constants.items()],
        value_info=[info for key, info in infos.items() if key not in (*inputs, *outputs)],
    )
    for tensor, known in drawing.tensors.items():
        layout = None if known.layout is None else str(list(known.layout))
        facts = {"finn_datatype": known.datatype, "tensor_layout": layout}
        if any(facts.values()):
            annotation = graph.quantization_annotation.add(tensor_name=tensor)
            for key, value in facts.items():
                if value is not None:
                    annotation.quant_parameter_tensor_names.add(key=key, value=value)
    return graph


def _node(node: OnnxNode) -> NodeProto:
    from onnx import helper

    attributes: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in node.attributes.items()
    }
    return helper.make_node(
        node.op, node.inputs, [node.output], name=node.output, domain=node.domain, **attributes
    )


def _functions(drawing: Drawing) -> list[FunctionProto]:
    from onnx import parser

    used = {node.op for node in drawing.nodes if node.domain == QONNX_DOMAIN}
    return [parser.parse_function(_DEFINITIONS[op]) for op in sorted(used)]
