"""The networks of a run: the student of each phase, its teacher, and the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from bnnzoo import registry
from bnnzoo.data import labels as label_sets
from bnnzoo.data.source import Source
from bnnzoo.errors import ArgumentError
from bnnzoo.loading import open_model
from bnnzoo.model_spec import ModelSpec
from bnnzoo.training.recipe import Phase, Recipe
from bnnzoo.training.variants import make_variant

__all__ = ["build_network", "open_teacher", "spec_of"]


def spec_of(recipe: Recipe, shape: tuple[int, ...], train: Source, num_classes: int) -> ModelSpec:
    """Returns what will travel with the network.

    Args:
        recipe: Its architecture and preprocessing.
        shape: `(h, w, c)` of the images.
        train: The training images; their class names are kept where they have an id.
        num_classes: Number of classes.
    """
    known = [id for id in label_sets.list_labels() if label_sets.names(id) == train.class_names]
    return ModelSpec(
        name=registry.resolve(recipe.network).architecture,
        input_shape=tuple(shape),
        num_classes=num_classes,
        preprocessing=recipe.preprocessing,
        labels=known[0] if known else None,
    )


def build_network(recipe: Recipe, spec: ModelSpec, phase: Phase, precision: str) -> Any:
    """Returns a new network as a phase wants it.

    Args:
        recipe: The recipe.
        spec: Shape and classes.
        phase: The phase.
        precision: Dtype policy of its layers.

    Raises:
        ArgumentError: The builder does not take the recipe's arguments.
    """
    with _dtype_policy(precision):
        try:
            network = registry.builder(recipe.network)(
                input_shape=spec.input_shape, num_classes=spec.num_classes, **recipe.arguments
            )
        except TypeError as error:
            raise ArgumentError(
                f"arguments must be those of {recipe.network}, got {recipe.arguments!r}: {error}."
            ) from error
        network.model_spec = spec
        return make_variant(network, recipe, phase)


def open_teacher(phase: Phase, student: Any) -> Any:
    """Returns the network that a phase names as its teacher.

    Raises:
        ArgumentError: It takes other images or gives other answers than the student.
        BnnZooError: It cannot be loaded.
    """
    teacher = open_model(str(phase.teacher), pretrained=True)
    check_teacher(phase, teacher, student)
    return teacher


def check_teacher(phase: Phase, teacher: Any, student: Any) -> None:
    """Checks that a student can learn from a teacher.

    Raises:
        ArgumentError: It takes other images or gives other answers.
    """
    for what in ("input_shape", "output_shape"):
        theirs, ours = getattr(teacher, what), getattr(student, what)
        if theirs != ours:
            raise ArgumentError(
                f"{what} of the teacher '{phase.teacher}' must be {ours}, got {theirs}. Choose a "
                "teacher of the same data."
            )
    prepared = [model.model_spec and model.model_spec.preprocessing for model in (teacher, student)]
    if prepared[0] != prepared[1]:
        raise ArgumentError(
            f"preprocessing of the teacher '{phase.teacher}' must be {prepared[1]}, got "
            f"{prepared[0]}. Set preprocessing={prepared[0]}."
        )
    if phase.attention:
        _check_maps(phase, teacher, student)


def _check_maps(phase: Phase, teacher: Any, student: Any) -> None:
    maps = [
        [model.get_layer(stage).output.shape[1:-1] for stage in model.stages]
        for model in (teacher, student)
    ]
    if maps[0] != maps[1]:
        raise ArgumentError(
            f"Stages of the teacher '{phase.teacher}' must have the sizes {maps[1]}, got {maps[0]}."
        )


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
