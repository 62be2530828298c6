"""Builds an ONNX graph node by node: tensors with shape, data type and name.

This does not need the package `onnx`; `model_proto` writes the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.builder import Names

__all__ = ["QONNX_DOMAIN", "Drawing", "OnnxNode", "OnnxTensor"]

QONNX_DOMAIN = "qonnx.custom_op.general"


@dataclass(frozen=True)
class OnnxNode:
    """One operator with one output.

    Attributes:
        op: Name of the operator.
        inputs: Names of tensors.
        output: Name of the tensor that it computes, and of the node.
        attributes: Integers, floats, strings and sequences of integers.
        domain: "" for ONNX itself.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True)
class OnnxTensor:
    """Shape and data type of a tensor.

    Attributes:
        shape: The shape with the batch axis, which is 1.
        datatype: QONNX's data type, such as `BIPOLAR` or `INT6`; None for real numbers.
        layout: Meaning of the axes, such as `NCHW`; set for inputs, tools infer the others.
    """

    shape: tuple[int, ...]
    datatype: str | None = None
    layout: str | None = None


class Drawing:
    """Nodes, constants and tensors, added one by one.

    Args:
        reserved: Names that only `node(..., output=name)` may use.
    """

    def __init__(self, reserved: Sequence[str] = ()) -> None:
        self.nodes: list[OnnxNode] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, OnnxTensor] = {}
        self.fresh = Names(reserved).free  # reserves and returns an unused name

    def constant(self, name: str, array: NDArray[Any], datatype: str | None = None) -> str:
        """Adds a constant and returns its name; real numbers become float32."""
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float32)
        name = self.fresh(name)
        self.constants[name] = array
        self.tensors[name] = OnnxTensor(array.shape, datatype)
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        tensor: OnnxTensor,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node and returns the name of its output, which must be fresh or reserved."""
        self.nodes.append(OnnxNode(op, tuple(inputs), output, attributes, domain))
        self.tensors[output] = tensor
        return output

    def rename(self, old: str, new: str) -> None:
        """Gives the output of a node another name."""
        self.tensors[new] = self.tensors.pop(old)
        for place, node in enumerate(self.nodes):
            if old in (node.output, *node.inputs):
                self.nodes[place] = dataclasses.replace(
                    node,
                    inputs=tuple(new if name == old else name for name in node.inputs),
                    output=new if node.output == old else node.output,
                )
