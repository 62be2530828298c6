"""Activations of ReActNet, with learned shifts and slopes per channel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["LearnableShift", "RPReLU"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class LearnableShift(keras.layers.Layer):
    """Adds a trainable shift to each channel.

    y = x + shift.

    Before a sign this is ReActNet's RSign, sign(x - alpha) with alpha = -shift.

    Args:
        shift_initializer: Initializer of the shifts.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        `(n, ..., c)`, float.
    Output shape:
        Same as the input.

    Reference:
        Liu et al. 2020 (ReActNet), section 4.2, https://arxiv.org/abs/2003.03488
    """

    def __init__(self, shift_initializer: Any = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shift_initializer = keras.initializers.get(shift_initializer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the shifts."""
        self.shift = self.add_weight(
            shape=(input_shape[-1],), initializer=self.shift_initializer, name="shift"
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the shifted inputs."""
        return inputs + self.shift

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        initializer = keras.initializers.serialize(self.shift_initializer)
        return {**super().get_config(), "shift_initializer": initializer}


@keras.saving.register_keras_serializable(package="bnnzoo")
class RPReLU(keras.layers.Layer):
    """PReLU with trainable shifts of its input and output for each channel.

    z = x + input_shift; y = (z if z >= 0 else alpha z) + output_shift.

    The paper's gamma is -input_shift, its zeta output_shift, its beta alpha.

    Args:
        alpha_initializer: Initializer of the negative slopes. Default: 0.25, as in torch's PReLU.
        shift_initializer: Initializer of both shifts.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        `(n, ..., c)`, float.
    Output shape:
        Same as the input.

    Reference:
        Liu et al. 2020 (ReActNet), section 4.2, https://arxiv.org/abs/2003.03488
    """

    def __init__(
        self, alpha_initializer: Any = None, shift_initializer: Any = "zeros", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if alpha_initializer is None:
            alpha_initializer = keras.initializers.Constant(0.25)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)
        self.shift_initializer = keras.initializers.get(shift_initializer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the shifts and the slopes."""
        shape = (input_shape[-1],)
        self.input_shift = self.add_weight(
            shape=shape, initializer=self.shift_initializer, name="input_shift"
        )
        self.alpha = self.add_weight(shape=shape, initializer=self.alpha_initializer, name="alpha")
        self.output_shift = self.add_weight(
            shape=shape, initializer=self.shift_initializer, name="output_shift"
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the activation."""
        z = inputs + self.input_shift
        # The condition is not a product, so that the slope at 0 is 1 on every backend.
        return ops.where(z >= 0, z, self.alpha * z) + self.output_shift

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "alpha_initializer": keras.initializers.serialize(self.alpha_initializer),
            "shift_initializer": keras.initializers.serialize(self.shift_initializer),
        }
