"""Packs a trained network for publication, and checks its accuracy."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from bnnzoo import runtime
from bnnzoo.conversion import convert
from bnnzoo.data.source import Source
from bnnzoo.data.sources import open_source
from bnnzoo.errors import ArgumentError, ConversionError, DataError
from bnnzoo.evaluation import EvaluationReport, evaluate
from bnnzoo.evaluation.report import same_accuracy
from bnnzoo.formats import packed
from bnnzoo.keras_bridge.to_keras import assign_weights
from bnnzoo.manifest import WeightsRecord
from bnnzoo.model_spec import ModelSpec
from bnnzoo.publishing.destination import SUFFIXES
from bnnzoo.publishing.finished_run import FinishedRun
from bnnzoo.publishing.golden import golden_logits
from bnnzoo.publishing.latent import write_latent
from bnnzoo.registry import builder

__all__ = ["Packed", "Progress", "pack", "rebuild"]

# What is measured, images done, all images.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Packed:
    """A packed network and its measurements on all test images.

    Attributes:
        contents: Bytes of each file by its role: `packed`, and `full` for latent weights.
        weights_dtype: Storage type of real-valued kernels; None if there are none.
        trained: Accuracy of the run's weights in Keras.
        keras: Accuracy of the weights that `load` reads from the files, in Keras.
        packed: Accuracy of the packed file in the packed runtime.
        golden: Golden logits of the files.
    """

    contents: dict[str, bytes]
    weights_dtype: str | None
    trained: EvaluationReport
    keras: EvaluationReport
    packed: EvaluationReport
    golden: dict[str, Any]


def rebuild(network: Any, record: WeightsRecord, run: FinishedRun) -> Any:
    """Returns the network that `load` builds from its record, with the weights of the run.

    Raises:
        ConversionError: It differs from the run's network, which has settings unknown to its
            builder.
    """
    spec = dataclasses.replace(network.model_spec, tag=record.tag, weights_sha256=run.digest)
    x = spec.preprocess(np.random.default_rng(0).integers(0, 256, (2, *spec.input_shape), "uint8"))
    try:
        built = _empty(record, spec)
        built.set_weights(network.get_weights())
        expected, found = (
            ops.convert_to_numpy(model(x, training=False)) for model in (network, built)
        )
        same = np.allclose(found, expected, rtol=0, atol=1e-4)
    except (ArgumentError, ValueError):  # arguments or weights of another network
        same = False
    if not same:
        changed = ", ".join(f"{key}={value}" for key, value in run.settings.items()) or "nothing"
        raise ConversionError(
            f"The network must be what {record.architecture} builds with {dict(record.arguments)}, "
            f"got another one; the run changed {changed}. A record stores only the arguments of a "
            "builder."
        )
    return built


def pack(
    run: FinishedRun,
    network: Any,
    record: WeightsRecord,
    *,
    roles: Sequence[str],
    weights_dtypes: Sequence[str],
    check_size: Callable[[str, int], None],
    progress: Progress,
) -> Packed:
    """Packs a network with the first of some storage types that keeps its accuracy.

    Args:
        run: The run.
        network: The trained network, as `rebuild` returns it.
        record: Record of the weights, for the metadata of the file.
        roles: The files to make: `packed`, and `full` for latent weights.
        weights_dtypes: Storage types of real-valued kernels, to try in this order.
        check_size: Raises if a file of a role and a size cannot be published.
        progress: Called after every batch.

    Raises:
        ConversionError: The network cannot be packed, or no type keeps its accuracy.
        DataError: The test images are not those of the run.
    """
    trained, source = None, _test_images(run)
    with tempfile.TemporaryDirectory() as folder:
        files = {role: Path(folder) / f"{record.name}{SUFFIXES[role]}" for role in roles}
        for weights_dtype in weights_dtypes:
            real_bytes = _write(network, record, files, weights_dtype)
            for role, path in files.items():
                check_size(role, path.stat().st_size)
            trained = trained or _evaluate("the run's weights in Keras", network, source, progress)
            restored = _restore(record, network.model_spec, files)
            reports = (
                trained,
                _evaluate(
                    f"the {weights_dtype} {roles[0]} file in Keras", restored, source, progress
                ),
                _evaluate(f"the {weights_dtype} file packed", files["packed"], source, progress),
            )
            if same_accuracy(*reports):
                golden = golden_logits(restored, runtime.load(files["packed"]))
                contents = {role: path.read_bytes() for role, path in files.items()}
                return Packed(contents, weights_dtype if real_bytes else None, *reports, golden)
    raise ConversionError(
        f"Top-1 of {record.name} must be the same to 0.1 point, got {reports[0].top1:.2f} % with "
        f"the run's weights in Keras, {reports[1].top1:.2f} % with those of the file in Keras and "
        f"{reports[2].top1:.2f} % packed ({weights_dtype}). Nothing was written."
    )


def _write(
    network: Any, record: WeightsRecord, files: Mapping[str, Path], weights_dtype: str
) -> int:
    """Writes a file for each role; returns the size of its real-valued kernels."""
    if "full" in files:
        write_latent(network, files["full"], as_float16=weights_dtype != "float32")
    report = convert(
        network, files["packed"], weights_dtype=weights_dtype, record=record, force=True
    )
    return report.sizes.parts["float kernels"]


def _restore(record: WeightsRecord, spec: ModelSpec, files: Mapping[str, Path]) -> Any:
    """Returns the network as `load` restores it from the files."""
    network = _empty(record, spec)
    if "full" in files:
        network.load_weights(files["full"])
    else:
        assign_weights(network, packed.read(files["packed"])[0])
    return network


def _empty(record: WeightsRecord, spec: ModelSpec) -> Any:
    """Returns the network that `load` builds from a record."""
    arguments = {**record.arguments, "input_shape": spec.input_shape}
    network = builder(record.architecture)(num_classes=record.num_classes, **arguments)
    network.model_spec = spec
    return network


def _test_images(run: FinishedRun) -> Source:
    source = open_source(run.recipe.test_data)
    expected = run.report["evaluation"]["n"]
    if len(source) != expected:
        raise DataError(
            f"{source.name} must have the {expected:,} images that the run was measured on, got "
            f"{len(source):,}. Check BNNZOO_DATA_DIR for another file."
        )
    return source


def _evaluate(what: str, classifier: Any, source: Source, progress: Progress) -> EvaluationReport:
    report = evaluate(classifier, source, progress=partial(progress, what))
    assert isinstance(report, EvaluationReport), "runs on masks are not published"
    return report
