"""Computes the output of every layer of a Keras model, nested models included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo.keras_bridge.from_keras.walking import LayerCall, Walk

__all__ = ["KerasValues"]

Array = NDArray[np.float32]


class KerasValues:
    """Runs a model layer by layer, compiled as one function.

    Args:
        steps: The calls of the model.
    """

    def __init__(self, steps: Walk) -> None:
        self.steps = steps
        self._model = _Calls(steps)

    def __call__(self, *inputs: Any) -> tuple[dict[int, Array], dict[str, Array]]:
        """Returns every value by its number, and the outputs of input quantizers by path."""
        given = [np.asarray(x, np.float32) for x in inputs]
        found = self._model.predict_on_batch(given)
        arrays = [np.asarray(array, np.float32) for array in found]
        numbers = [value for call in self.steps.calls for value in call.outputs]
        values = dict(zip(numbers, arrays, strict=False))
        paths = [call.path for call in self.steps.calls if _quantizer(call) is not None]
        quantized = dict(zip(paths, arrays[len(numbers) :], strict=True))
        return {**dict(enumerate(given)), **values}, quantized


def _quantizer(call: LayerCall) -> Any:
    return getattr(call.layer, "input_quantizer", None)


class _Calls(keras.Model):  # type: ignore[misc]
    """Returns the outputs of all calls of a model, and of their input quantizers."""

    def __init__(self, steps: Walk) -> None:
        super().__init__(name="calls")
        self.steps = steps
        # Keras must track the layers, whose variables are arguments of a compiled function.
        self.called = [call.layer for call in steps.calls]

    def call(self, given: Any, training: bool = False) -> list[Any]:
        """Runs the calls in order; Keras passes `training` on to layers by itself."""
        values: dict[int, Any] = dict(enumerate(given))
        quantized = []
        for call in self.steps.calls:
            inputs = [values[number] for number in call.inputs]
            if _quantizer(call) is not None:
                quantize = _quantizer(call)
                quantized.append(getattr(quantize, "signs", quantize)(inputs[0]))
            values |= _outputs(call, call.layer(*call.arguments(inputs), **call.settings))
        numbers = [number for call in self.steps.calls for number in call.outputs]
        return [values[number] for number in numbers] + quantized


def _outputs(call: LayerCall, returned: Any) -> Mapping[int, Any]:
    several = returned if isinstance(returned, (list, tuple)) else [returned]
    return dict(zip(call.outputs, several, strict=True))
