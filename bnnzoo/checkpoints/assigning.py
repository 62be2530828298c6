"""Assigns the weights of a checkpoint to a Keras model.

PyTorch stores the kernels of convolutions as (out, in, h, w) and those of dense layers as
(out, in). Keras stores them as (h, w, in, out) and (in, out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.checkpoints import state_dict
from bnnzoo.checkpoints.names import NAMES
from bnnzoo.checkpoints.naming import Names
from bnnzoo.checkpoints.state_dict import StateDict
from bnnzoo.checkpoints.tensors import StoredTensor
from bnnzoo.errors import ArgumentError, WeightsError

__all__ = ["Assigned", "Assignment", "assign", "names_of"]

_MAX_LISTED = 6  # names in a message
# Axes of a PyTorch kernel in the order of Keras, by number of axes, and of a depthwise kernel.
_KERNEL_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}
_DEPTHWISE_AXES = (2, 3, 0, 1)


@dataclass(frozen=True)
class Assignment:
    """A tensor and the weight that it was assigned to.

    Attributes:
        source: Name of the tensor.
        shape: Its shape in the checkpoint.
        target: Path of the weight, `layer/variable`.
        target_shape: Its shape.
    """

    source: str
    shape: tuple[int, ...]
    target: str
    target_shape: tuple[int, ...]


@dataclass(frozen=True)
class Assigned:
    """The result of assigning a checkpoint.

    Attributes:
        state: The weights in the checkpoint.
        assignments: In the order of the model's weights.
        unused: Names of tensors that the network does not use.
    """

    state: StateDict
    assignments: tuple[Assignment, ...]
    unused: tuple[str, ...]


def names_of(architecture: str) -> Names:
    """Returns the table of names of an architecture.

    Raises:
        ArgumentError: There is none.
    """
    if architecture not in NAMES:
        raise ArgumentError(
            "name must be an architecture with known names of PyTorch weights, got "
            f"{architecture!r}. Known: {', '.join(sorted(NAMES))}."
        )
    return NAMES[architecture]


def assign(
    model: Any, path: str | PathLike[str], names: Names | None = None, key: str | None = None
) -> Assigned:
    """Assigns the weights of a PyTorch checkpoint to a model.

    Args:
        model: A Keras model.
        path: The checkpoint.
        names: Names in the checkpoint. Defaults to those of the architecture `model.name`.
        key: Key of the weights in the checkpoint; see `state_dict.read`.

    Raises:
        WeightsError: The file is refused, a weight is missing or has another shape, a tensor is
            left over, or the network in it is not binary. The model is unchanged.
        ArgumentError: There is no table of names for the model.
    """
    names = names or names_of(model.name)
    state = state_dict.read(path, key)
    try:
        return _assign(model, state, names)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _assign(model: Any, state: StateDict, names: Names) -> Assigned:
    targets = {v.path: _Target(v, layer) for layer in model.layers for v in layer.weights}
    sources = {path: names.source(path) for path in targets}
    held = {names.canonical(name): name for name in (*state.tensors, *state.others)}
    wanted = set(sources.values())
    unused = sorted(held[name] for name in held.keys() - wanted if names.is_unused(name))
    missing = sorted(wanted - held.keys())
    extra = {*state.tensors, *state.others} - {held[name] for name in wanted & held.keys()}
    _check_names(model.name, missing, sorted(extra - set(unused)))
    _check_binary(state.tensors, names.below)
    assignments, values = [], []
    for path, target in targets.items():
        name = held[sources[path]]
        tensor = state.tensors.get(name)
        if tensor is None:
            raise WeightsError(
                f"{name} must be a tensor, got another object. Save model.state_dict()."
            )
        values.append(target.value(name, tensor))
        assignments.append(Assignment(name, tensor.shape, path, target.shape))
    for target, value in zip(targets.values(), values, strict=True):
        target.variable.assign(value)
    return Assigned(state, tuple(assignments), tuple(unused))


def _check_names(model: str, missing: Sequence[str], extra: Sequence[str]) -> None:
    problems = []
    if missing:
        problems.append(f"it lacks {_listed(missing)}")
    if extra:
        problems.append(f"it has the unexpected {_listed(extra)}")
    if problems:
        raise WeightsError(
            f"it must have the weights of {model}, but {', and '.join(problems)}. Choose the "
            "network that was saved."
        )


def _check_binary(tensors: Mapping[str, StoredTensor], below: Mapping[str, float]) -> None:
    """Checks the tensors that show whether the network was binary at the end of training."""
    for pattern, bound in below.items():
        found = [name for name in tensors if fnmatchcase(name, pattern)]
        if not found:
            raise WeightsError(
                f"it must have tensors {pattern}, which show whether the network is binary, got "
                "none. Save model.state_dict() without removing them."
            )
        for name in found:
            values = tensors[name].array().astype(np.float64)
            largest = float(np.max(values, initial=-math.inf))
            if not largest < bound:
                raise WeightsError(
                    f"the network is not binary yet: {name} must be below {bound:g}, got "
                    f"{largest:g}. Use the checkpoint of a later epoch."
                )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_LISTED
    listed = ", ".join(name[:80] for name in names[:_MAX_LISTED])
    return f"{listed} and {rest:,} more" if rest > 0 else listed


class _Target:
    """A weight of a Keras model."""

    def __init__(self, variable: Any, layer: Any) -> None:
        self.variable = variable
        self.shape = tuple(variable.shape)
        self.axes = tuple(range(len(self.shape)))
        if variable.name == "kernel":
            depthwise = hasattr(layer, "depth_multiplier")
            self.axes = _DEPTHWISE_AXES if depthwise else _KERNEL_AXES[len(self.shape)]

    def value(self, name: str, tensor: StoredTensor) -> NDArray[Any]:
        """Returns the values of a tensor in the layout of Keras."""
        expected = self._expected()
        if not _fits(tensor.shape, expected):
            raise WeightsError(
                f"{name} must have shape {expected}, got {tensor.shape}. Check the network, its "
                "number of classes and its input shape."
            )
        with np.errstate(over="ignore"):
            value: NDArray[np.float32] = tensor.array().astype(np.float32).reshape(expected)
        if not np.isfinite(value).all():
            raise WeightsError(
                f"{name} must be finite, got values from {value.min()} to {value.max()}. Use "
                "another checkpoint."
            )
        if self.axes == _DEPTHWISE_AXES:
            value = value.reshape(-1, self.shape[3], *self.shape[:2])
        return np.transpose(value, self.axes)

    def _expected(self) -> tuple[int, ...]:
        """Returns the shape in PyTorch."""
        if self.axes == _DEPTHWISE_AXES:
            h, w, channels, multiplier = self.shape
            return channels * multiplier, 1, h, w
        shape = dict(zip(self.axes, self.shape, strict=True))
        return tuple(shape[axis] for axis in range(len(shape)))


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Returns whether a shape fits: flat kernels and additional axes of size 1 are accepted.

    ReActNet's checkpoints have kernels of shape (n, 1), and vectors of shape (1, c, 1, 1).
    """
    if len(shape) == len(expected):
        return shape == expected
    return shape == (math.prod(expected), 1) or _without_ones(shape) == _without_ones(expected)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
