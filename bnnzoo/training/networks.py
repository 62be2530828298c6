"""The networks of a run: the student of each phase, its teacher, and the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo import registry
from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.keras_bridge.to_keras import recalibrate
from bnnzoo.model_source import resolve_model
from bnnzoo.model_spec import ModelSpec
from bnnzoo.opening import open_model
from bnnzoo.training.heads import with_new_head
from bnnzoo.training.recipes.recipe import Phase, Recipe
from bnnzoo.training.variants import make_variant, transfer_weights

__all__ = ["NetworkMaker", "check_teacher", "open_teacher", "preprocessing_of"]


class NetworkMaker:
    """Makes the network of each phase of a recipe.

    Args:
        recipe: The recipe.

    Raises:
        ArgumentError: `start_from` is another network than the recipe's, or has another
            preprocessing.
        BnnZooError: `start_from` cannot be loaded.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.spec: ModelSpec | None = None
        self.start = None if recipe.start_from is None else _open_start(recipe)

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """`(h, w, c)` that images have to have; None where any will do."""
        return None if self.start is None else tuple(self.start.input_shape[1:])

    def recalibrate(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        """Gives the batch norms of a packed start, which has none, the statistics of images.

        Args:
            images: Some dozens of raw images of the input's size.
        """
        if self.start is None or not _is_packed(str(self.recipe.start_from)):
            return
        known = preprocessings.get(self.recipe.preprocessing)
        pixels = images.astype(np.float32)
        recalibrate(
            self.start,
            (pixels - np.asarray(known.mean, np.float32)) / np.asarray(known.std, np.float32),
        )

    def set_data(self, shape: tuple[int, ...], num_classes: int, names: Any) -> None:
        """Tells what there is to learn.

        Args:
            shape: `(h, w, c)` of the images.
            num_classes: Number of classes.
            names: Their names, or None; of a known data set the id of these is kept.
        """
        known = [id for id in label_sets.list_labels() if names and names in _spellings(id)]
        self.spec = ModelSpec(
            name=_canonical(self.recipe),
            input_shape=tuple(shape),
            num_classes=num_classes,
            preprocessing=self.recipe.preprocessing,
            labels=known[0] if known else names and tuple(map(label_sets.printable, names)),
        )

    def network(self, index: int, precision: str | None = None) -> Any:
        """Returns the network of a phase: from `start_from`, or with random weights.

        Args:
            index: Which phase, from 0.
            precision: Dtype policy of its layers; None takes the recipe's.

        Raises:
            ArgumentError: The builder does not take the recipe's arguments.
        """
        phase = self.recipe.phases[index]
        with _dtype_policy(precision or self.recipe.precision):
            whole = self._whole()
            made = make_variant(whole, self.recipe, phase)
        if self.start is not None:
            transfer_weights(whole, made)
        return made

    def _whole(self) -> Any:
        spec, recipe = self.spec, self.recipe
        assert spec is not None and spec.num_classes is not None, "set_data comes first"
        if self.start is not None:
            return with_new_head(self.start, spec.num_classes, spec.labels)
        try:
            network = registry.builder(recipe.network)(
                input_shape=spec.input_shape, num_classes=spec.num_classes, **recipe.arguments
            )
        except TypeError as error:
            raise ArgumentError(
                f"arguments must be those of {recipe.network}, got {recipe.arguments!r}: {error}."
            ) from error
        network.model_spec = spec
        return network


def _spellings(label_set: str) -> tuple[tuple[str, ...] | None, ...]:
    return label_sets.names(label_set), label_sets.wnids(label_set)


def _is_packed(start: str) -> bool:
    source = resolve_model(start)
    if source.path is not None:
        return source.kind == "packed"
    return source.record.file("full") is None and source.record.file("packed") is not None


def preprocessing_of(network: Any, name: str) -> str:
    """Returns the id of the preprocessing of a network to learn from, which has a spec then.

    Raises:
        ArgumentError: It does not say one, as plain Keras models.
    """
    spec = getattr(network, "model_spec", None)
    if spec is None or spec.preprocessing is None:
        raise ArgumentError(
            f"{name} does not say how its images are preprocessed. Name a network of the zoo, or "
            "one that was trained here."
        )
    return str(spec.preprocessing)


def _canonical(recipe: Recipe) -> str:
    """Returns the name of the network; one that a file brings need not be of the zoo."""
    try:
        return registry.resolve(recipe.network).architecture
    except UnknownModelError:
        if recipe.start_from is None:
            raise
        return recipe.network


def _open_start(recipe: Recipe) -> Any:
    start = str(recipe.start_from)
    network = open_model(start, pretrained=True)
    preprocessing = preprocessing_of(network, start)
    wanted = {
        "network": (network.model_spec.name, _canonical(recipe)),
        "preprocessing": (preprocessing, recipe.preprocessing),
    }
    for field, (found, ours) in wanted.items():
        if found != ours:
            raise ArgumentError(
                f"{field} must be {found}, that of {start}, got {ours!r}. Set {field}={found}."
            )
    return network


def open_teacher(phase: Phase, student: Any) -> Any:
    """Returns the network that a phase names as its teacher.

    Raises:
        ArgumentError: It takes other images or gives other answers than the student.
        BnnZooError: It cannot be loaded.
    """
    teacher = open_model(str(phase.teacher), pretrained=True)
    preprocessing_of(teacher, f"The teacher '{phase.teacher}'")
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
    if () in maps[1]:
        raise ArgumentError(
            f"attention must be 0 for {student.name}, got {phase.attention:g}. Its stages are "
            "vectors, which have no positions to attend to; set distillation."
        )
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
