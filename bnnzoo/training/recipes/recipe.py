"""The recipe: everything that determines the trained network, as data.

A recipe is trained in one or several phases. Each phase takes over the weights of the one before,
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

__all__ = ["Augmentation", "Phase", "Recipe", "check", "plain_fields", "type_names"]

BINARIZE = ("nothing", "activations", "everything")
SCHEDULES = ("cosine", "linear", "constant", "steps")
BINARY_OPTIMIZERS = ("latent", "bop")
FLOAT_OPTIMIZERS = ("adam", "sgd")
IMAGES = ("auto", "memory", "files")
REAL_ACTIVATIONS = ("hard_tanh", "relu")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images.

    Attributes:
        pad: Each image is padded with this many zeros on every side, then a window of its size is
            cut out at random.
        flip: Every second image, at random, is mirrored from left to right.
        min_area: Below 1, Inception's random crop comes first: a part of this share of the image's
            area or more, 3:4 to 4:3, brought to the network's size. Images stay in their files.
    """

    pad: int = 0
    flip: bool = False
    min_area: float = 1.0


@dataclass(frozen=True)
class Phase:
    """Some epochs with one optimizer and one objective.

    Attributes:
        epochs: Passes over the training images.
        binarize: What is quantized: `everything`, `activations` only (kernels stay real), or
            `nothing` (the network's real-valued twin).
        learning_rate: Its highest value, of Adam.
        schedule: How the learning rate falls to zero: `cosine`, `linear`, `constant` (not), or by
            `steps`.
        drops: The steps of `steps`: an epoch from 0, and the share of the learning rate from then
            on.
        warmup_epochs: It rises linearly from zero for this long, at most all epochs.
        binary_optimizer: `latent` weights trained with Adam, or `bop`, which flips weights.
        epsilon: Adam's.
        float_optimizer: What trains everything but binary kernels: `adam` with `learning_rate`, or
            `sgd` with a momentum of 0.9.
        float_learning_rate: Highest value of that; None takes `learning_rate`.
        bop_gamma: Adaptivity rate of Bop; it follows the schedule.
        bop_threshold: Threshold of Bop.
        weight_decay: Decoupled, of float kernels only.
        label_smoothing: Share of the target that is spread over all classes.
        teacher: Network to learn from: `previous` (the phase before), `name.tag` or a `.keras`.
        distillation: Weight of the teacher's soft labels, from 0 to 1; the labels have the rest.
        temperature: Divides the logits of both for the soft labels.
        attention: Weight of the attention matching of Real-to-Binary at the end of each stage.
        freeze_backbone: Only what comes behind the network's last stage learns.
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
    label_smoothing: float = 0.0
    teacher: str | None = None
    distillation: float = 0.0
    temperature: float = 1.0
    attention: float = 0.0
    freeze_backbone: bool = False


@dataclass(frozen=True)
class Recipe:
    """A training recipe; two runs of equal recipes on one CPU give equal weights.

    They do with equal versions and compiler flags.

    Attributes:
        name: What `bnnzoo train` calls it.
        network: Name of the architecture.
        data: Training images: what `--data` takes, with its training split.
        test_data: Images that are measured at the end.
        phases: In order.
        arguments: Arguments of the architecture's builder, beside shape and classes.
        start_from: Trained network to begin with, which gets a new classifier: `name.tag`, or a
            `.keras` or packed file. It is one of `network`; its arguments, shape and preprocessing
            count.
        preprocessing: Id of the preprocessing.
        augmentation: Augmentation of training images.
        images: Where they are while training: decoded once into `memory`, on the device; in their
            `files`, decoded ahead of the steps in each epoch; or `auto`: files if there are too
            many, or random parts of them are taken.
        batch_size: Images per step; what does not fill a batch is left out of an epoch.
        held_out: This many training images are kept for validation. With 0 the curve in the log is
            that of the test images; the weights that count are the last, whatever the curve says.
        seed: Of weights, order and augmentation.
        precision: `float32`, or `mixed_bfloat16`: layers compute in bfloat16. The result is
            always measured in float32.
        batch_norm_momentum: Of every batch norm; None keeps the architecture's.
        pad_values: Border of every binary "same" convolution: -1, 0 or +1; None keeps it.
        clip_value: Where the gradient of every sign that has a bound ends, and the latent weights
            with it; None keeps the architecture's.
        real_activation: Stands for the sign where activations are not binarized.
        summary: One line: where the settings come from.
    """

    name: str
    network: str
    data: str
    test_data: str
    phases: tuple[Phase, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    start_from: str | None = None
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
    """Returns the types of the fields that hold one plain value."""
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
        raise ArgumentError(f"seed must be below 2**32, as NumPy's, got {recipe.seed}.")
    _least("augmentation.pad", recipe.augmentation.pad, 0)
    _check_random_crop(recipe)
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
            "Random parts need the whole images, which differ in size."
        )


def _check_phase(phase: Phase, *, first: bool) -> None:
    _least("epochs", phase.epochs, 1)
    _one_of("binarize", phase.binarize, BINARIZE)
    _one_of("schedule", phase.schedule, SCHEDULES)
    _one_of("binary_optimizer", phase.binary_optimizer, BINARY_OPTIMIZERS)
    _one_of("float_optimizer", phase.float_optimizer, FLOAT_OPTIMIZERS)
    _check_drops(phase)
    _within("epsilon", phase.epsilon, 0, 1)
    _within("float_learning_rate", phase.float_learning_rate or 0.0, 0, float("inf"))
    _within("learning_rate", phase.learning_rate, 0, float("inf"))
    _within("warmup_epochs", phase.warmup_epochs, 0, float("inf"))
    _within("weight_decay", phase.weight_decay, 0, 1)
    _within("label_smoothing", phase.label_smoothing, 0, 1)
    _within("bop_gamma", phase.bop_gamma, 0, 1)
    _within("bop_threshold", phase.bop_threshold, 0, float("inf"))
    _within("distillation", phase.distillation, 0, 1)
    _within("attention", phase.attention, 0, float("inf"))
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
    if phase.teacher == "previous" and first:
        raise ArgumentError("teacher must not be 'previous' in the first phase. Name a network.")
    if phase.binary_optimizer == "bop" and phase.binarize != "everything":
        raise ArgumentError(
            f"binarize must be 'everything' with Bop, got {phase.binarize!r}. Real kernels have "
            "no flips."
        )
    two = phase.float_optimizer != "adam" or phase.float_learning_rate is not None
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
        raise ArgumentError(
            f"{name} must be an integer of at least {least}, as JSON has it, got {value!r}."
        )


def _within(name: str, value: float, low: float, high: float) -> None:
    if math.isinf(value):
        raise ArgumentError(f"{name} must be finite, got {value!r}. Give a number.")
    if not low <= value <= high:
        bound = f"from {low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"
        raise ArgumentError(f"{name} must be {bound}, got {value!r}.")
