"""The Keras model that is trained: image lookup, augmentation and loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from bnnzoo.training.objective import (
    cross_entropy,
    labels_and_shares,
    logits_and_stages,
    objective,
)
from bnnzoo.training.recipes.schema import Phase

__all__ = ["TrainingModel"]


class TrainingModel(keras.Model):  # type: ignore[misc]
    """The model that Keras trains: codes or pixels in, logits and stages out.

    Args:
        network: The network to train.
        input_layer: Makes the network's input from codes or pixels; see
            `device_images.input_layer`.
        phase: The phase.
        teacher: A network that is not trained, for the objective.
        steps_per_call: Above 1, `fit` takes batches of data `(calls * batch, steps_per_call, ...)`,
            and the host is needed only once for this many steps. For JAX, whose train step is a
            function of its state.
    """

    def __init__(
        self,
        network: Any,
        input_layer: Any,
        phase: Phase,
        teacher: Any = None,
        steps_per_call: int = 1,
    ) -> None:
        super().__init__(name="training_model")
        self.network = network
        self.student = logits_and_stages(network)
        self.input_layer = input_layer
        self.phase = phase
        self.teacher = None if teacher is None else logits_and_stages(teacher)
        if self.teacher is not None:
            self.teacher.trainable = False
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.steps_per_call = steps_per_call
        self.built = True

    def train_step(self, *arguments: Any) -> Any:
        """Runs one step, or on JAX all steps of a call, in sequence on the device."""
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
        """Returns batches `(steps, batch, ...)` as `fit` takes them with several steps per call.

        The batch axis comes first, since it is divided among devices.
        """
        batch, shape = batches.shape[1], batches.shape[2:]
        calls = batches.reshape((-1, self.steps_per_call, batch, *shape)).swapaxes(1, 2)
        arranged: NDArray[Any] = calls.reshape((-1, self.steps_per_call, *shape))
        return arranged

    def call(self, codes: Any, training: bool = False) -> dict[str, Any]:
        """Returns the student's outputs, and the teacher's in training."""
        images = self.input_layer(codes)
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
        """Updates the accuracy, with masks that of the pixels."""
        labels, shares = labels_and_shares(y)
        if shares is not None:
            weights = 1.0 if sample_weight is None else ops.reshape(sample_weight, (-1, 1, 1))
            sample_weight = shares * weights
        self.accuracy.update_state(labels, y_pred["student"]["logits"], sample_weight)
        return self.get_metrics_result()
