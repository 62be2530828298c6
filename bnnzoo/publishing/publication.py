"""`publish(RUN_DIR)`: checks, packs and measures a run, then writes its file and its record."""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo import manifest, registry
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation import EvaluationReport
from bnnzoo.formats.packed import WEIGHTS_DTYPES
from bnnzoo.manifest import Metric, NetworkSize, WeightsRecord
from bnnzoo.model_spec import ModelSpec
from bnnzoo.model_summary import summary
from bnnzoo.publishing.destination import Destination, find_destination
from bnnzoo.publishing.finished_run import FinishedRun, open_finished_run
from bnnzoo.publishing.packing import Packed, Progress, pack, rebuild

__all__ = ["Publication", "publish"]

LICENCE = "Apache-2.0"
SOURCE = "bnnzoo/training/recipes"
# float16 halves real-valued kernels; if it costs accuracy, they stay float32.
TRIED_DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Publication:
    """The published record; with `dry_run`, the record that would be published.

    Attributes:
        record: The record of the manifest.
        weights_dtype: Storage type of real-valued kernels; None if there are none.
        trained_top1: Top-1 of the run's weights in Keras, in percent.
        files: The files that were written; none in a dry run.
    """

    record: WeightsRecord
    weights_dtype: str | None
    trained_top1: float
    files: tuple[Path, ...]


def publish(
    run: str | PathLike[str],
    *,
    tag: str | None = None,
    weights_dtype: str | None = None,
    latent: bool = False,
    note: str | None = None,
    hardware: str | None = None,
    default: bool = False,
    url: str | None = None,
    out: str | PathLike[str] | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Publication:
    """Publishes the network of a finished run: packed file, log and manifest record.

        publishing.publish("runs/binarynet_mlp.mnist", note="Half the paper's width.")

    It writes to the source tree from which bnnzoo is imported. The network is packed, read back
    according to its record, and evaluated on all test images: the run's weights in Keras, those of
    the file in Keras, and the file in the packed runtime. If these differ by more than 0.1 points
    (or one image), nothing is written.

    Args:
        run: Folder of a run of `bnnzoo train`.
        tag: Tag of the weights. None takes the part of the recipe's name after the dot, with `-`
            replaced by `_`.
        weights_dtype: Storage type of real-valued kernels: `float32`, `float16` or `int8`. None
            takes float16 if it keeps the accuracy, otherwise float32.
        latent: Also publish the latent weights, which a packed file does not have, for fine-tuning;
            `load` then uses them. They are float32 if the others are, otherwise float16.
        note: Anything else that users should know.
        hardware: Description of the training hardware. None takes what the run recorded.
        default: Make these the weights for `pretrained=True`. The first weights of an architecture
            always are.
        url: URL from which the file will be downloaded, and with `.weights.h5` the latent weights;
            None ships them with the package.
        out: With `url`, the folder to which the file is written.
        force: Replace weights of the same name.
        dry_run: Do everything except write.
        progress: Called after every batch with the name of the measurement, the number of images
            done and their total.

    Raises:
        ArgumentError: The run is not finished, an argument is wrong, the name is taken, or the
            file is too large to be shipped.
        WeightsError: `model.keras` is not the result of the run.
        ConversionError: The file would contain another network than the run's.
        DataError: The test images cannot be read, or are not those of the run.
        BnnZooError: A file cannot be written.
    """
    weights_dtypes = _chosen_dtypes(weights_dtype)
    destination = find_destination(url, out)
    found = open_finished_run(run)
    tag = _checked_tag(tag, found)
    network = found.network()
    roles = ("full", "packed") if latent else ("packed",)
    destination.check(f"{network.model_spec.name}.{tag}", roles, force=force)
    draft = dataclasses.replace(
        _draft(found, network, tag, default),
        training=found.training(hardware),
        notes=note or None,
    )
    result = pack(
        found,
        rebuild(network, draft, found),
        draft,
        roles=roles,
        weights_dtypes=weights_dtypes,
        check_size=destination.check_size,
        progress=progress or (lambda what, done, total: None),
    )
    record = _filled(draft, found, result, destination)
    files = () if dry_run else destination.write(record, result.contents, found.log)
    return Publication(record, result.weights_dtype, result.trained.top1, files)


def _chosen_dtypes(weights_dtype: str | None) -> tuple[str, ...]:
    if weights_dtype is None:
        return TRIED_DTYPES
    if weights_dtype not in WEIGHTS_DTYPES:
        known = ", ".join(WEIGHTS_DTYPES)
        raise ArgumentError(f"weights_dtype must be one of {known}, got {weights_dtype!r}.")
    return (weights_dtype,)


def _checked_tag(tag: str | None, run: FinishedRun) -> str:
    chosen = run.recipe.name.partition(".")[2].replace("-", "_") if tag is None else tag
    if not re.fullmatch(r"[a-z][a-z0-9_]*", chosen):
        raise ArgumentError(
            f"--tag must be lower-case letters, digits and '_', got '{chosen}'. Write it as "
            "cifar10_small."
        )
    return chosen


def _draft(run: FinishedRun, network: Any, tag: str, default: bool) -> WeightsRecord:
    """Returns the record without measurements."""
    spec: ModelSpec = network.model_spec
    arguments = _arguments(run, spec)
    others = [r for r in manifest.load().tags(spec.name) if r.tag != tag]
    paper = registry.info(spec.name).paper
    assert spec.num_classes and spec.preprocessing and paper
    assert isinstance(spec.labels, str)
    return WeightsRecord(
        architecture=spec.name,
        tag=tag,
        default=default or not any(other.default for other in others),
        files=(),
        num_classes=spec.num_classes,
        labels=spec.labels,
        preprocessing=spec.preprocessing,
        metrics=(),
        licence=LICENCE,
        source=SOURCE,
        paper=paper,
        arguments=arguments,
        size=_size(network) if arguments else None,
        recipe=run.recipe.name,
        settings=run.settings,
    )


def _filled(
    draft: WeightsRecord, run: FinishedRun, result: Packed, destination: Destination
) -> WeightsRecord:
    """Returns the record with measurements."""
    return dataclasses.replace(
        draft,
        files=tuple(
            destination.file(draft.name, role, content) for role, content in result.contents.items()
        ),
        metrics=(_metric(draft, run, result.keras), _metric(draft, run, result.packed)),
        log=destination.log_name(draft.name),
        golden=result.golden,
    )


def _arguments(run: FinishedRun, spec: ModelSpec) -> dict[str, Any]:
    """Returns the arguments of the builder beyond its defaults; the classes are a field."""
    parameters = inspect.signature(registry.builder(spec.name)).parameters
    shape = {"input_shape": list(spec.input_shape)}
    usual = parameters["input_shape"].default
    return {**({} if tuple(usual) == spec.input_shape else shape), **run.recipe.arguments}


def _size(network: Any) -> NetworkSize:
    found = summary(network)
    binary = found.macs_by_bits.get(1, 0)
    return NetworkSize(found.params, binary, found.macs - binary)


def _metric(record: WeightsRecord, run: FinishedRun, report: EvaluationReport) -> Metric:
    values = report.to_dict()
    command = f"bnnzoo evaluate {record.name} --data {run.recipe.test_data}"
    return Metric(
        dataset=report.dataset,
        n=report.n,
        top1=values["top1"],
        top5=values["top5"],
        origin="measured",
        by="bnnzoo",
        command=command if report.runtime == "keras" else f"{command} --runtime packed",
        versions=report.versions,
        date=report.date[:10],
    )
