"""Loads a model by name: builds it, fetches its weights and replaces its head."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnzoo import manifest, registry
from bnnzoo.arguments import as_integers, check_integer
from bnnzoo.checkpoints.assigning import assign
from bnnzoo.errors import ArgumentError, WeightsError, first_line
from bnnzoo.hdf5_file import check_hdf5, largest_count
from bnnzoo.hub_addresses import find_network, is_stored
from bnnzoo.manifest import WeightsRecord
from bnnzoo.model_spec import TASKS, ModelSpec, task_of
from bnnzoo.provenance import mark_loaded
from bnnzoo.snapshot import Snapshot

if TYPE_CHECKING:
    from bnnzoo.architectures.assembly import ZooModel

__all__ = ["load"]

POOLINGS = ("avg", "max")
WEIGHT_SUFFIXES = (".h5", ".safetensors")
TORCH_SUFFIXES = (".pt", ".pth", ".th", ".tar")  # .pth.tar

logger = logging.getLogger(__name__)


def load(
    name: str,
    pretrained: bool = False,
    *,
    weights: str | PathLike[str] | None = None,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    task: str | None = None,
    head: str | None = None,
    output_stride: int | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> ZooModel:
    """Builds a model, optionally with pretrained weights.

        model = bnnzoo.load("birealnet", pretrained=True)
        x = model.model_spec.preprocess(images)
        model.model_spec.decode_predictions(model.predict(x))

    Args:
        name: Name, alias, or `name.tag`. A tag sets the builder's arguments to those of its
            weights. The weights are loaded only with `pretrained=True`. Or `hf://owner/name`, or
            `hf://owner/name@revision`, a network on the Hugging Face Hub, or a folder with the same
            files; both have their own weights, classes and input size.
        pretrained: Load the weights of the tag, or of the default tag. Raises an error if they
            cannot be loaded; the model never has random weights.
        weights: Path of a weight file to load instead: `.h5`, `.weights.h5`, a packed file, or a
            PyTorch checkpoint of its paper's authors (`.pth`, `.pt`, `.th`, `.pth.tar`).
        num_classes: Number of classes. If it differs from that of the pretrained weights, layers
            whose shapes depend on it keep random weights, and a warning names them.
        input_shape: `(h, w, c)`. Defaults to the model's own.
        include_top: Whether to build the classifier. Without it the output is a feature map.
        pooling: `"avg"` or `"max"` pools the feature map to `(n, c)`.
        features_only: Return a model whose outputs are the feature maps of the stages, one per
            resolution. `model.feature_info` has their channels and reductions.
        out_indices: Indices of the stages to return; negative ones count from the end. Defaults
            to all stages.
        task: `"segmentation"` puts a head that classifies every pixel on the feature map of a
            network for classification. Defaults to the architecture's own task.
        head: That head: `"fcn"`, the default, or `"aspp"`; see `architectures.segmentation`. It has
            random weights, unless `weights` has them.
        output_stride: For segmentation: image size divided by the size of the feature map that the
            head reads. Defaults to that of the last stage, or to the architecture's own.
        cache_dir: Cache folder. Defaults to `BNNZOO_CACHE_DIR` or the user's cache.

    Returns:
        A `ZooModel`: a functional `keras.Model` with `model_spec` and `feature_info`.

    Raises:
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        ArgumentError: Arguments contradict each other or do not fit the architecture.
        WeightsError: The weights cannot be fetched, are broken or do not fit the model.
        MissingDependencyError: Keras is not installed.
    """
    if is_stored(name):
        return _open_stored(name, num_classes, input_shape, include_top, features_only)
    has_top = include_top and not features_only
    num_classes = _check_classes(num_classes, has_top)
    input_shape = _check_shape(input_shape)
    _check_arguments(pretrained, weights, include_top, pooling)
    out_indices = _check_features(features_only, out_indices, pooling)
    architecture, record = registry.resolve(name)
    if _needs_head(architecture, task, head, output_stride):
        classes = _segmenter_classes(num_classes, include_top, features_only)
        backbone = load(
            name, pretrained, input_shape=input_shape, include_top=False, cache_dir=cache_dir
        )
        model = _with_head(backbone, classes, head, output_stride)
        if weights is not None:
            _read_weights(model, Path(weights))
        return model
    own = {} if output_stride is None else {"output_stride": output_stride}
    if pretrained:
        record = registry.pretrained_record(name)
        plan = _plan(architecture, record, input_shape, num_classes, has_top, own)
        model = _load_record(plan, record, cache_dir)
    else:
        plan = _plan(architecture, record, input_shape, num_classes, has_top, own)
        model = plan.build()
        model.model_spec = _spec(model, plan, record or _usual_record(architecture), sha256=None)
    if weights is not None:
        _read_weights(model, Path(weights))
    if features_only:
        return _stage_outputs(model, out_indices)
    return _pooled(model, pooling) if pooling else model


def _open_stored(name: str, *others: Any) -> Any:
    """Opens a network from the Hub or from a folder."""
    if others != (None, None, True, False):
        raise ArgumentError(
            f"{name} has its own classes, input size and outputs. Leave out num_classes, "
            "input_shape, include_top and features_only."
        )
    from bnnzoo.formats import packed
    from bnnzoo.keras_bridge.to_keras import to_keras

    return to_keras(*packed.read(find_network(name)))


@dataclass(frozen=True)
class _Plan:
    """A call of a builder."""

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    include_top: bool = True

    def build(self) -> Any:
        from bnnzoo.architectures.assembly import ZooModel

        model = registry.builder(self.architecture)(**self.arguments, include_top=self.include_top)
        if not isinstance(model, ZooModel):
            raise ValueError(
                f"The builder of '{self.architecture}' must return a ZooModel, got "
                f"{type(model).__name__}. End it with bnnzoo.architectures.assembly.assemble(...)."
            )
        return model

    def with_arguments(self, **arguments: Any) -> _Plan:
        return replace(self, arguments={**self.arguments, **arguments})


def _needs_head(
    architecture: str, task: str | None, head: str | None, output_stride: int | None
) -> bool:
    """Returns whether a head for segmentation goes on a network for classification."""
    own = registry.info(architecture).task or "classification"
    if task not in (None, *TASKS):
        raise ArgumentError(f"task must be one of {tuple(TASKS)}, got {task!r}. Choose one.")
    if own == "segmentation" and (task == "classification" or head is not None):
        raise ArgumentError(
            f"{architecture} segments images with its own head, got task={task!r} and "
            f"head={head!r}. Leave them out."
        )
    segments = (task or own) == "segmentation"
    if not segments and (head is not None or output_stride is not None):
        raise ArgumentError(
            f"head and output_stride must be None without task='segmentation', got {head!r} and "
            f"{output_stride!r}. Pass task='segmentation'."
        )
    return segments and own != "segmentation"


def _segmenter_classes(num_classes: int | None, include_top: bool, features_only: bool) -> int:
    if num_classes is None or not include_top or features_only:
        raise ArgumentError(
            "num_classes must be given for task='segmentation', without include_top=False and "
            f"features_only=True, got {num_classes!r}. Count the classes of the masks."
        )
    return num_classes


def _with_head(backbone: Any, num_classes: int, head: str | None, stride: int | None) -> Any:
    from bnnzoo.architectures.segmentation import segmenter

    if stride is not None:
        stride = check_integer(stride, "output_stride")
    model = segmenter(backbone, num_classes, head or "fcn", stride)
    spec = backbone.model_spec
    model.model_spec = replace(
        spec, num_classes=num_classes, tag=None, weights_sha256=None, task="segmentation"
    )
    return model


def _check_arguments(
    pretrained: bool,
    weights: str | PathLike[str] | None,
    include_top: bool,
    pooling: str | None,
) -> None:
    if pretrained not in (True, False):
        raise ArgumentError(
            f"pretrained must be True or False, got {pretrained!r}. Select weights as NAME.TAG."
        )
    if pretrained and weights is not None:
        raise ArgumentError(
            f"weights must be None with pretrained=True, got {str(weights)!r}. Pass only one."
        )
    if weights is not None and Path(weights).suffix not in WEIGHT_SUFFIXES + TORCH_SUFFIXES:
        raise ArgumentError(
            f"weights must be a .h5, .weights.h5, .safetensors or .pth file, got {str(weights)!r}. "
            "Open a .keras file with bnnzoo.open_model."
        )
    if pooling is not None and pooling not in POOLINGS:
        raise ArgumentError(f"pooling must be 'avg', 'max' or None, got {pooling!r}. Choose one.")
    if pooling is not None and include_top:
        raise ArgumentError(
            f"pooling must be None with a classifier, got {pooling!r}. Pass include_top=False."
        )


def _check_classes(num_classes: int | None, has_top: bool) -> int | None:
    if num_classes is None:
        return None
    if not has_top:
        raise ArgumentError(
            f"num_classes must be None without a classifier, got {num_classes!r}. Leave it out."
        )
    return check_integer(num_classes, "num_classes", advice="Count the classes.")


def _check_shape(input_shape: Sequence[int] | None) -> tuple[int, ...] | None:
    shape = None if input_shape is None else as_integers(input_shape)
    if input_shape is not None and shape is None:
        raise ArgumentError(
            f"input_shape must be (height, width, channels), got {input_shape!r}. Pass three "
            "integers."
        )
    return shape


def _check_features(
    features_only: bool, out_indices: Sequence[int] | None, pooling: str | None
) -> tuple[int, ...] | None:
    indices = None if out_indices is None else as_integers(out_indices)
    if out_indices is not None and indices is None:
        raise ArgumentError(
            f"out_indices must be a sequence of integers, got {out_indices!r}. For example, pass "
            "(0, -1)."
        )
    if indices is not None and not features_only:
        raise ArgumentError(
            f"out_indices must be None without features_only=True, got {out_indices!r}. "
            "Pass features_only=True."
        )
    if features_only and pooling is not None:
        raise ArgumentError(
            f"pooling must be None with features_only=True, got {pooling!r}. Pool each output."
        )
    return indices


def _plan(
    architecture: str,
    record: WeightsRecord | None,
    input_shape: Sequence[int] | None,
    num_classes: int | None,
    include_top: bool,
    own: dict[str, Any],
) -> _Plan:
    """Merges the builder arguments of the record with those of the call."""
    arguments: dict[str, Any] = {}
    if record is not None:
        arguments = {"num_classes": record.num_classes, **record.arguments}
    arguments |= own
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    if input_shape is not None:
        arguments["input_shape"] = input_shape
    if "input_shape" in arguments:  # a list in the manifest
        arguments["input_shape"] = tuple(arguments["input_shape"])
    return _Plan(architecture, arguments, include_top)


def _load_record(plan: _Plan, record: WeightsRecord, cache_dir: str | PathLike[str] | None) -> Any:
    """Builds the model with the weights of the record and the requested head."""
    from bnnzoo import weights

    notop = None if plan.include_top else record.file("notop")
    # Latent weights come before packed ones, so that training continues from where it ended.
    file = notop or record.file("full") or record.file("packed")
    if file is None:
        raise WeightsError(
            f"{record.name} has no weights with a classifier. Pass include_top=False."
        )
    path = weights.fetch(file, name=record.name, cache_dir=cache_dir)
    model = plan.build()
    if notop or (plan.include_top and plan.arguments["num_classes"] == record.num_classes):
        _read_weights(model, path)
        mark_loaded(model)
    else:
        source = replace(plan, include_top=True).with_arguments(num_classes=record.num_classes)
        whole = source.build()
        _read_weights(whole, path)
        _copy_weights(whole, model)
    model.model_spec = _spec(model, plan, record, file.sha256)
    return model


def _usual_record(architecture: str) -> WeightsRecord | None:
    """Returns the record whose preprocessing and classes a model with random weights uses.

    None if that record has its own builder arguments: a network for CIFAR-10 must not get the
    class names of a smaller one for Fashion-MNIST.
    """
    record = next(iter(manifest.load().tags(architecture)), None)
    return None if record is None or record.arguments else record


def _spec(model: Any, plan: _Plan, record: WeightsRecord | None, sha256: str | None) -> ModelSpec:
    """Describes a loaded model. It has class names only with the record's number of classes."""
    num_classes = model.output_shape[-1] if plan.include_top else None
    named = record is not None and num_classes == record.num_classes
    return ModelSpec(
        name=plan.architecture,
        input_shape=tuple(model.input_shape[1:]),
        num_classes=num_classes,
        tag=record.tag if record and sha256 else None,
        weights_sha256=sha256,
        preprocessing=record.preprocessing if record else None,
        labels=record.labels if record and named else None,
        task=task_of(model.output_shape) if plan.include_top else "classification",
    )


def _read_weights(model: Any, path: Path) -> None:
    """Reads weights from a Keras 3 file, a legacy Keras 2 file, a packed or a PyTorch file."""
    path = Snapshot.of(path)
    try:
        path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"Cannot read the weight file {path}: {error.strerror}. Check the path."
        ) from error
    if path.suffix == ".safetensors":
        _read_packed_weights(model, path)
        return
    if path.suffix in TORCH_SUFFIXES:
        assign(model, path)
        return
    numbers = sum(math.prod(variable.shape) for variable in model.variables)
    check_hdf5(io.BytesIO(path.read_bytes()), str(path), largest_count(numbers))
    try:
        with warnings.catch_warnings(), path.private_copy() as copy:
            # Keras only warns if a file lacks a layer, and leaves that layer random.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(copy)
    except Exception as error:  # Keras raises many kinds for broken files
        # For missing layers Keras suggests a wrong cause: a file of another version.
        reason = "some layers are missing."
        raise WeightsError(
            f"{path} does not contain weights of {model.name} with input {model.input_shape[1:]}: "
            f"{reason if isinstance(error, UserWarning) else first_line(error)} Check the model's "
            "arguments."
        ) from error


def _read_packed_weights(model: Any, path: Path) -> None:
    from bnnzoo.formats import packed
    from bnnzoo.keras_bridge.to_keras import assign_weights

    graph, info = packed.read(path)
    shapes = tuple(graph.inputs.values())
    if shapes != (tuple(model.input_shape[1:]),):
        raise WeightsError(
            f"{path} must contain {model.name} with input {model.input_shape[1:]}, got {info.name} "
            f"with input {', '.join(map(str, shapes))}. Check the model's arguments."
        )
    assign_weights(model, graph)


def _weighted_layers(model: Any) -> Iterator[Any]:
    return (layer for layer in model.layers if layer.weights)


def _copy_weights(source: Any, target: Any) -> None:
    """Copies weights layer by layer in order, except where shapes differ, as in the head."""
    fresh = []
    for ours, theirs in zip(_weighted_layers(target), _weighted_layers(source), strict=False):
        if [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]:
            ours.set_weights(theirs.get_weights())
        else:
            fresh.append(ours.name)
    if fresh:
        logger.warning(
            "%s has a new classifier for %d classes. Layers with random weights: %s.",
            target.name,
            target.output_shape[-1],
            ", ".join(fresh),
        )


def _pooled(model: Any, pooling: str) -> Any:
    from bnnzoo.architectures.channels_last import GlobalAveragePooling2D, GlobalMaxPooling2D

    if len(model.output.shape) != 4:
        raise ArgumentError(
            f"pooling requires a feature map, got output {model.output.shape[1:]} of {model.name}. "
            "Leave pooling out."
        )
    pool = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D}
    return _rewired(model, pool[pooling]()(model.output), model.stages)


def _stage_outputs(model: Any, out_indices: Sequence[int] | None) -> Any:
    stages = model.stages
    indices = range(len(stages)) if out_indices is None else out_indices
    if not all(-len(stages) <= i < len(stages) for i in indices) or not len(indices):
        raise ArgumentError(
            f"out_indices must be between 0 and {len(stages) - 1}, got {list(indices)}. "
            f"{model.name} has {len(stages)} stages."
        )
    chosen = tuple(stages[i] for i in indices)
    return _rewired(model, [model.get_layer(name).output for name in chosen], chosen)


def _rewired(model: Any, outputs: Any, stages: tuple[str, ...]) -> Any:
    """Returns a model with the same layers and other outputs."""
    from bnnzoo.architectures.assembly import ZooModel

    other = ZooModel(model.input, outputs, name=model.name)
    other.stages = stages
    other.model_spec = model.model_spec
    return other
