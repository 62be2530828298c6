"""Makes onnx/*.onnx and onnx/outputs.npz: networks of Brevitas and PyTorch, with their outputs.

Runs in the peer's environment, once (Python 3.11):
    pip install brevitas==0.13.4 qonnx==1.0.0 'onnx<1.22' onnxscript
    python -m tests.data.make_onnx_goldens

`brevitas_*` are exported as QONNX with untrained weights and drawn batch norms, `torch_*` as ONNX.
The outputs are those of the network itself, on inputs that are drawn like in `images`.
"""

from __future__ import annotations

from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.core.bit_width import BitWidthImplType
from brevitas.core.quant import QuantType
from brevitas.core.restrict_val import RestrictValueType
from brevitas.core.scaling import ScalingImplType
from brevitas.export import export_qonnx
from brevitas.inject import ExtendedInjector
from brevitas.quant.solver import ActQuantSolver, WeightQuantSolver
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent / "onnx"


class Binary(ExtendedInjector):
    """Values of -1 and +1, times a constant."""

    bit_width_impl_type = BitWidthImplType.CONST
    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    zero_point_impl = None
    float_to_int_impl_type = None
    scaling_per_output_channel = False
    narrow_range = True
    signed = True
    quant_type = QuantType.BINARY
    bit_width = 1
    scaling_const = 1.0


class BinaryWeight(Binary, WeightQuantSolver):
    """Binary weights."""


class BinaryActivation(Binary, ActQuantSolver):
    """Binary activations."""

    min_val = -1.0
    max_val = 1.0


class TernaryWeight(BinaryWeight):
    """Weights of -1, 0 and +1, times a constant."""

    quant_type = QuantType.TERNARY
    threshold = 0.5
    scaling_const = 0.25
    bit_width = 2


def conv(inputs: int, outputs: int, **settings: int) -> nn.Module:
    """A binary convolution."""
    return qnn.QuantConv2d(inputs, outputs, 3, bias=False, weight_quant=BinaryWeight, **settings)


def sign() -> nn.Module:
    """A binary activation."""
    return qnn.QuantIdentity(act_quant=BinaryActivation)


class Residual(nn.Module):
    """Binary convolutions with zeros around, strides, groups and dilation, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.norm = nn.BatchNorm2d(16)
        self.signs = nn.ModuleList(sign() for _ in range(3))
        self.convs = nn.ModuleList([conv(8, 8, padding=1), conv(8, 16, stride=2, groups=2)])
        self.dilated = conv(16, 16, dilation=2, padding=2)
        self.slope = nn.PReLU(8)
        self.dense = qnn.QuantLinear(16, 5, bias=True, weight_quant=TernaryWeight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.norms[0](self.first(x)), 2)
        x = self.slope(x + self.norms[1](self.convs[0](self.signs[0](x))))
        y = self.norm(self.convs[1](self.signs[1](self.norms[2](x))))
        y = self.dilated(self.signs[2](y)) + functional.hardtanh(y)
        return self.dense(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class Levels(nn.Module):
    """Activations of two bits, and a dense layer on what is flattened channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            qnn.QuantIdentity(bit_width=8),
            conv(3, 8),
            nn.BatchNorm2d(8),
            qnn.QuantReLU(bit_width=2),
            conv(8, 12),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(12),
            sign(),
            nn.Flatten(),
            qnn.QuantLinear(12 * 36, 9, bias=False, weight_quant=BinaryWeight),
            nn.BatchNorm1d(9),
            qnn.QuantIdentity(bit_width=2, narrow_range=True),
            qnn.QuantLinear(9, 4, bias=True, weight_bit_width=4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Estimated(nn.Module):
    """Signs with straight-through estimators as in Bi-Real Net, scaled kernels, and odd shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.weight = nn.Parameter(torch.zeros(8, 8, 3, 3))
        self.norm = nn.BatchNorm2d(8)
        self.dense = nn.Linear(8 * 16 + 8, 6)

    def binary(self, x: torch.Tensor) -> torch.Tensor:
        soft = torch.where(x < 0, 2 * x + x * x, 2 * x - x * x).clamp(-1, 1)
        hard = torch.where(x < 0, -1.0, 1.0)
        return hard.detach() - soft.detach() + soft

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        scale = self.weight.abs().mean((1, 2, 3), keepdim=True)
        real = self.weight.clamp(-1, 1)
        weight = (scale * torch.sign(self.weight)).detach() - real.detach() + real
        y = self.norm(functional.conv2d(self.binary(x + self.shift), weight, padding=1))
        x = functional.leaky_relu(torch.cat([y[:, ::2], x[:, 1::2]], 1), 0.1)
        pooled = functional.avg_pool2d(x, 3, 2, padding=1)
        mean = torch.sign(x.mean((2, 3)))
        y = torch.cat([pooled.view(x.shape[0], -1), mean], 1)
        return functional.softmax(self.dense(y), -1)


NETWORKS = {"brevitas_residual": Residual, "brevitas_levels": Levels, "torch_estimated": Estimated}


def images() -> torch.Tensor:
    """Returns images of sixteenths, zeros among them; one for each row of the outputs."""
    rng = np.random.default_rng(3)
    return torch.from_numpy((rng.integers(-24, 25, (4, 3, 16, 16)) / 16).astype(np.float32))


def drawn(kind: type[nn.Module]) -> nn.Module:
    """Returns a network with weights that are neither large nor zero."""
    torch.manual_seed(4)
    network = kind()
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if not tensor.is_floating_point() or "quant" in name:
            continue
        noise = torch.randn_like(tensor) / 4
        positive = "running_var" in name or (tensor.ndim == 1 and "weight" in name)
        tensor.data = noise.abs() + 0.5 if positive else noise
    network(images())  # scales of activations are found in training mode
    return network.eval()


def main() -> None:
    HERE.mkdir(exist_ok=True)
    outputs = {"images": images().numpy()}
    for name, kind in NETWORKS.items():
        network, path = drawn(kind), HERE / f"{name}.onnx"
        with torch.no_grad():
            outputs[name] = network(images()).numpy()
        if name.startswith("brevitas"):
            export_qonnx(network, args=images()[:1], export_path=str(path), dynamo=False)
        else:
            torch.onnx.export(
                network, (images()[:1],), path, dynamo=False, opset_version=17,
                input_names=["images"], output_names=["scores"],
                dynamic_axes={"images": {0: "n"}, "scores": {0: "n"}},
            )  # fmt: skip
            dynamo = HERE / f"{name}_dynamo.onnx"
            torch.onnx.export(
                network, (images()[:1],), dynamo, dynamo=True, opset_version=18,
                external_data=False, verbose=False,
            )  # fmt: skip
    np.savez_compressed(HERE / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
