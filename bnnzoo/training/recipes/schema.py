"""The recipe: everything that determines the trained network, as data.

A recipe is trained in one or several phases. Each phase starts from the weights of the one before,
so that the techniques of the papers are phases:

- from a real-valued twin: `Phase(binarize="nothing")`, then `Phase(binarize="everything")`;
- activations first (two stages): `Phase(binarize="activations")`, then everything;
- from a teacher: `Phase(teacher="previous", distillation=0.5)`, or a pretrained network's name.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bnnzoo.errors import ArgumentError, did_you_mean
from bnnzoo.records import read_record

__all__ = ["TEACHERS", "Augmentation", "Phase", "Recipe", "check", "plain_fields", "type_names"]

BINARIZE = ("nothing", "activations", "everything")
SCHEDULES = ("cosine", "linear", "poly", "constant", "steps")
BINARY_OPTIMIZERS = ("latent", "sgd", "bop")
FLOAT_OPTIMIZERS = ("adam", "sgd")
IMAGES = ("auto", "memory", "files")
REAL_ACTIVATIONS = ("hard_tanh", "relu")
TEACHERS = ("previous", "first")
PRECISIONS = ("float32", "mixed_bfloat16")
# Fields of a phase that are not negative, and their largest value.
MAXIMA = {
    **dict.fromkeys(("epsilon", "weight_decay", "label_smoothing", "bop_gamma", "distillation"), 1),
    **dict.fromkeys(("learning_rate", "float_learning_rate", "warmup_epochs"), math.inf),
    **dict.fromkeys(("bop_threshold", "attention"), math.inf),
}


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images. Masks are padded, mirrored and cropped as their images.

    Attributes:
        pad: Each image is padded with this many zeros on every side, then a random window of its
            original size is cut out.
        flip: Each image is mirrored from left to right with a probability of one half.
        min_area: If it is below 1, Inception's random crop is applied first: a part with at least
            this fraction of the image's area and an aspect ratio of 3:4 to 4:3 is resized to the
            input size. Requires images that are read from files.
    """

    pad: int = 0
    flip: bool = False
    min_area: float = 1.0


@dataclass(frozen=True)
class Phase:
    """Some epochs with one optimizer and one objective.

    Attributes:
        epochs: Number of passes over the training images.
        binarize: What is quantized: `everything`, `activations` only (kernels stay real), or
            `nothing` (the network's real-valued twin).
        learning_rate: Highest learning rate of Adam.
        schedule: How the learning rate falls: `cosine`, `linear` or `poly` to zero, in `steps`, or
            not at all (`constant`).
        drops: For `steps`: pairs of an epoch, counted from 0, and the fraction of the highest
            learning rate that is used from that epoch on.
        warmup_epochs: Epochs of linear warm-up from zero, at most all epochs.
        binary_optimizer: Latent weights trained with Adam (`latent`), or with a momentum of 0.9
            (`sgd`); or `bop`, which flips weights.
        epsilon: Epsilon of Adam.
        float_optimizer: Optimizer of everything but binary kernels: `adam` with `learning_rate`, or
            `sgd` with a momentum of 0.9.
        float_learning_rate: Highest learning rate of that optimizer; None takes `learning_rate`.
        bop_gamma: Adaptivity rate of Bop; it follows the schedule.
        bop_threshold: Threshold of Bop.
        weight_decay: Decoupled weight decay of float kernels.
        clip_norm: Bound of the global norm of an optimizer's gradients; None does not clip.
        label_smoothing: Fraction of the target that is spread over all classes.
        teacher: Network to learn from: `previous` (that of the phase before), `first` (that of the
            first phase), `name.tag` or a `.keras` file.
        distillation: Weight of the teacher's soft labels, from 0 to 1; the rest is that of the
            labels.
        temperature: Divisor of both networks' logits for the soft labels.
        attention: Weight of Real-to-Binary's attention matching at the end of each stage.
        freeze_backbone: Train only the layers after the network's last stage.
    """

    epochs: int
    binarize: str = "everything"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    drops: tuple[tuple[int, float], ...] = ()
    warmup_epochs: float = 0.0
    binary_optimizer: str = "latent"
    epsilon: float = 1e-7
    float_optimizer: str = "adam"
    float_learning_rate: float | None = None
    bop_gamma: float = 1e-4
    bop_threshold: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    teacher: str | None = None
    distillation: float = 0.0
    temperature: float = 1.0
    attention: float = 0.0
    freeze_backbone: bool = False


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Two runs of equal recipes on one CPU, with the same versions and compiler flags, give equal
    weights.

    Attributes:
        name: Its name for `bnnzoo train`.
        network: Name of the architecture.
        data: Training images, as `--data` takes them, with the training split.
        test_data: Images for the final evaluation.
        split: Fraction of the images of `data` that are test images instead, chosen by a hash of
            seed and name. `test_data` must be the same as `data`.
        phases: The phases, in order.
        arguments: Arguments of the architecture's builder, except shape and classes.
        start_from: Trained network to start from, which gets a new classifier: `name.tag`, or a
            `.keras` or packed file. It must be a `network`; its arguments, shape and preprocessing
            are used.
        head: Head for segmentation to put on a network for classification, `fcn` or `aspp`; see
            `bnnzoo.load`. With `start_from`, it goes on that network.
        output_stride: Image size divided by the size of the feature map that the head reads; None
            takes the last one.
        preprocessing: Id of the preprocessing.
        augmentation: Augmentation of training images.
        images: Where images are during training: decoded once into `memory`, on the device; in
            `files`, decoded ahead of the steps in each epoch; or `auto`: files if there are too
            many images, or random parts of them are used.
        batch_size: Images per step; an incomplete batch at the end of an epoch is dropped.
        held_out: Number of training images kept for validation. With 0, the log shows the accuracy
            on the test images. The last weights are the result, whatever the log shows.
        seed: Seed of weights, order and augmentation.
        precision: `float32`, or `mixed_bfloat16`: layers compute in bfloat16, unless the device is
            a CPU that only emulates it. The final evaluation always uses float32.
        batch_norm_momentum: Momentum of every batch norm; None keeps the architecture's.
        pad_values: Border of every binary "same" convolution: -1, 0 or +1; None keeps the
            architecture's.
        clip_value: Bound of the gradient of every sign that has one, and of its latent weights;
            None keeps the architecture's.
        real_activation: Replaces the sign where activations are not binarized.
        summary: One line: where the settings come from.
    """

    name: str
    network: str
    data: str
    test_data: str
    phases: tuple[Phase, ...]
    split: float = 0.0
    arguments: dict[str, Any] = field(default_factory=dict)
    start_from: str | None = None
    head: str | None = None
    output_stride: int | None = None
    preprocessing: str = "scale_pm1"
    augmentation: Augmentation = Augmentation()
    images: str = "auto"
    batch_size: int = 128
    held_out: int = 0
    seed: int = 0
    precision: str = "float32"
    batch_norm_momentum: float | None = 0.9
    pad_values: int | None = None
    clip_value: float | None = None
    real_activation: str = "hard_tanh"
    summary: str = ""

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as JSON values."""
        return {**dataclasses.asdict(self), "phases": [vars(phase).copy() for phase in self.phases]}

    @classmethod
    def from_dict(cls, value: Any) -> Recipe:
        """Returns the recipe that `to_dict` wrote.

        Raises:
            RecordError: A field is missing, unknown or of another type.
        """
        return read_record(cls, value)


def plain_fields(record: type) -> dict[str, tuple[type, ...]]:
    """Returns the types of the fields that hold a single plain value."""
    hints = typing.get_type_hints(record)
    kinds = {name: typing.get_args(hint) or (hint,) for name, hint in hints.items()}
    plain = {bool, int, float, str, types.NoneType}
    return {name: kind for name, kind in kinds.items() if set(kind) <= plain}


def type_names(kinds: Iterable[type]) -> str:
    """Returns types as a message names them."""
    return " or ".join("null" if kind is types.NoneType else kind.__name__ for kind in kinds)


def check(recipe: Recipe) -> Recipe:
    """Returns the recipe after checking its values.

    Raises:
        ArgumentError: A value is out of range.
    """
    _one_of("precision", recipe.precision, PRECISIONS)
    _one_of("real_activation", recipe.real_activation, REAL_ACTIVATIONS)
    _one_of("images", recipe.images, IMAGES)
    if recipe.pad_values is not None:
        _one_of("pad_values", recipe.pad_values, (-1, 0, 1))
    _least("batch_size", recipe.batch_size, 1)
    _least("held_out", recipe.held_out, 0)
    _least("seed", recipe.seed, 0)
    if recipe.seed >= 2**32:
        raise ArgumentError(f"seed must be below 2**32, as NumPy requires, got {recipe.seed}.")
    _least("augmentation.pad", recipe.augmentation.pad, 0)
    _check_random_crop(recipe)
    _check_split(recipe)
    if recipe.output_stride is not None:
        _least("output_stride", recipe.output_stride, 1)
        if recipe.head is None:
            raise ArgumentError(
                f"head must be given with output_stride={recipe.output_stride}, got None. Set "
                "head=fcn, or arguments.output_stride of a network with its own head."
            )
    if not 0 <= (recipe.batch_norm_momentum or 0.0) < 1:
        raise ArgumentError(
            f"batch_norm_momentum must be from 0 to below 1, got {recipe.batch_norm_momentum!r}. "
            "With 1, the statistics never change."
        )
    if recipe.clip_value is not None and not 0 < recipe.clip_value < math.inf:
        raise ArgumentError(f"clip_value must be positive and finite, got {recipe.clip_value!r}.")
    if not recipe.phases:
        raise ArgumentError("phases must be one or more, got none. Add a Phase.")
    for index, phase in enumerate(recipe.phases):
        _check_phase(phase, first=index == 0)
    return recipe


def _check_random_crop(recipe: Recipe) -> None:
    min_area = recipe.augmentation.min_area
    if not 0 < min_area <= 1:
        raise ArgumentError(f"augmentation.min_area must be above 0, up to 1, got {min_area!r}.")
    if min_area < 1 and recipe.images == "memory":
        raise ArgumentError(
            f"images must be files or auto with augmentation.min_area={min_area:g}, got 'memory'. "
            "Random parts are cut out of the original images, which differ in size."
        )


def _check_split(recipe: Recipe) -> None:
    if not 0 <= recipe.split < 1:
        raise ArgumentError(f"split must be from 0 to below 1, got {recipe.split!r}.")
    if recipe.split and recipe.data != recipe.test_data:
        raise ArgumentError(
            f"test_data must be the same as data with split={recipe.split:g}, got "
            f"{recipe.test_data} and {recipe.data}. Leave out --split or the test images."
        )


def _check_phase(phase: Phase, *, first: bool) -> None:
    _least("epochs", phase.epochs, 1)
    _one_of("binarize", phase.binarize, BINARIZE)
    _one_of("schedule", phase.schedule, SCHEDULES)
    _one_of("binary_optimizer", phase.binary_optimizer, BINARY_OPTIMIZERS)
    _one_of("float_optimizer", phase.float_optimizer, FLOAT_OPTIMIZERS)
    _check_drops(phase)
    for name, most in MAXIMA.items():
        _at_most(name, getattr(phase, name) or 0.0, most)
    if not 0 < phase.temperature < math.inf:
        raise ArgumentError(f"temperature must be positive and finite, got {phase.temperature!r}.")
    if phase.teacher is None and (phase.distillation or phase.attention):
        raise ArgumentError(
            "teacher must be given for distillation and attention, got None. Name a network, or "
            "'previous'."
        )
    if phase.teacher is not None and not (phase.distillation or phase.attention):
        raise ArgumentError(
            f"distillation or attention must be above 0 with teacher={phase.teacher!r}, got 0 for "
            "both. Set distillation=0.5."
        )
    if phase.teacher in TEACHERS and first:
        raise ArgumentError(
            f"teacher must not be '{phase.teacher}' in the first phase. Name a network."
        )
    if phase.clip_norm is not None and not 0 < phase.clip_norm < math.inf:
        raise ArgumentError(f"clip_norm must be positive and finite, got {phase.clip_norm!r}.")
    if phase.binary_optimizer == "bop" and phase.binarize != "everything":
        raise ArgumentError(
            f"binarize must be 'everything' with Bop, got {phase.binarize!r}. Bop trains binary "
            "kernels only."
        )
    same = {"latent": "adam", "sgd": "sgd"}.get(phase.binary_optimizer) == phase.float_optimizer
    two = not same or phase.float_learning_rate is not None
    if two and phase.binarize != "everything":
        raise ArgumentError(
            f"binarize must be 'everything' with two optimizers, got {phase.binarize!r}. Without "
            "binary kernels one of them has nothing to train."
        )


def _check_drops(phase: Phase) -> None:
    if phase.schedule == "steps" and not phase.drops:
        raise ArgumentError(
            f"drops must be given with schedule='steps', got {phase.drops!r}. Choose another "
            "schedule, or write a Phase in Python with drops=((epoch, share), ...)."
        )
    epochs = [epoch for epoch, _ in phase.drops]
    if epochs != sorted(set(epochs)) or not all(0 <= share <= 1 for _, share in phase.drops):
        raise ArgumentError(
            f"drops must be epochs in order with shares from 0 to 1, got {phase.drops!r}."
        )


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        hint = did_you_mean(value, map(str, allowed))
        raise ArgumentError(
            f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}.{hint}"
        )


def _least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(f"{name} must be an integer of at least {least}, got {value!r}.")


def _at_most(name: str, value: float, most: float) -> None:
    if math.isinf(value):
        raise ArgumentError(f"{name} must be finite, got {value!r}. Give a number.")
    if not 0 <= value <= most:
        bound = "at least 0" if math.isinf(most) else f"from 0 to {most}"
        raise ArgumentError(f"{name} must be {bound}, got {value!r}.")
