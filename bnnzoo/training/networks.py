"""The networks of a run: the student of each phase, its teacher, and the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo import registry
from bnnzoo.architectures.segmentation import segmenter
from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.keras_bridge.to_keras import recalibrate
from bnnzoo.model_source import resolve_model
from bnnzoo.model_spec import ModelSpec, task_of
from bnnzoo.opening import open_model
from bnnzoo.training.heads import with_new_head
from bnnzoo.training.recipes.schema import Phase, Recipe
from bnnzoo.training.variants import make_variant, transfer_weights

__all__ = [
    "NetworkMaker",
    "calibrated",
    "check_teacher",
    "open_start",
    "open_teacher",
    "preprocessing_of",
]


class NetworkMaker:
    """Builds the network of each phase of a recipe.

    Args:
        recipe: The recipe.
        input_shape: `(h, w, c)` of the images.
        num_classes: Number of classes.
        class_names: Their names, or None; those of a known data set are kept as an id.
        start: The trained network to start from, as `open_start` returns it, if any.
        task: `segmentation` if the images have masks.
    """

    def __init__(
        self,
        recipe: Recipe,
        input_shape: tuple[int, int, int],
        num_classes: int,
        class_names: tuple[str, ...] | None,
        start: Any = None,
        task: str = "classification",
    ) -> None:
        self.recipe = recipe
        self.start = start
        self.num_classes = num_classes
        self.spec = ModelSpec(
            name=_canonical(recipe),
            input_shape=input_shape,
            num_classes=num_classes,
            preprocessing=recipe.preprocessing,
            labels=_label_set(class_names),
            task=task,
        )

    def network(self, index: int, precision: str | None = None) -> Any:
        """Returns the network of a phase: from `start_from`, or with random weights.

        Args:
            index: Index of the phase.
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
        network = self._classifier() if self.recipe.head is None else self._segmenter()
        network.model_spec = self.spec
        if task_of(network.output_shape) != self.spec.task:
            raise ArgumentError(
                f"{self.recipe.network} must be a network for {self.spec.task}, as the labels of "
                f"{self.recipe.data} are, got {task_of(network.output_shape)}. Set head=fcn for "
                "masks, head=null for labels, or choose another network."
            )
        return network

    def _classifier(self) -> Any:
        spec = self.spec
        if self.start is not None:
            return with_new_head(self.start, self.num_classes, spec.labels)
        return self._built(num_classes=self.num_classes)

    def _segmenter(self) -> Any:
        recipe, start = self.recipe, self.start
        if start is not None and start.model_spec.task == "segmentation":
            raise ArgumentError(
                f"head must be None for {recipe.start_from}, which has one, got {recipe.head!r}. "
                "Set head=null."
            )
        backbone = self._built(include_top=False) if start is None else start
        if not getattr(backbone, "stages", ()):
            raise ArgumentError(
                f"start_from must be a network of the zoo for a head, got {recipe.start_from}. It "
                "does not say where its stages end."
            )
        made = segmenter(backbone, self.num_classes, str(recipe.head), recipe.output_stride)
        # A copy of the layers: the phases change them, and the backbone may be that of `start`.
        network = type(made).from_config(made.get_config())
        transfer_weights(made, network)
        return network

    def _built(self, **arguments: Any) -> Any:
        recipe = self.recipe
        try:
            return registry.builder(recipe.network)(
                input_shape=self.spec.input_shape, **arguments, **recipe.arguments
            )
        except TypeError as error:
            raise ArgumentError(
                f"arguments must be those of {recipe.network}, got {recipe.arguments!r}: {error}."
            ) from error


def _label_set(class_names: tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """Returns the id of a label set with these names or WordNet ids, else the names."""
    if not class_names:
        return None
    for label_set in label_sets.list_labels():
        if class_names in (label_sets.names(label_set), label_sets.wnids(label_set)):
            return label_set
    return tuple(map(label_sets.printable, class_names))


def _is_packed(start: str) -> bool:
    source = resolve_model(start)
    if source.path is not None:
        return source.kind == "packed"
    return source.record.file("full") is None and source.record.file("packed") is not None


def preprocessing_of(network: Any, name: str) -> str:
    """Returns the id of a network's preprocessing.

    Raises:
        ArgumentError: The network has none, like a plain Keras model.
    """
    spec = getattr(network, "model_spec", None)
    if spec is None or spec.preprocessing is None:
        raise ArgumentError(
            f"{name} does not say how its images are preprocessed. Choose a network of the zoo, or "
            "one trained by bnnzoo."
        )
    return str(spec.preprocessing)


def _canonical(recipe: Recipe) -> str:
    """Returns the name of the network; one from a file need not be in the zoo."""
    try:
        return registry.resolve(recipe.network).architecture
    except UnknownModelError:
        if recipe.start_from is None:
            raise
        return recipe.network


def open_start(recipe: Recipe) -> Any:
    """Returns the network that a recipe starts from; None for random weights.

    Raises:
        ArgumentError: Its name or preprocessing is not that of the recipe.
        BnnZooError: It cannot be loaded.
    """
    if recipe.start_from is None:
        return None
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


def calibrated(start: Any, recipe: Recipe, images: NDArray[Any]) -> Any:
    """Returns the network from `open_start` with calibrated batch norms.

    Those of a packed file were folded: their statistics are measured on `images`, a few dozen raw
    images.
    """
    if start is not None and _is_packed(str(recipe.start_from)):
        known = preprocessings.get(recipe.preprocessing)
        mean, std = np.asarray(known.mean, np.float32), np.asarray(known.std, np.float32)
        recalibrate(start, (images.astype(np.float32) - mean) / std)
    return start


def open_teacher(phase: Phase, student: Any) -> Any:
    """Returns the network that a phase names as its teacher.

    Raises:
        ArgumentError: Its input, output or preprocessing differs from the student's.
        BnnZooError: It cannot be loaded.
    """
    teacher = open_model(str(phase.teacher), pretrained=True)
    preprocessing_of(teacher, f"The teacher '{phase.teacher}'")
    check_teacher(phase, teacher, student)
    return teacher


def check_teacher(phase: Phase, teacher: Any, student: Any) -> None:
    """Checks that a student can learn from a teacher.

    Raises:
        ArgumentError: The teacher's input, output or preprocessing differs from the student's.
    """
    for what in ("input_shape", "output_shape"):
        theirs, ours = getattr(teacher, what), getattr(student, what)
        if theirs != ours:
            raise ArgumentError(
                f"{what} of the teacher '{phase.teacher}' must be {ours}, got {theirs}. Choose a "
                "teacher for the same data."
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
            "vectors without positions; use distillation."
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
