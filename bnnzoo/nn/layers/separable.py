"""Quantized separable convolutions: depthwise, then pointwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from bnnzoo.nn import quantizers
from bnnzoo.nn.layers.padding import PaddedLayer, keras_rule
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer, resolve_aliases

__all__ = ["QuantSeparableConv1D", "QuantSeparableConv2D"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


class QuantizedSeparableConvolution(QuantizedLayer, PaddedLayer):
    """Mixin of the convolutions with a depthwise and a pointwise kernel."""

    kernel_quantizers: ClassVar[dict[str, str]] = {
        "depthwise_kernel": "depthwise_quantizer",
        "pointwise_kernel": "pointwise_quantizer",
    }

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[Any] = "valid",
        pad_values: float = 0.0,
        *,
        input_quantizer: str | Callable[[Any], Any] | None = None,
        depthwise_quantizer: str | Callable[[Any], Any] | None = None,
        pointwise_quantizer: str | Callable[[Any], Any] | None = None,
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
        self.depthwise_quantizer = quantizers.get(depthwise_quantizer)
        self.pointwise_quantizer = quantizers.get(pointwise_quantizer)
        self.warn_of_starvation()

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output."""
        inputs, padding = self.padded(self.quantized_input(inputs))
        outputs = ops.separable_conv(
            inputs,
            self.quantized_kernel("depthwise_kernel"),
            self.quantized_kernel("pointwise_kernel"),
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.add_bias_and_activate(outputs)


@register
class QuantSeparableConv1D(QuantizedSeparableConvolution, keras.layers.SeparableConv1D):
    """Convolves each channel of quantized sequences, then mixes the channels.

    y = activation(conv1d(depthwise_conv1d(q_a(x), q_d(w_d)), q_p(w_p)) + b); the values between
    the two convolutions are not quantized.

    Args:
        filters: Number of output channels.
        kernel_size: Length of the window.
        strides: Stride of the window.
        padding: "valid", "same", one width for all sides, or `(left, right)`.
        pad_values: Border value after quantization: -1, 0 or +1.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        depthwise_quantizer: Applied to the depthwise kernel. `None` leaves it real.
        pointwise_quantizer: Applied to the pointwise kernel. `None` leaves it real.
        kwargs: Passed to `keras.layers.SeparableConv1D`; `depth_multiplier`, `use_bias`, ...

    Input shape:
        `(n, w, c_in)`, float.
    Output shape:
        `(n, w_out, filters)`, float. Binary and without bias: integers in [-K, K],
        K = kernel_w * c_in * depth_multiplier.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """


@register
class QuantSeparableConv2D(QuantizedSeparableConvolution, keras.layers.SeparableConv2D):
    """Convolves each channel of quantized images, then mixes the channels.

    y = activation(conv2d(depthwise_conv2d(q_a(x), q_d(w_d)), q_p(w_p)) + b); the values between
    the two convolutions are not quantized.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the window.
        strides: Strides of the window.
        padding: "valid", "same", one width for all sides, `(vertical, horizontal)`, or
            `((top, bottom), (left, right))`: PyTorch's `padding=1` is 1 here.
        pad_values: Border value after quantization: -1, 0 or +1.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        depthwise_quantizer: Applied to the depthwise kernel. `None` leaves it real.
        pointwise_quantizer: Applied to the pointwise kernel. `None` leaves it real.
        kwargs: Passed to `keras.layers.SeparableConv2D`; `depth_multiplier`, `use_bias`, ...

    Input shape:
        `(n, h, w, c_in)`, float.
    Output shape:
        `(n, h_out, w_out, filters)`, float. Binary and without bias: integers in [-K, K],
        K = kernel_h * kernel_w * c_in * depth_multiplier.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1, `padding` is invalid, or a quantizer is
            unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """
