"""Builds a native network from a Keras network."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from bnnzoo import nn
from bnnzoo.architectures.adabin import PadChannels
from bnnzoo.errors import BnnZooError, ConversionError
from bnnzoo.keras_bridge.from_keras.walking import walk
from bnnzoo.runtime.settings import available_cores, choose_isa, choose_threads
from bnnzoo.training.native import _network, kernels  # type: ignore[attr-defined]

__all__ = ["Binding", "GivenKernel", "NativeNetwork", "NotNativeError", "build"]

NONE = -1  # for a parameter that a layer does not have


class NotNativeError(BnnZooError):
    """A network or a setting that only Keras can train."""


@dataclass(frozen=True)
class Binding:
    """A variable and its place in the network's flat parameters, or in its state.

    Attributes:
        variable: The Keras variable.
        offset: Index of its first number.
        trained: Whether it is a parameter.
        limit: Latent weights are clipped to [-limit, limit].
        l2: Factor of the sum of its squares in the loss.
    """

    variable: Any
    offset: int
    trained: bool
    limit: float = math.inf
    l2: float = 0.0

    @property
    def place(self) -> slice:
        """Its numbers."""
        return slice(self.offset, self.offset + math.prod(self.variable.shape))


@dataclass(frozen=True)
class GivenKernel:
    """A kernel that is quantized in NumPy.

    Attributes:
        latent: Its latent weights.
        quantized: Place of the quantized kernel in the state.
        formula: Its quantizer.
    """

    latent: Binding
    quantized: slice
    formula: kernels.Formula


@dataclass
class NativeNetwork:
    """A network of the extension module.

    Attributes:
        network: The `_network.Network`.
        batch_size: Images that it takes at once.
        output: Its tensor of logits.
        bindings: The variables.
        given: The kernels that are quantized in NumPy.
    """

    network: Any
    batch_size: int
    output: int = 0
    bindings: list[Binding] = field(default_factory=list)
    given: list[GivenKernel] = field(default_factory=list)


def build(
    model: Any, batch_size: int, isa: str | None = None, threads: int | None = None
) -> NativeNetwork:
    """Returns the native network of a Keras network, up to its logits, without values.

    Args:
        model: A functional model that ends in an `Activation("softmax")`.
        batch_size: Images that it takes at once, at most.
        isa: Instruction set; see `runtime.settings.choose_isa`.
        threads: Number of threads; all cores by default.

    Raises:
        NotNativeError: A layer, or a setting of it, is not known here.
    """
    try:
        found = walk(model)
    except ConversionError as error:
        raise NotNativeError(str(error)) from error
    if len(found.inputs) != 1 or len(found.outputs) != 1:
        raise NotNativeError(f"{model.name} has several inputs or outputs.")
    if len(model.output_shape) != 2:
        raise NotNativeError(f"{model.name} has maps as outputs.")
    *calls, last = found.calls
    (shape,) = found.inputs.values()
    network = _network.Network(choose_isa(isa), threads or _default_threads(), batch_size)
    builder = _Builder(NativeNetwork(network, batch_size), shape)
    for call in calls:
        builder.add(call)
    made = builder.made
    if len(model.losses) != sum(binding.l2 > 0 for binding in made.bindings):
        raise NotNativeError(f"{model.name} has regularizers other than L2 of kernels.")
    made.output = builder.tensors[last.inputs[0]]
    made.network.finish(made.output)
    return made


def _default_threads() -> int:
    """Returns `BNNZOO_NUM_THREADS`, or all cores."""
    return choose_threads(None if os.environ.get("BNNZOO_NUM_THREADS") else available_cores())


class _Builder:
    def __init__(self, made: NativeNetwork, shape: Sequence[int | None]) -> None:
        self.made = made
        self.network = made.network
        self.shapes = [_three(shape)]
        self.tensors = [self.network.tensor(*self.shapes[0])]

    def add(self, call: Any) -> None:
        """Adds the operations of one layer call."""
        layer = call.layer
        add = LAYERS.get(type(layer))
        if add is None or call.first_path != call.path:
            what = type(layer).__name__ if add is None else "called twice"
            raise NotNativeError(f"layer '{call.path}' ({what}) is not in the native engine.")
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise NotNativeError(f"layer '{call.path}' is channels first.")
        shape = _three(call.shapes[0])
        result = add(self, layer, call.inputs, shape)
        # Values are numbered in the order of the calls.
        self.tensors.append(result)
        self.shapes.append(shape)

    def tensor(self, shape: Sequence[int]) -> int:
        index: int = self.network.tensor(*shape)
        return index

    def parameter(self, variable: Any, limit: float = math.inf, l2: float = 0.0) -> int:
        """Returns the offset of a trained variable; -1 if there is none."""
        if variable is None:
            return NONE
        offset: int = self.network.add_parameters(math.prod(variable.shape))
        self.made.bindings.append(Binding(variable, offset, True, limit, l2))
        return offset

    def refuse(self, layer: Any, what: str) -> NotNativeError:
        return NotNativeError(f"layer '{layer.name}' has {what}, not in the native engine.")

    # Layers. Each returns the tensor of its result.

    def convolution(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if any(d != 1 for d in layer.dilation_rate) or layer.groups != 1:
            raise self.refuse(layer, "dilation or groups")
        rows, columns, _ = self.shapes[inputs[0]]
        if layer.padding == "valid":
            border = [0, 0]
        elif layer.padding == "same":
            sizes = zip((rows, columns), layer.kernel_size, layer.strides, strict=True)
            border = [_same_border(*size) for size in sizes]
        else:
            border = [before for before, _ in layer.padding]
        return self._multiply(
            layer, inputs, shape, layer.kernel_size, layer.strides, border,
            getattr(layer, "pad_values", 0.0),
        )  # fmt: skip

    def dense(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        return self._multiply(layer, inputs, shape, (1, 1), (1, 1), (0, 0), 0.0)

    def _multiply(
        self, layer: Any, inputs: Sequence[int], shape: Sequence[int], kernel: Sequence[int],
        strides: Sequence[int], border: Sequence[int], border_value: float,
    ) -> int:  # fmt: skip
        if getattr(layer, "lora_enabled", False):
            raise self.refuse(layer, "LoRA")
        tensor = self.tensors[inputs[0]]
        quantizer = getattr(layer, "input_quantizer", None)
        if isinstance(quantizer, nn.AdaptiveSign):
            tensor = self._adaptive_sign(quantizer, tensor, self.shapes[inputs[0]])
            quantizer = None
        function = self._function(layer, quantizer)
        limit = self._limit(layer)
        regularizer = layer.kernel_regularizer
        l2 = float(regularizer.l2) if type(regularizer) is keras.regularizers.L2 else 0.0
        weights = self.parameter(layer.kernel, limit, l2)
        chosen = kernels.native_kind(getattr(layer, "kernel_quantizer", None))
        if chosen is None:
            raise self.refuse(layer, f"the kernel quantizer {layer.kernel_quantizer!r}")
        quantized = 0
        if chosen.formula is not None:
            count = math.prod(layer.kernel.shape)
            quantized = self.network.add_state(count)
            place = slice(quantized, quantized + count)
            self.made.given.append(GivenKernel(self.made.bindings[-1], place, chosen.formula))
        result = self.tensor(shape)
        self.network.convolution(
            tensor, result, list(kernel), list(strides), list(border), border_value, function,
            chosen.kind, chosen.limit, chosen.scale_gradient, weights, quantized,
        )  # fmt: skip
        if layer.use_bias:
            biased = self.tensor(shape)
            shift = self.parameter(layer.bias)
            self.network.slopes(result, biased, shift, NONE, NONE, NONE)
            result = biased
        return self._activated(layer, layer.activation, result, shape)

    def _limit(self, layer: Any) -> float:
        constraint = layer.kernel_constraint
        if constraint is None:
            return math.inf
        if type(constraint) is not nn.WeightClip:
            raise self.refuse(layer, f"the constraint {type(constraint).__name__}")
        return float(constraint.clip_value)

    def _adaptive_sign(self, sign: Any, tensor: int, shape: Sequence[int]) -> int:
        result = self.tensor(shape)
        scale, center = self.parameter(sign.scale), self.parameter(sign.center)
        self.network.adaptive_sign(tensor, result, scale, center)
        return result

    def _function(self, layer: Any, function: Any) -> Any:
        settings = _settings(function)
        if settings is None:
            raise self.refuse(layer, f"the function {function!r}")
        return _network.Function(*settings)

    def _activated(self, layer: Any, function: Any, tensor: int, shape: Sequence[int]) -> int:
        if function is None or function is keras.activations.linear:
            return tensor
        result = self.tensor(shape)
        self.network.function(tensor, result, self._function(layer, function))
        return result

    def batch_norm(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if layer.axis not in (-1, len(layer.input.shape) - 1):
            raise self.refuse(layer, f"axis={layer.axis}")
        moving = self.network.add_state(2 * shape[2])
        for place, variable in enumerate((layer.moving_mean, layer.moving_variance)):
            binding = Binding(variable, moving + place * shape[2], False)
            self.made.bindings.append(binding)
        gamma, beta = self.parameter(layer.gamma), self.parameter(layer.beta)
        result = self.tensor(shape)
        self.network.batch_norm(
            self.tensors[inputs[0]], result, layer.epsilon, layer.momentum, gamma, beta, moving
        )
        return result

    def activation(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        return self._activated(layer, layer.activation, self.tensors[inputs[0]], shape)

    def relu(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise self.refuse(layer, "limits or a slope")
        return self._activated(layer, keras.activations.relu, self.tensors[inputs[0]], shape)

    def _slopes(self, inputs: Sequence[int], shape: Sequence[int], **parameters: Any) -> int:
        names = ("shift", "positive", "negative", "offset")
        offsets = [self.parameter(parameters.get(name)) for name in names]
        result = self.tensor(shape)
        self.network.slopes(self.tensors[inputs[0]], result, *offsets)
        return result

    def prelu(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if math.prod(layer.alpha.shape) != shape[2]:
            raise self.refuse(layer, "slopes that are not per channel")
        return self._slopes(inputs, shape, negative=layer.alpha)

    def rprelu(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        return self._slopes(
            inputs, shape, shift=layer.input_shift, negative=layer.alpha, offset=layer.output_shift
        )

    def maxout(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        return self._slopes(
            inputs, shape, positive=layer.positive_scale, negative=layer.negative_scale
        )

    def shift(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        return self._slopes(inputs, shape, shift=layer.shift)

    def add_layer(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if any(self.shapes[i] != tuple(shape) for i in inputs):
            raise self.refuse(layer, "inputs of several shapes")
        result = self.tensor(shape)
        self.network.add([self.tensors[i] for i in inputs], result)
        return result

    def concatenate(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        if layer.axis not in (-1, len(layer.output.shape) - 1):
            raise self.refuse(layer, f"axis={layer.axis}")
        result = self.tensor(shape)
        self.network.concatenate([self.tensors[i] for i in inputs], result)
        return result

    def pool(
        self, layer: Any, inputs: Sequence[int], shape: Sequence[int], *, maximum: bool
    ) -> int:
        sizes = self.shapes[inputs[0]][:2]
        if layer.padding == "valid":
            border = [0, 0]
        elif layer.padding == "same":
            windows = zip(sizes, layer.pool_size, layer.strides, strict=True)
            border = [_same_border(*window) for window in windows]
        else:
            border = [before for before, _ in layer.padding]
        result = self.tensor(shape)
        self.network.pool(
            self.tensors[inputs[0]], result, list(layer.pool_size), list(layer.strides), border,
            maximum,
        )  # fmt: skip
        return result

    def global_pool(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        size = list(self.shapes[inputs[0]][:2])
        result = self.tensor(shape)
        self.network.pool(self.tensors[inputs[0]], result, size, size, [0, 0], False)
        return result

    def pad(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        (top, _), (left, _) = layer.padding
        result = self.tensor(shape)
        self.network.pad(self.tensors[inputs[0]], result, top, left, 0)
        return result

    def pad_channels(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        result = self.tensor(shape)
        self.network.pad(self.tensors[inputs[0]], result, 0, 0, layer.channels)
        return result

    def reshape(self, layer: Any, inputs: Sequence[int], shape: Sequence[int]) -> int:
        index: int = self.network.view(self.tensors[inputs[0]], *shape)
        return index


def _three(shape: Sequence[int | None]) -> tuple[int, int, int]:
    """Returns a shape as `(h, w, c)`; that of a vector is `(1, 1, c)`."""
    sizes = [size for size in shape if size is not None]
    if len(sizes) != len(shape) or len(sizes) not in (1, 3):
        raise NotNativeError(f"a layer has the shape {tuple(shape)}, not in the native engine.")
    return (1, 1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])


def _same_border(size: int, window: int, stride: int) -> int:
    """Returns the border before an axis for "same"."""
    return max((-(-size // stride) - 1) * stride + window - size, 0) // 2


def _settings(function: Any) -> tuple[Any, ...] | None:
    """Returns the arguments of `_network.Function`; None for functions it does not have."""
    if function is None:
        return ("identity",)
    if function is nn.hard_tanh:
        return ("hard_tanh",)
    if function is keras.activations.relu:
        return ("relu",)
    if type(function) is nn.NoOp:
        return ("identity",)
    if type(function) is nn.SteSign:
        return ("sign", math.inf if function.clip_value is None else function.clip_value)
    if type(function) is nn.ApproxSign:
        return ("approx_sign",)
    if type(function) is nn.SwishSign:
        return ("swish_sign", function.beta)
    if type(function) is nn.ErrorDecaySign:
        t = 10 ** (2 * function.progress - 1)
        return ("error_decay", t, max(1 / t, 1))
    return None


# Only these types, not their subclasses, which may compute something else.
LAYERS: dict[type, Callable[..., int]] = {
    keras.layers.Conv2D: _Builder.convolution,
    nn.QuantConv2D: _Builder.convolution,
    keras.layers.Dense: _Builder.dense,
    nn.QuantDense: _Builder.dense,
    keras.layers.BatchNormalization: _Builder.batch_norm,
    keras.layers.Activation: _Builder.activation,
    keras.layers.ReLU: _Builder.relu,
    keras.layers.PReLU: _Builder.prelu,
    nn.RPReLU: _Builder.rprelu,
    nn.Maxout: _Builder.maxout,
    nn.LearnableShift: _Builder.shift,
    keras.layers.Add: _Builder.add_layer,
    keras.layers.Concatenate: _Builder.concatenate,
    keras.layers.MaxPooling2D: functools.partial(_Builder.pool, maximum=True),
    nn.MaxPooling2D: functools.partial(_Builder.pool, maximum=True),
    keras.layers.AveragePooling2D: functools.partial(_Builder.pool, maximum=False),
    keras.layers.GlobalAveragePooling2D: _Builder.global_pool,
    keras.layers.ZeroPadding2D: _Builder.pad,
    PadChannels: _Builder.pad_channels,
    keras.layers.Flatten: _Builder.reshape,
    keras.layers.Reshape: _Builder.reshape,
}
