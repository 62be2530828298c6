"""Quantized transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from bnnzoo.nn import quantizers
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer, resolve_aliases

__all__ = ["QuantConv2DTranspose", "QuantConv3DTranspose"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


class QuantizedTransposedConvolution(QuantizedLayer):
    """Mixin of the transposed convolutions, with one kernel `(..., c_out, c_in)`."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        *,
        input_quantizer: str | Callable[[Any], Any] | None = None,
        kernel_quantizer: str | Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides=strides, padding=padding, **resolve_aliases(kwargs)
        )
        self.input_quantizer = quantizers.get(input_quantizer)
        self.kernel_quantizer = quantizers.get(kernel_quantizer)
        self.warn_of_starvation()

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output."""
        outputs = ops.conv_transpose(
            self.quantized_input(inputs),
            self.quantized_kernel("kernel"),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.add_bias_and_activate(outputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer. Older Keras versions omit `output_padding`."""
        return {**super().get_config(), "output_padding": self.output_padding}


@register
class QuantConv2DTranspose(QuantizedTransposedConvolution, keras.layers.Conv2DTranspose):
    """Applies a transposed convolution to quantized images with quantized kernels.

    y = activation(conv2d_transpose(q_a(x), q_w(w)) + b).

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the window.
        strides: Upsampling factors of the image.
        padding: "valid" or "same".
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Conv2DTranspose`; `output_padding`, `use_bias`, ...

    Input shape:
        `(n, h, w, c_in)`, float.
    Output shape:
        `(n, h_out, w_out, filters)`, float.

    Raises:
        ValueError: A quantizer is unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """


@register
class QuantConv3DTranspose(QuantizedTransposedConvolution, keras.layers.Conv3DTranspose):
    """Applies a transposed convolution to quantized volumes with quantized kernels.

    y = activation(conv3d_transpose(q_a(x), q_w(w)) + b).

    Args:
        filters: Number of output channels.
        kernel_size: Depth, height and width of the window.
        strides: Upsampling factors of the volume.
        padding: "valid" or "same".
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Conv3DTranspose`; `output_padding`, `use_bias`, ...

    Input shape:
        `(n, d, h, w, c_in)`, float.
    Output shape:
        `(n, d_out, h_out, w_out, filters)`, float.

    Raises:
        ValueError: A quantizer is unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """
