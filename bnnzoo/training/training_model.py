"""The network in training: looks up its images on the device, changes them, and knows its loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.training.images.device_images import Images
from bnnzoo.training.images.reading import RunImages
from bnnzoo.training.objective import cross_entropy, logits_and_stages, objective
from bnnzoo.training.recipes.recipe import Phase

__all__ = ["ImageBank", "Scaling", "Trainee", "input_layer"]


class Scaling(keras.layers.Layer):  # type: ignore[misc]
    """Turns raw pixels `(n, h, w, c)` of any type into what the network takes, on the device.

    Args:
        preprocessing: Id; its mean and deviation are applied.
    """

    def __init__(self, preprocessing: str) -> None:
        super().__init__(dtype="float32", autocast=False, trainable=False, name="scaling")
        known = preprocessings.get(preprocessing)
        self.mean = np.array(known.mean, dtype=np.float32)
        self.std = np.array(known.std, dtype=np.float32)
        self.built = True

    def call(self, pixels: Any) -> Any:
        """Returns float32 images."""
        return (ops.cast(pixels, "float32") - self.mean) / self.std


class ImageBank(keras.layers.Layer):  # type: ignore[misc]
    """All images of a run, on the device; turns codes `(n, 4)` into images `(n, h, w, c)`.

    A code is the place of an image, the row and the column where its window begins in the image
    padded with `pad` zeros on every side, and whether it is mirrored. Only codes travel to the
    device while training.

    Args:
        images: The images; uint8 stays uint8 until a batch of them is taken.
        preprocessing: Id; its mean and deviation are applied.
        pad: Zeros on every side.
    """

    def __init__(self, images: Images, preprocessing: str, pad: int) -> None:
        super().__init__(dtype="float32", trainable=False, name="images")
        self.image_shape = images.shape
        self.pad = pad
        self.scaling = Scaling(preprocessing)
        rows = images.pixels.reshape(-1, images.shape[2])
        self.pixels = self.add_weight(
            shape=rows.shape,
            dtype=str(rows.dtype),
            initializer=lambda shape, dtype: ops.convert_to_tensor(rows, dtype),
            trainable=False,
            name="pixels",
        )
        self.built = True

    def call(self, codes: Any) -> Any:
        """Returns the preprocessed images."""
        height, width, _ = self.image_shape
        row = codes[:, 1:2] - self.pad + ops.arange(height, dtype="int32")
        column = ops.arange(width, dtype="int32")
        mirrored = codes[:, 3:4] == 1
        column = codes[:, 2:3] - self.pad + ops.where(mirrored, width - 1 - column, column)
        inside = _within(row, height)[:, :, None] & _within(column, width)[:, None, :]
        row, column = ops.clip(row, 0, height - 1), ops.clip(column, 0, width - 1)
        place = (codes[:, 0:1] * height + row)[:, :, None] * width + column[:, None, :]
        taken = ops.cast(ops.take(self.pixels, place, axis=0), "float32")
        return self.scaling(ops.where(inside[..., None], taken, 0.0))


def input_layer(images: RunImages, preprocessing: str, pad: int) -> Any:
    """Returns the layer that makes the network's input of what `images.feed` gives.

    Args:
        images: The images of the run.
        preprocessing: Id.
        pad: As of `ImageBank`.
    """
    if isinstance(images, Images):
        return ImageBank(images, preprocessing, pad)
    return Scaling(preprocessing)


def _within(place: Any, size: int) -> Any:
    return ops.logical_and(place >= 0, place < size)


class Trainee(keras.Model):  # type: ignore[misc]
    """What Keras trains: codes or pixels in, logits and stages out, the phase's objective.

    Args:
        network: The network; its weights are what is learnt.
        bank: Makes the network's input of what comes in; see `input_layer`.
        phase: The phase.
        teacher: A network that is not trained, for the objective.
        steps_per_call: Above 1, `fit` takes data `(calls * batch, steps_per_call, ...)` in batches,
            so that the host is asked once for so many steps. For JAX, whose train step is a
            function of its state.
    """

    def __init__(
        self,
        network: Any,
        bank: Any,
        phase: Phase,
        teacher: Any = None,
        steps_per_call: int = 1,
    ) -> None:
        super().__init__(name="trainee")
        self.network = network
        self.student = logits_and_stages(network)
        self.bank = bank
        self.phase = phase
        self.teacher = None if teacher is None else logits_and_stages(teacher)
        if self.teacher is not None:
            self.teacher.trainable = False
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.steps_per_call = steps_per_call
        self.built = True

    def train_step(self, *arguments: Any) -> Any:
        """Takes one step, or on JAX those of a call, one after the other on the device."""
        if self.steps_per_call == 1:
            return super().train_step(*arguments)
        state, data = arguments
        one_step = super().train_step

        def step(state: Any, batch: Any) -> tuple[Any, Any]:
            logs, state = one_step(state, batch)
            return state, logs

        steps = keras.tree.map_structure(lambda array: ops.swapaxes(array, 0, 1), data)
        state, logs = ops.scan(step, state, steps)
        return keras.tree.map_structure(lambda values: values[-1], logs), state

    def in_calls(self, batches: NDArray[Any]) -> NDArray[Any]:
        """Returns batches `(steps, batch, ...)` as `fit` takes them with several steps in a call.

        The batch comes first, since that is what devices share out.
        """
        batch, shape = batches.shape[1], batches.shape[2:]
        calls = batches.reshape((-1, self.steps_per_call, batch, *shape)).swapaxes(1, 2)
        arranged: NDArray[Any] = calls.reshape((-1, self.steps_per_call, *shape))
        return arranged

    def call(self, codes: Any, training: bool = False) -> dict[str, Any]:
        """Returns the student's outputs, and the teacher's in training."""
        images = self.bank(codes)
        outputs = {"student": self.student(images, training=training)}
        if training and self.teacher is not None:
            outputs["teacher"] = self.teacher(images, training=False)
        return outputs

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Any:  # fmt: skip
        """Returns objective and regularizers in training, else the cross-entropy alone."""
        if not training:
            return cross_entropy(y, y_pred["student"]["logits"], weights=sample_weight)
        loss = objective(self.phase, y, y_pred["student"], y_pred.get("teacher"))
        return loss + sum(self.losses, 0.0)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Counts right answers."""
        self.accuracy.update_state(y, y_pred["student"]["logits"], sample_weight)
        return self.get_metrics_result()
