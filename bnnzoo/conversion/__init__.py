"""Converts networks to packed files and other formats, and checks that they compute the same."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.arguments import check_integer
from bnnzoo.conversion.file_origin import FileOrigin
from bnnzoo.conversion.report import ConversionReport, DataReport, Sizes, packed_parts
from bnnzoo.conversion.samples import first_images, random_inputs
from bnnzoo.conversion.self_check import Check, check_layers, check_signs
from bnnzoo.conversion.writing import Target, find_format
from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.sources import Data, check_source
from bnnzoo.errors import ArgumentError, ConversionError
from bnnzoo.evaluation import EvaluationReport, Report, evaluate
from bnnzoo.evaluation.classifier import choose_preprocessing
from bnnzoo.evaluation.packed_classifier import find_packed
from bnnzoo.evaluation.report import same_accuracy
from bnnzoo.formats import Format, Network, Written, packed
from bnnzoo.formats.network_info import names_fit
from bnnzoo.formats.packed import PackedFile
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.manifest import WeightsRecord
from bnnzoo.model_source import resolve_model
from bnnzoo.model_spec import TASKS
from bnnzoo.opening import open_model
from bnnzoo.snapshot import Snapshot
from bnnzoo.version import keras_is_installed

if TYPE_CHECKING:
    from bnnzoo.conversion.keras_origin import KerasOrigin

__all__ = ["ConversionReport", "convert"]

Values = dict[str, NDArray[Any]]

logger = logging.getLogger(__name__)


def convert(
    model: Any,
    path: str | PathLike[str] | None,
    *,
    format: str | None = None,
    weights_dtype: str = "float32",
    check: int = 4,
    data: Data | None = None,
    preprocessing: str | Preprocessing | None = None,
    labels: Labels | None = None,
    limit: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    random_weights: bool = False,
    record: WeightsRecord | None = None,
) -> ConversionReport:
    """Converts a binarized network to a packed file for `bnnzoo.runtime` or to another format.

        report = bnnzoo.convert("binarynet.fashion_mnist_small", "binarynet.safetensors")
        report.sizes.ratio, report.layers, report.check

    The network is checked before anything is written. Keras, the reference interpreter and the
    runtime compute each layer on equal inputs. Sums of signs must be equal, and real numbers must
    agree within the rounding of float32. For a network from a file, and for a name with a packed
    file if Keras is not installed, the reference interpreter takes the place of Keras.

    Args:
        model: `name` or `name.tag` in the zoo, path of a `.keras` file, or a functional or
            Sequential Keras model with a fixed input size; or a file in any format that can be
            read, which does not need Keras.
        path: The file to write, whose suffix determines the format, or a folder. May be None with
            `dry_run`.
        format: Name of a format in `bnnzoo.formats.FORMATS`. Defaults to the format of `path`.
        weights_dtype: Data type of real-valued kernels in a packed file: `float32`, `float16` or
            `int8` (a scale per output channel). With `int8`, layers also quantize their input to 8
            bits where integers are faster. The loss of accuracy is measured only with `data`.
        check: Number of images to compare the layers on: the first of `data`, or random ones. 0
            skips the comparison.
        data: Images with labels; see `evaluate`. With float32 weights, the accuracies of the
            runtime and of Keras must agree to 0.1 points or one image.
        preprocessing: A `Preprocessing` or its id, to store in the file. Defaults to the model's.
        labels: Class names or their id, to store in the file. Defaults to the model's.
        limit: Evaluate only this many images of `data`, from the first.
        force: Overwrite the file.
        dry_run: Do everything except write the file.
        random_weights: Build a zoo model without its pretrained weights.
        record: Record of weights that are not in the manifest yet. Its tag, licence and builder
            arguments are stored in the file.

    Raises:
        ConversionError: A layer cannot be converted, or the file does not compute the same as the
            model. The message names the layer.
        ArgumentError: An argument is invalid, or the file already exists.
        BnnZooError: The model or the data cannot be opened; see `load` and `evaluate`.
    """
    if path is None and not dry_run:
        raise ArgumentError("path must be a file to write, got None. Pass one, or dry_run=True.")
    kind = find_format(path, format)
    target = None if path is None or dry_run else Target(path, kind, force, [model])
    _check_dtype(kind, weights_dtype)
    check = check_integer(check, "check", least=0, advice="Pass a number of images.")
    limit = None if limit is None else check_integer(limit, "limit")
    if data is not None:
        check_source(data)  # before a model is downloaded
    elif limit is not None:
        raise ArgumentError(f"limit must be None without data, got {limit}. Pass data as well.")
    names = None if labels is None else label_sets.names(labels)
    origin = _origin(model, preprocessing, random_weights, record)
    if random_weights:
        origin.info = replace(origin.info, random_weights=True)
    if data is not None and len(origin.graph.inputs) > 1:
        raise ArgumentError(
            "data requires a network with a single input, got "
            f"{', '.join(origin.graph.inputs)}. Leave data out."
        )
    if names is not None:
        _check_names(origin.graph, names)
        id = labels if isinstance(labels, str) else None
        origin.info = replace(origin.info, labels=names, label_set=id)
    job = _Job.of(origin, weights_dtype, preprocessing)
    found = job.compare(check, data)
    accuracy = None if data is None else job.measure(data, limit, labels)
    written = job.written(kind)
    if target is not None:
        target.write(written.files)
    return job.report(target, kind, written, check, found, accuracy)


def _check_dtype(kind: Format, weights_dtype: str) -> None:
    known = packed.WEIGHTS_DTYPES if kind.name == "packed" else ("float32",)
    if weights_dtype not in known:
        raise ArgumentError(
            f"weights_dtype must be one of {', '.join(known)} for {kind.name}, got "
            f"{weights_dtype!r}. Choose one of them."
        )


def _check_names(graph: Graph, names: tuple[str, ...]) -> None:
    types = infer_types(graph)
    classes = [types[name].shape[-1] for name in graph.outputs]
    if len(classes) != 1 or not names_fit(len(names), classes[0]):
        raise ArgumentError(
            f"labels must name the classes of one output, got {len(names)} for "
            f"{' and '.join(map(str, classes))}. Choose other labels."
        )


def _origin(
    model: Any,
    preprocessing: str | Preprocessing | None,
    random_weights: bool,
    record: WeightsRecord | None,
) -> KerasOrigin | FileOrigin:
    """Opens the network to convert. Only Keras models need Keras."""
    source = resolve_model(model, foreign=True)
    if random_weights:
        source.check_random()
    if source.path is not None and source.kind != "keras":
        return FileOrigin(source.path, preprocessing)
    if not random_weights and not keras_is_installed():
        found = find_packed(source)
        if found is not None:
            return FileOrigin(found[0], preprocessing)
    from bnnzoo.conversion.keras_origin import KerasOrigin

    if source.kind != "model":
        model = open_model(source.path or model, pretrained=not random_weights)
    return KerasOrigin(model, source, preprocessing, record)


@dataclass(frozen=True)
class _Found:
    """The result of a comparison, and the instruction set of the runtime."""

    check: Check
    runtime: str | None
    output_difference: float | None
    top1_agreement: float | None


@dataclass(frozen=True)
class _Job:
    """A conversion: its origin, and the packed network."""

    origin: KerasOrigin | FileOrigin
    graph: Graph
    fired: dict[str, int]
    preprocessing: str | Preprocessing | None
    weights_dtype: str
    content: bytes
    file: PackedFile

    @classmethod
    def of(
        cls,
        origin: KerasOrigin | FileOrigin,
        dtype: str,
        preprocessing: str | Preprocessing | None,
    ) -> _Job:
        """Packs a network in memory."""
        graph, fired = passes.apply(origin.graph, passes.STORED)
        content = packed.to_bytes(graph, origin.info, weights_dtype=dtype)
        file = packed.from_bytes(content)
        return cls(origin, graph, fired, preprocessing, dtype, content, file)

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.origin.info.name

    @property
    def exact(self) -> bool:
        """Whether the packed file stores the weights exactly."""
        return self.weights_dtype == "float32"

    def compare(self, samples: int, data: Data | None) -> _Found:
        """Compares the origin, the reference interpreter and the runtime on some images.

        If weights are stored with fewer bits, layers are compared before rounding, and the runtime
        with the reference interpreter after it.
        """
        check = Check(self.origin.name)
        if samples == 0:
            return _Found(check, None, None, None)
        runtime = _runtime()
        stored = self.file.graph
        each = [self.origin.values(sample) for sample in self._samples(samples, data)]
        layers = stored if self.exact else self.graph
        check_layers(self.origin.graph, layers, each, runtime is not None, check)
        check_signs(stored, each, runtime is not None, check)
        if check.failure is not None:
            raise ConversionError(
                f"The packed {self.name} must compute the same as {self.origin.name}, but "
                f"{check.failure}. Nothing was written. Please report this with the model."
            )
        if runtime is None:
            logger.warning("The native engine is not built: the runtime was not compared.")
            return _Found(check, None, None, None)
        return _Found(check, *self._compare_outputs(runtime, stored, each))

    def _samples(self, count: int, data: Data | None) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Yields the first images of a data set, or random inputs, one at a time."""
        inputs = random_inputs(self.graph.inputs, count)
        if data is not None:
            own, shape = self.origin.info.preprocessing, self.graph.input_shape
            chosen = choose_preprocessing(self.preprocessing, own, shape, self.name)
            inputs = {self.graph.input: first_images(data, chosen, count)}
        for k in range(min(map(len, inputs.values()))):
            yield {name: array[k : k + 1] for name, array in inputs.items()}

    def _compare_outputs(
        self, runtime: Any, stored: Graph, each: list[Values]
    ) -> tuple[str, float, float | None]:
        """Compares the outputs of the whole network.

        Returns:
            The runtime's instruction set, the largest difference, and the fraction of images, or of
            pixels for segmentation, with equal classes.
        """
        compiled = runtime.Model(stored)
        ends = {*self.graph.inputs, *self.graph.outputs}
        origin = {name: np.concatenate([values[name] for values in each]) for name in ends}
        inputs = {name: origin[name] for name in stored.inputs}
        pairs = [
            (found, origin[name])
            for name, found in compiled.run_values(inputs, stored.outputs).items()
        ]
        difference = max(
            float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
            for found, expected in pairs
        )
        found, expected = pairs[0]
        axes = TASKS.get(self.origin.info.task or "classification")
        if len(pairs) > 1 or expected.ndim - 1 != axes:
            return compiled.isa, difference, None
        same = float((found.argmax(axis=-1) == expected.argmax(axis=-1)).mean())
        return compiled.isa, difference, same

    def measure(self, data: Data, limit: int | None, labels: Labels | None) -> DataReport:
        """Measures the accuracy of the origin and of the packed network."""
        options: dict[str, Any] = {
            "preprocessing": self.preprocessing,
            "limit": limit,
            "labels": labels,
        }
        before = self.origin.evaluate(data, **options)
        packed_file = Snapshot.holding(Path(f"{self.name}.safetensors"), self.content)
        after = evaluate(packed_file, data, **options)
        report = _data_report(before, after)
        if self.exact and not same_accuracy(before, after):
            raise ConversionError(
                f"The packed {self.name} must have {report.metric} {report.origin:.2f} % on "
                f"{report.dataset}, got {report.packed:.2f} %. Nothing was written. Please "
                "report this with the model."
            )
        return report

    def written(self, kind: Format) -> Written:
        """Returns the files of a format."""
        if kind.name == "packed":
            return Written({"": self.content}, packed_parts(self.file))
        graph, info = self.origin.graph, self.origin.info
        network = Network(graph, info, random_inputs(graph.inputs, 1), *self._pixels())
        written: Written = importlib.import_module(kind.module).write(network)
        return written

    def _pixels(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Returns the mean and standard deviation per channel of the preprocessing, if known."""
        chosen = self.preprocessing or self.origin.info.preprocessing
        if chosen is None or len(self.graph.inputs) > 1:
            return None, None
        shape = self.graph.input_shape
        known = chosen if isinstance(chosen, Preprocessing) else preprocessings.get(chosen, shape)
        mean, std = (np.broadcast_to(v, shape[-1:]).tolist() for v in (known.mean, known.std))
        return tuple(mean), tuple(std)

    def report(
        self,
        target: Target | None,
        kind: Format,
        written: Written,
        samples: int,
        found: _Found,
        accuracy: DataReport | None,
    ) -> ConversionReport:
        """Returns the report."""
        info = self.origin.info
        return ConversionReport(
            model=info.name if info.tag is None else f"{info.name}.{info.tag}",
            origin=self.origin.name,
            path=None if target is None else fspath(target.path),
            format=kind.name,
            weights_dtype=self.weights_dtype,
            sizes=Sizes(written.bytes, self.origin.bytes, written.ram_bytes),
            format_notes=written.notes,
            layers=self.origin.layers(self.file),
            passes=self.fired,
            runtime_passes=passes.apply(self.file.graph, passes.RUNTIME)[1],
            samples=samples,
            runtime=found.runtime,
            check=found.check,
            output_difference=found.output_difference,
            top1_agreement=found.top1_agreement,
            data=accuracy,
        )


def _runtime() -> Any:
    """Returns the runtime; None if its engine is not built."""
    from bnnzoo import runtime
    from bnnzoo.runtime.extension import MissingEngineError

    try:
        runtime.isas()
    except MissingEngineError:
        return None
    return runtime


def _data_report(before: Report, after: Report) -> DataReport:
    agreement = None
    if isinstance(before, EvaluationReport) and isinstance(after, EvaluationReport):
        same = before.predictions.top_indices[:, 0] == after.predictions.top_indices[:, 0]
        agreement = 100 * float(same.mean())
    return DataReport(
        dataset=before.dataset,
        n=before.n,
        metric=before.METRIC,
        origin=before.score,
        packed=after.score,
        agreement=agreement,
    )
