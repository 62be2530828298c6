"""The first and the last line of every builder: the image input and the model that is returned."""

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
    """A functional model that remembers its stages and its `ModelSpec`, through `save` too.

    `keras.models.clone_model` gives the new model the tensors and the name, and nothing else. This
    copies the model whole, with new weights as a clone has them:

        copy = type(model).from_config(model.get_config())
    """

    stages: tuple[str, ...] = ()
    model_spec: ModelSpec | None = None

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """Name, channels and reduction of the output of each stage, the finest first."""
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
        minimum: Least height and width that the network can take.
        name: The network's name, for the message.

    Raises:
        ArgumentError: The shape is not `(h, w, c)`, or smaller than the network can take.
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
    """Returns the model from `inputs` to `outputs`.

    Args:
        inputs: What `image_input` returned.
        outputs: The last tensor.
        stages: Output of each stage, the finest first; what `features_only` returns.
        name: The network's name.
    """
    model = ZooModel(inputs, outputs, name=name)
    model.stages = tuple(tensor._keras_history.operation.name for tensor in stages)
    return model
