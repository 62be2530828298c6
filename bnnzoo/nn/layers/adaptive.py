"""Layers of AdaBin: a sign with two learned values, and an activation with two learned slopes."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from bnnzoo.nn.quantizers import ApproxSign

__all__ = ["AdaptiveSign", "Maxout"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class AdaptiveSign(keras.layers.Layer):
    """AdaBin's binarization of activations: a sign with two learned values.

    y = scale (sign((x - center) / scale) + center), with sign(0) = +1.

    The gradient is that of the formula, with dsign/dz = 2 - 2 |z| for |z| <= 1 and 0 elsewhere. Use
    the layer as the `input_quantizer` of a convolution, which then pads y with zeros.

    Args:
        scale_initializer: Initializer of the scale, one number for all channels.
        center_initializer: Initializer of the center, one number for all channels.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        Any, float.
    Output shape:
        Same as the input.

    Reference:
        Tu et al. 2022 (AdaBin), https://arxiv.org/abs/2208.08084
    """

    bits: ClassVar[int] = 1

    def __init__(
        self, scale_initializer: Any = "ones", center_initializer: Any = "zeros", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.center_initializer = keras.initializers.get(center_initializer)
        self.supports_masking = True
        # Created here because a layer calls its quantizers without building them.
        self.scale = self.add_weight(shape=(), initializer=self.scale_initializer, name="scale")
        self.center = self.add_weight(shape=(), initializer=self.center_initializer, name="center")

    def call(self, inputs: Any) -> Any:
        """Returns one of the two values for each element."""
        scale, center = (ops.cast(v, inputs.dtype) for v in (self.scale, self.center))
        return scale * (self.signs(inputs) + center)

    def signs(self, inputs: Any) -> Any:
        """Returns sign((inputs - center) / scale)."""
        scale, center = (ops.cast(v, inputs.dtype) for v in (self.scale, self.center))
        return ApproxSign()((inputs - center) / scale)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "scale_initializer": keras.initializers.serialize(self.scale_initializer),
            "center_initializer": keras.initializers.serialize(self.center_initializer),
        }


@keras.saving.register_keras_serializable(package="bnnzoo")
class Maxout(keras.layers.Layer):
    """AdaBin's Maxout: two trainable slopes for each channel.

    y = positive_scale x if x >= 0, else negative_scale x.

    Args:
        positive_initializer: Initializer of the slopes of positive inputs.
        negative_initializer: Initializer of the slopes of negative inputs. Default: 0.25.
        kwargs: Passed to `keras.layers.Layer`.

    Input shape:
        `(n, ..., c)`, float.
    Output shape:
        Same as the input.

    Reference:
        Tu et al. 2022 (AdaBin), https://arxiv.org/abs/2208.08084
    """

    def __init__(
        self, positive_initializer: Any = "ones", negative_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if negative_initializer is None:
            negative_initializer = keras.initializers.Constant(0.25)
        self.positive_initializer = keras.initializers.get(positive_initializer)
        self.negative_initializer = keras.initializers.get(negative_initializer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the slopes."""
        shape = (input_shape[-1],)
        self.positive_scale = self.add_weight(
            shape=shape, initializer=self.positive_initializer, name="positive_scale"
        )
        self.negative_scale = self.add_weight(
            shape=shape, initializer=self.negative_initializer, name="negative_scale"
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the activation."""
        # With `where`, unlike products with masks, the gradient at 0 is the same on every backend.
        return ops.where(inputs >= 0, self.positive_scale * inputs, self.negative_scale * inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "positive_initializer": keras.initializers.serialize(self.positive_initializer),
            "negative_initializer": keras.initializers.serialize(self.negative_initializer),
        }
