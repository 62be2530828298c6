"""Makes openvino/*.xml, *.bin and openvino/outputs.npz: networks of OpenVINO, with their outputs.

Runs in the peer's environment, once (Python 3.11, x86-64): GOLDENS=1 scripts/test_openvino.sh

The networks are drawn. `residual` has the layers of the two binary ResNets of OpenVINO's Open Model
Zoo. The outputs are those of the CPU plugin, which runs binary convolutions of 8 n channels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset1, opset5, opset8, opset14

HERE = Path(__file__).parent / "openvino"
RNG = np.random.default_rng(5)
Node = ov.Node


def constant(array: object) -> Node:
    """Returns real numbers."""
    return opset1.constant(np.asarray(array, np.float32))


def integers(*numbers: int) -> Node:
    """Returns a list of integers."""
    return opset1.constant(np.asarray(numbers, np.int64))


def drawn(*shape: int) -> Node:
    """Returns real numbers around 0."""
    return constant(RNG.standard_normal(shape) / 4)


def per_channel(count: int) -> Node:
    """Returns sixteenths, a number for each channel."""
    return constant(RNG.integers(-8, 9, (1, count, 1, 1)) / 16)


def bits(x: Node, channels: int, ends: tuple[float, float] = (0.0, 1.0)) -> Node:
    """Returns ends[1] where a value is above the threshold of its channel, ends[0] elsewhere."""
    threshold = per_channel(channels)
    least, most = (constant(np.full((1, 1, 1, 1), end)) for end in ends)
    return opset1.fake_quantize(x, threshold, threshold, least, most, 2)


def binary(
    x: Node, shape: tuple[int, ...], stride: int = 1, pads: int = 1, border: float = 0.0
) -> Node:
    """Returns a binary convolution, whose kernel has one bit per weight."""
    packed = np.packbits(RNG.integers(0, 2, shape, np.uint8), bitorder="little")
    kernel = ov.op.Constant(ov.Tensor(packed, list(shape), ov.Type.u1))
    return opset1.binary_convolution(
        x, kernel, [stride] * 2, [pads] * 2, [pads] * 2, [1, 1], "xnor-popcount", border
    )


def conv(x: Node, kernel: Node, stride: int = 1, pads: int = 0) -> Node:
    """Returns a convolution of real numbers."""
    return opset1.convolution(x, kernel, [stride] * 2, [pads] * 2, [pads] * 2, [1, 1])


def residual(x: Node) -> Node:
    """Binary convolutions with each border, scales, and shortcuts of real numbers."""
    x = opset1.multiply(opset1.subtract(x, constant(0.25)), constant(0.5))
    x = opset1.relu(opset1.add(conv(x, drawn(16, 3, 3, 3), 2, 1), per_channel(16)))
    for channels, stride, border in ((16, 1, 0.0), (16, 1, 1.0), (32, 2, -1.0)):
        inputs = x.get_output_shape(0)[1]
        y = binary(bits(x, inputs), (channels, inputs, 3, 3), stride, border=border)
        y = opset1.add(opset1.multiply(y, constant(np.full((1, channels, 1, 1), 1 / 32))),
                       per_channel(channels))  # fmt: skip
        if stride > 1:
            x = conv(x, drawn(channels, inputs, 1, 1), stride)
        x = opset1.relu(opset1.add(x, y))
    x = binary(bits(x, 32, (1.0, 0.0)), (8, 32, 1, 1), pads=0)
    x = opset1.prelu(opset1.multiply(x, constant(1 / 32)), drawn(8))
    x = opset1.reduce_mean(x, integers(2, 3), True)
    x = opset1.reshape(x, integers(0, -1), True)
    x = opset1.matmul(x, drawn(5, 8), False, True)
    return opset1.softmax(opset1.multiply(x, constant(16)), 1)


def parts(x: Node) -> Node:
    """The other layers."""
    ones = [constant(RNG.integers(8, 24, 3) / 16) for _ in range(4)]
    x = opset1.batch_norm_inference(x, *ones, 1e-3)
    x = opset5.batch_norm_inference(x, *ones, 1e-3)
    x = opset1.clamp(opset1.multiply(x, constant(0.5)), -1.0, 1.5)
    y = opset1.group_convolution(
        x, drawn(3, 2, 1, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1], "same_upper"
    )
    y = opset1.concat([opset1.sigmoid(y), opset1.tanh(x)], 1)
    y = opset1.max_pool(y, [2, 2], [0, 0], [0, 0], [3, 3], "ceil")
    y = opset8.max_pool(y, [1, 1], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    y = opset1.avg_pool(y, [1, 1], [1, 1], [1, 1], [3, 3], True)
    y = opset14.avg_pool(y, [2, 2], [1, 1], [1, 1], [2, 2], False)
    y = opset1.transpose(opset1.maximum(y, constant(-0.5)), integers(0, 2, 3, 1))
    y = opset1.divide(opset1.minimum(y, constant(0.9)), constant(0.25))
    y = opset1.subtract(y, drawn(1, 1, 1, 9))
    y = opset1.unsqueeze(opset1.reduce_max(y, integers(2, 1), False), integers(2))
    y = opset1.squeeze(opset1.convert(y, "f32"), integers(-1))
    return opset8.softmax(y, -1)


def levels(x: Node) -> Node:
    """Quantizers of few levels, of activations and of kernels, as training tools leave them."""
    x = opset1.fake_quantize(x, constant(0), constant(1.1), constant(0), constant(1.1), 4)
    x = opset1.multiply(conv(x, signs(8, 3, 3, 3), 1, 1), constant(0.1))
    x = opset1.fake_quantize(x, constant(-0.41), constant(0.5), constant(0), constant(2), 16)
    return conv(x, signs(4, 8, 3, 3), 2, 1)


def signs(*shape: int) -> Node:
    """Returns a kernel of two numbers, as its quantizer."""
    ends = (constant(end) for end in (-1, 1, -0.5, 0.5))
    return opset1.fake_quantize(drawn(*shape), *ends, 2)


NETWORKS: dict[str, Callable[[Node], Node]] = {
    "residual": residual, "parts": parts, "levels": levels,
}  # fmt: skip


def main() -> None:
    HERE.mkdir(exist_ok=True)
    images = (RNG.integers(-24, 25, (2, 3, 16, 16)) / 16).astype(np.float32)
    outputs = {"images": images}
    for name, build in NETWORKS.items():
        x = opset1.parameter([1, 3, 16, 16], np.float32, name="images")
        ov.save_model(ov.Model([build(x)], [x], name), HERE / f"{name}.xml", name == "parts")
        core = ov.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(HERE / f"{name}.xml", "CPU", settings)
        outputs[name] = np.concatenate([compiled(image[None])[0] for image in images])
    np.savez_compressed(HERE / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
