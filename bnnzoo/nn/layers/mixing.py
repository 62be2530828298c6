"""Learned mixtures of two feature maps: the gates of Group-Net and of BNext."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["ChannelMix", "SoftGate"]


class Mixture(keras.layers.Layer):
    """Base of the layers that return weight * first + (1 - weight) * second."""

    def mixed(self, weight: Any, inputs: list[Any]) -> Any:
        """Returns the mixture of two inputs."""
        first, second = inputs
        weight = ops.cast(weight, first.dtype)
        return weight * first + (1 - weight) * second

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the first input."""
        return input_shape[0]


@keras.saving.register_keras_serializable(package="bnnzoo")
class SoftGate(Mixture):
    """Mixes two inputs with one trainable gate, as Group-Net does between its blocks.

    y = g a + (1 - g) b, with g = sigmoid(gate).

    A gate can be shared: call the layer several times.

    Args:
        gate_initializer: Initializer of the gate, one number.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        A list of two tensors of the same shape, `a` and `b`.
    Output shape:
        Same as one input.

    Reference:
        Zhuang et al. 2019 (Group-Net), https://arxiv.org/abs/1811.10413
    """

    def __init__(self, gate_initializer: Any = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate_initializer = keras.initializers.get(gate_initializer)

    def build(self, input_shape: Any) -> None:
        """Creates the gate."""
        self.gate = self.add_weight(shape=(), initializer=self.gate_initializer, name="gate")
        self.built = True

    def call(self, inputs: list[Any]) -> Any:
        """Returns the mixture."""
        return self.mixed(ops.sigmoid(self.gate), inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        initializer = keras.initializers.serialize(self.gate_initializer)
        return {**super().get_config(), "gate_initializer": initializer}


@keras.saving.register_keras_serializable(package="bnnzoo")
class ChannelMix(Mixture):
    """Mixes two inputs with a trainable weight for each channel, as BNext's info-recoupling does.

    y = w a + (1 - w) b, with w = clip(mix, 0, 1).

    Args:
        clip: "always", or "training" to clip during training only, as BNext's 3 x 3 units do.
        mix_initializer: Initializer of the weights. Default: 0.5.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        A list of two tensors of the same shape `(n, ..., c)`, `a` and `b`.
    Output shape:
        Same as one input.

    Raises:
        ValueError: `clip` is invalid.

    Reference:
        Guo et al. 2022 (BNext), https://arxiv.org/abs/2211.12933
    """

    def __init__(self, clip: str = "always", mix_initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if clip not in ("always", "training"):
            raise ValueError(
                f"clip must be 'always' or 'training', got {clip!r}. Use 'always' for weights "
                "that are not from BNext's authors."
            )
        if mix_initializer is None:
            mix_initializer = keras.initializers.Constant(0.5)
        self.clip = clip
        self.mix_initializer = keras.initializers.get(mix_initializer)

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        self.mix = self.add_weight(
            shape=(input_shape[0][-1],), initializer=self.mix_initializer, name="mix"
        )
        self.built = True

    def call(self, inputs: list[Any], training: bool | None = None) -> Any:
        """Returns the mixture."""
        clips = training or self.clip == "always"
        return self.mixed(ops.clip(self.mix, 0.0, 1.0) if clips else self.mix, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        initializer = keras.initializers.serialize(self.mix_initializer)
        return {**super().get_config(), "clip": self.clip, "mix_initializer": initializer}
