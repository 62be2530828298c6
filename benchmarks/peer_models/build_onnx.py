"""Writes ResNet-18 for ONNX Runtime, in float32 and statically quantized to int8.

    python build_onnx.py DIR [BATCH]

Needs onnx and onnxruntime. Weights are random: only the time is measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class ResNet18:
    """Builds the graph node by node. Every method returns the name of a value."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """Adds a node."""
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int, scale: float) -> str:
        """Adds normally distributed random weights."""
        name = f"w{len(self.weights)}"
        values = (scale * self.rng.standard_normal(shape)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self, x: str, c_in: int, c_out: int, size: int, stride: int, *, relu: bool = True
    ) -> str:
        """Adds a convolution with a bias."""
        kernel = self.weight(c_out, c_in, size, size, scale=(2 / (c_in * size * size)) ** 0.5)
        bias = self.weight(c_out, scale=0)
        x = self.add(
            "Conv", x, kernel, bias, kernel_shape=[size, size], strides=[stride, stride],
            pads=[size // 2] * 4,
        )  # fmt: skip
        return self.add("Relu", x) if relu else x

    def block(self, x: str, c_in: int, c_out: int, stride: int) -> str:
        """Adds two convolutions and their shortcut."""
        y = self.conv(x, c_in, c_out, 3, stride)
        y = self.conv(y, c_out, c_out, 3, 1, relu=False)
        shortcut = self.conv(x, c_in, c_out, 1, 2, relu=False) if stride == 2 else x
        return self.add("Relu", self.add("Add", y, shortcut))

    def model(self, batch: int) -> onnx.ModelProto:
        """Returns the whole network."""
        x = self.conv("x", 3, 64, 7, 2)
        x = self.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        c_in = 64
        for stage, c_out in enumerate((64, 128, 256, 512)):
            x = self.block(x, c_in, c_out, 2 if stage else 1)
            x = self.block(x, c_out, c_out, 1)
            c_in = c_out
        x = self.add("Flatten", self.add("GlobalAveragePool", x))
        x = self.add("Gemm", x, self.weight(512, 1000, scale=0.04), self.weight(1000, scale=0))
        inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 224, 224])
        outputs = helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, 1000])
        graph = helper.make_graph(self.nodes, "resnet18", [inputs], [outputs], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.checker.check_model(model)
        return model


class Calibration(CalibrationDataReader):
    """Reads a few random batches for calibration."""

    def __init__(self, rng: np.random.Generator, batch: int) -> None:
        shape = (batch, 3, 224, 224)
        self.batches = iter([{"x": rng.uniform(-1, 1, shape).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next batch."""
        return next(self.batches, None)


def main() -> None:
    """Writes both files."""
    folder = Path(sys.argv[1])
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    real = folder / f"resnet18_f32_b{batch}.onnx"
    onnx.save(ResNet18(rng).model(batch), real)
    quantize_static(
        real,
        folder / f"resnet18_int8_b{batch}.onnx",
        Calibration(rng, batch),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


if __name__ == "__main__":
    main()
