"""The quantized dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from bnnzoo.nn import activations, quantizers
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer, resolve_aliases

__all__ = ["QuantDense"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class QuantDense(QuantizedLayer, keras.layers.Dense):
    """Multiplies quantized inputs with a quantized kernel.

    y = activation(q_a(x) q_w(w) + b).

    Args:
        units: Size of the output.
        activation: A function, an alias, or a name known to Keras.
        input_quantizer: Applied to `x` at every call. `None` leaves `x` real.
        kernel_quantizer: Applied to the kernel at every call. `None` leaves it real.
        kwargs: Passed to `keras.layers.Dense`; `use_bias`, `kernel_initializer`,
            `kernel_constraint`, ...

    Input shape:
        `(n, ..., k)`, float.
    Output shape:
        `(n, ..., units)`, float. Binary and without bias: integers in [-k, k].

    Raises:
        ValueError: A quantizer is unknown.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable[[Any], Any] | None = None,
        *,
        input_quantizer: str | Callable[[Any], Any] | None = None,
        kernel_quantizer: str | Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, activations.get(activation), **resolve_aliases(kwargs))
        self.input_quantizer = quantizers.get(input_quantizer)
        self.kernel_quantizer = quantizers.get(kernel_quantizer)
        self.warn_of_starvation()

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output."""
        outputs = ops.matmul(self.quantized_input(inputs), self.quantized_kernel("kernel"))
        return self.add_bias_and_activate(outputs)
