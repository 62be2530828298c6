"""Creates the image input and the model of every builder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from bnnzoo.arguments import as_integers
from bnnzoo.errors import ArgumentError
from bnnzoo.model_spec import FeatureInfo, ModelSpec
from bnnzoo.nn.pickling import pickle_with_modules

__all__ = ["Shape", "ZooModel", "assemble", "image_input"]

Shape: TypeAlias = tuple[int, int, int]


@keras.saving.register_keras_serializable(package="bnnzoo")
class ZooModel(keras.Model):
    """A functional model that stores its stages and its `ModelSpec`, also when it is saved.

    `keras.models.clone_model` copies only the layers and the name. The following line copies the
    whole model, with new weights as in a clone:

        copy = type(model).from_config(model.get_config())
    """

    stages: tuple[str, ...] = ()
    model_spec: ModelSpec | None = None

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """Name, channels and reduction of the output of each stage, highest resolution first."""
        side = self.input_shape[1]
        shapes = {name: self.get_layer(name).output.shape for name in self.stages}
        return tuple(
            FeatureInfo(name, shape[-1], round(side / shape[1]) if len(shape) == 4 else side)
            for name, shape in shapes.items()
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the functional config with the stages and the spec."""
        spec = self.model_spec
        return {
            **super().get_config(),
            "stages": list(self.stages),
            "model_spec": None if spec is None else spec.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ZooModel:
        """Builds the model that `get_config` describes."""
        config = dict(config)
        stages = tuple(config.pop("stages", ()))
        spec = config.pop("model_spec", None)
        model = super().from_config(config, custom_objects=custom_objects)
        model.stages = stages
        model.model_spec = None if spec is None else ModelSpec.from_dict(spec)
        return model


pickle_with_modules(ZooModel)


def image_input(input_shape: Sequence[int | None], minimum: int, name: str) -> keras.KerasTensor:
    """Returns the input tensor `(n, h, w, c)` of a network.

    Args:
        input_shape: `(h, w, c)`.
        minimum: Minimum height and width of the images.
        name: Name of the network, for the error message.

    Raises:
        ArgumentError: The shape is not `(h, w, c)`, or is smaller than `minimum`.
    """
    shape = as_integers(input_shape)
    if shape is None or len(shape) != 3 or min(shape) < 1:
        raise ArgumentError(
            f"input_shape of {name} must be (height, width, channels), got {input_shape}. "
            "Give three positive integers, channels last."
        )
    if min(shape[:2]) < minimum:
        raise ArgumentError(
            f"input_shape of {name} must be at least {minimum} x {minimum} pixels, "
            f"got {shape[0]} x {shape[1]}. Resize the images."
        )
    return keras.Input(shape=shape, name="images")


def assemble(
    inputs: keras.KerasTensor,
    outputs: keras.KerasTensor,
    *,
    stages: Sequence[keras.KerasTensor],
    name: str,
) -> ZooModel:
    """Returns the model that maps `inputs` to `outputs`.

    Args:
        inputs: The input tensor from `image_input`.
        outputs: The output tensor.
        stages: Output of each stage, highest resolution first, as `features_only` returns them.
        name: Name of the network.
    """
    model = ZooModel(inputs, outputs, name=name)
    model.stages = tuple(tensor._keras_history.operation.name for tensor in stages)
    return model
