"""Quantized convolutions over one, two and three axes, and depthwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from bnnzoo.nn import quantizers
from bnnzoo.nn.layers.padding import PaddedLayer, keras_rule
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer, resolve_aliases

__all__ = ["QuantConv1D", "QuantConv2D", "QuantConv3D", "QuantDepthwiseConv2D"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


class QuantizedConvolution(QuantizedLayer, PaddedLayer):
    """Mixin of the convolutions with one kernel `(..., c_in / groups, c_out)`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[Any] = "valid",
        pad_values: float = 0.0,
        *,
        input_quantizer: str | Callable[[Any], Any] | None = None,
        kernel_quantizer: str | Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=keras_rule(padding),
            **resolve_aliases(kwargs),
        )
        self.set_padding(padding, pad_values)
        self.input_quantizer = quantizers.get(input_quantizer)
        self.kernel_quantizer = quantizers.get(kernel_quantizer)
        self.warn_of_starvation()

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output."""
        inputs, padding = self.padded(self.quantized_input(inputs))
        outputs = ops.conv(
            inputs,
            self.quantized_kernel("kernel"),
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.add_bias_and_activate(outputs)


@register
class QuantConv1D(QuantizedConvolution, keras.layers.Conv1D):
    """Convolves quantized sequences with quantized kernels.

    y = activation(conv1d(q_a(x), q_w(w)) + b).

    Args:
        filters: Number of output channels.
        kernel_size: Length of the window.
        strides: Stride of the window.
        padding: "valid", "same", "causal", one width for all sides, or `(left, right)`.
        pad_values: Border value after quantization: -1, 0 or +1.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Conv1D`; `groups`, `use_bias`, `kernel_constraint`, ...

    Input shape:
        `(n, w, c_in)`, float.
    Output shape:
        `(n, w_out, filters)`, float. Binary and without bias: integers in [-K, K],
        K = kernel_w * c_in / groups.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """


@register
class QuantConv2D(QuantizedConvolution, keras.layers.Conv2D):
    """Convolves quantized images with quantized kernels.

    y = activation(conv2d(q_a(x), q_w(w)) + b).

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the window.
        strides: Strides of the window.
        padding: "valid", "same", one width for all sides, `(vertical, horizontal)`, or
            `((top, bottom), (left, right))`: PyTorch's `padding=1` is 1 here.
        pad_values: Border value after quantization: -1, 0 or +1.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Conv2D`; `groups`, `use_bias`, `kernel_constraint`, ...

    Input shape:
        `(n, h, w, c_in)`, float.
    Output shape:
        `(n, h_out, w_out, filters)`, float. Binary and without bias: integers in [-K, K],
        K = kernel_h * kernel_w * c_in / groups.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """


@register
class QuantConv3D(QuantizedConvolution, keras.layers.Conv3D):
    """Convolves quantized volumes with quantized kernels.

    y = activation(conv3d(q_a(x), q_w(w)) + b).

    Args:
        filters: Number of output channels.
        kernel_size: Depth, height and width of the window.
        strides: Strides of the window.
        padding: "valid", "same", one border width for all sides, or one or a pair of widths per
            axis.
        pad_values: Border value after quantization: -1, 0 or +1.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Conv3D`; `groups`, `use_bias`, `kernel_constraint`, ...

    Input shape:
        `(n, d, h, w, c_in)`, float.
    Output shape:
        `(n, d_out, h_out, w_out, filters)`, float. Binary and without bias: integers in [-K, K],
        K = kernel_d * kernel_h * kernel_w * c_in / groups.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """


@register
class QuantDepthwiseConv2D(QuantizedLayer, PaddedLayer, keras.layers.DepthwiseConv2D):
    """Convolves each quantized channel with its own quantized kernels.

    y = activation(depthwise_conv2d(q_a(x), q_w(w)) + b).

    Args:
        kernel_size: Height and width of the window.
        strides: Strides of the window.
        padding: "valid", "same", one width for all sides, `(vertical, horizontal)`, or
            `((top, bottom), (left, right))`: PyTorch's `padding=1` is 1 here.
        pad_values: Border value after quantization: -1, 0 or +1.
        depth_multiplier: Output channels per input channel.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        depthwise_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.DepthwiseConv2D`; `use_bias`, `depthwise_constraint`, ...

    Input shape:
        `(n, h, w, c_in)`, float.
    Output shape:
        `(n, h_out, w_out, c_in * depth_multiplier)`, float. Binary and without bias: integers in
        [-K, K], K = kernel_h * kernel_w.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """

    kernel_quantizers: ClassVar[dict[str, str]] = {"kernel": "depthwise_quantizer"}

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str | int | Sequence[Any] = "valid",
        pad_values: float = 0.0,
        depth_multiplier: int = 1,
        *,
        input_quantizer: str | Callable[[Any], Any] | None = None,
        depthwise_quantizer: str | Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides=strides,
            padding=keras_rule(padding),
            depth_multiplier=depth_multiplier,
            **resolve_aliases(kwargs),
        )
        self.set_padding(padding, pad_values)
        self.input_quantizer = quantizers.get(input_quantizer)
        self.depthwise_quantizer = quantizers.get(depthwise_quantizer)
        self.warn_of_starvation()

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output."""
        inputs, padding = self.padded(self.quantized_input(inputs))
        outputs = ops.depthwise_conv(
            inputs,
            self.quantized_kernel("kernel"),
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.add_bias_and_activate(outputs)
