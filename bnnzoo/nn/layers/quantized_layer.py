"""The base of all quantized layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from keras import ops

from bnnzoo.nn import activations, constraints, quantizers

__all__ = ["QuantizedLayer", "StarvedWeightsWarning", "resolve_aliases"]


class StarvedWeightsWarning(UserWarning):
    """Latent weights can leave the range in which their quantizer has a gradient."""


def resolve_aliases(options: dict[str, Any]) -> dict[str, Any]:
    """Returns a layer's options with this package's aliases resolved to objects."""
    resolved = dict(options)
    for name, value in options.items():
        if name.endswith("_constraint"):
            resolved[name] = constraints.get(value)
        elif name == "activation":
            resolved[name] = activations.get(value)
    return resolved


class QuantizedLayer:
    """Mixin before a Keras layer: quantizes the input and every kernel at each call.

    A layer sets `input_quantizer` and its kernels' quantizers in `__init__`, and computes with
    `quantized_input` and `quantized_kernel` in `call`. The variables keep the latent weights.
    """

    # Attribute of each kernel -> argument with its quantizer.
    kernel_quantizers: ClassVar[dict[str, str]] = {"kernel": "kernel_quantizer"}

    input_quantizer: Callable[[Any], Any] | None

    @property
    def quantizers(self) -> tuple[tuple[Any, Callable[[Any], Any] | None], ...]:
        """Pairs of each kernel's variable and its quantizer; empty before the layer is built.

        With LoRA, the quantizer is applied to `latent_kernel`, the sum of the variable and its
        update.
        """
        if not self.built:
            return ()
        variables = {variable.name: variable for variable in self.weights}
        return tuple(
            (variables[kernel], getattr(self, argument))
            for kernel, argument in self.kernel_quantizers.items()
        )

    def latent_kernel(self, variable: Any) -> Any:
        """Returns the tensor that is quantized for a kernel's variable."""
        return ops.convert_to_tensor(getattr(self, variable.name))

    def add_weight(self, *args, **kwargs):
        """Adds a weight. A weight with a quantizer is not rounded before it is quantized.

        Mixed precision casts variables to float16 when they are read. A latent -1e-9 would become
        -0.0, which changes its sign.
        """
        argument = self.kernel_quantizers.get(kwargs.get("name"))
        if argument is None or getattr(self, argument) is None:
            return super().add_weight(*args, **kwargs)
        variable = super().add_weight(*args, **kwargs, autocast=False)
        variable.quantizer = getattr(self, argument)  # optimizers see variables, not layers
        return variable

    def quantized_input(self, inputs: Any) -> Any:
        """Returns the quantized inputs."""
        return inputs if self.input_quantizer is None else self.input_quantizer(inputs)

    def quantized_kernel(self, kernel: str) -> Any:
        """Returns the quantized kernel in the layer's compute dtype."""
        latent = getattr(self, kernel)
        quantizer = getattr(self, self.kernel_quantizers[kernel])
        if quantizer is None:
            return latent
        return ops.cast(quantizer(ops.convert_to_tensor(latent)), self.compute_dtype)

    def add_bias_and_activate(self, outputs: Any) -> Any:
        """Returns the activation of `outputs` plus bias."""
        if self.use_bias:
            shape = [1] * len(outputs.shape)
            shape[1 if getattr(self, "data_format", None) == "channels_first" else -1] = -1
            outputs = ops.add(outputs, ops.reshape(self.bias, shape))
        return outputs if self.activation is None else self.activation(outputs)

    def warn_of_starvation(self) -> None:
        """Warns about binary kernels whose latent weights can leave the range of the gradient."""
        for argument in self.kernel_quantizers.values():
            quantizer = getattr(self, argument)
            constraint = argument.replace("quantizer", "constraint")
            starves = getattr(quantizer, "vanishing_gradient", False)
            if getattr(quantizer, "bits", None) == 1 and starves and not getattr(self, constraint):
                warnings.warn(
                    f"Layer {self.name!r} has the binary {argument} {quantizer!r} but no "
                    f"{constraint}: weights that leave the range of its gradient never change "
                    f"again. Pass {constraint}='weight_clip'.",
                    StarvedWeightsWarning,
                    stacklevel=3,
                )

    def get_config(self):
        """Returns Keras's config and the quantizers."""
        config = super().get_config()
        for argument in ("input_quantizer", *self.kernel_quantizers.values()):
            config[argument] = quantizers.serialize(getattr(self, argument))
        return config
