"""Reads `weights_manifest.json` into frozen records: all metadata of the weight files."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any

from bnnzoo.errors import ManifestError
from bnnzoo.records import RecordError, Rule, read_record

__all__ = [
    "Manifest",
    "Metric",
    "NetworkSize",
    "TrainingRun",
    "WeightsFile",
    "WeightsRecord",
    "load",
    "manifest_path",
    "parse",
]

SCHEMA = 1
ROLES = ("full", "notop", "packed")
FORMATS = ("keras_h5", "bnnzoo-packed/1", "pytorch")
ORIGINS = ("published", "measured")
_MAX_BYTES = 4 * 2**30


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_inner(text: str) -> bool:
    path = PurePosixPath(text)
    climbs = path.is_absolute() or ".." in path.parts or set(text) & set("\\:")
    return bool(path.parts) and not climbs


Schema = Annotated[int, Rule(f"{SCHEMA}", lambda schema: schema == SCHEMA)]
Text = Annotated[str, Rule("a non-empty string", lambda text: bool(text.strip()))]
Name = Annotated[str, Rule("a name in lower case", _matches(r"[a-z][a-z0-9_]*"))]
Sha256 = Annotated[str, Rule("64 hex digits in lower case", _matches(r"[0-9a-f]{64}"))]
Date = Annotated[str, Rule("a date as 2026-01-31", _matches(r"\d{4}-\d{2}-\d{2}"))]
InnerPath = Annotated[str, Rule("a path inside the package", _is_inner)]
Count = Annotated[int, Rule("a positive integer", lambda n: n > 0)]
Number = Annotated[int, Rule("an integer of at least 0", lambda n: n >= 0)]
Percent = Annotated[float, Rule("a percentage", lambda value: 0 <= value <= 100)]
Seconds = Annotated[float, Rule("a number of seconds", lambda value: value >= 0)]
Urls = Annotated[tuple[str, ...], Rule("a list of URLs", lambda urls: all(map(str.strip, urls)))]
Role = Annotated[str, Rule(f"one of {', '.join(ROLES)}", ROLES.__contains__)]
Format = Annotated[str, Rule(f"one of {', '.join(FORMATS)}", FORMATS.__contains__)]
Origin = Annotated[str, Rule(f"one of {', '.join(ORIGINS)}", ORIGINS.__contains__)]


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights.

    Attributes:
        role: `full` (with the classifier), `notop` (without it) or `packed`.
        sha256: 64 lower-case hex digits.
        format: `keras_h5` (a file that `model.load_weights` reads), `bnnzoo-packed/1`, or `pytorch`
            (a checkpoint of the paper's authors).
        url: URLs for the download, tried in this order.
        path: Path inside the installed package, for a file that is shipped with it.
        bytes: Size of the file; None if unknown, then only the sha256 is checked.
        max_bytes: Largest size of a download, if the size is unknown.
    """

    role: Role
    sha256: Sha256
    format: Format
    url: Urls = ()
    path: InnerPath | None = None
    bytes: Count | None = None
    max_bytes: Count | None = None

    @property
    def limit_bytes(self) -> int:
        """Largest allowed size."""
        return self.bytes or self.max_bytes or _MAX_BYTES


@dataclass(frozen=True)
class Metric:
    """An accuracy in percent, and where it comes from.

    Attributes:
        dataset: The data set, such as `imagenet2012:validation`.
        n: Number of images.
        top1: Percentage of images whose label is the first class.
        top5: Percentage of images whose label is among the first five classes.
        origin: `published` by the makers of the weights, or `measured` by this project.
        by: Who published or measured it.
        command: The command that measures it.
        versions: Versions of the packages it was measured with.
        date: ISO date of the measurement.
    """

    dataset: Text
    n: Count
    top1: Percent
    origin: Origin
    by: Text
    top5: Percent | None = None
    command: Text | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    date: Date | None = None


@dataclass(frozen=True)
class TrainingRun:
    """Duration and hardware of a training run.

    Attributes:
        epochs: Epochs of all phases together.
        seconds: Training time, without validation.
        hardware: Description of the hardware.
        versions: Versions of the packages it ran with.
        date: ISO date of its end.
    """

    epochs: Count
    seconds: Seconds
    hardware: Text
    versions: Mapping[str, str]
    date: Date


@dataclass(frozen=True)
class NetworkSize:
    """Size of a network, for one image.

    Attributes:
        params: Number of parameters.
        binary_macs: Multiply-accumulates of two binary factors.
        other_macs: All other multiply-accumulates.
    """

    params: Count
    binary_macs: Number
    other_macs: Number


@dataclass(frozen=True)
class WeightsRecord:
    """The trained weights `architecture.tag`.

    Attributes:
        architecture: Canonical name of the model.
        tag: Name of the weights.
        default: Whether `pretrained=True` selects these weights.
        arguments: Arguments of the builder beyond its defaults.
        size: With arguments, the size of that network; otherwise the catalog has it.
        files: The weight files. Empty if there is none that can be downloaded and verified.
        page: Without files, the web page where a person gets the checkpoint; None if it is not
            published. `bnnzoo import` reads it.
        num_classes: Number of classes of the classifier.
        labels: Id of the class names.
        preprocessing: Id of the preprocessing.
        metrics: Accuracies with their provenance.
        licence: SPDX id.
        source: Who trained them, as a URL or a path in the repository.
        paper: URL of the paper.
        recipe: How they were trained: the name of a recipe, a path in the repository or a URL.
        settings: Settings of the run that differ from the recipe's, as `train --set` takes them.
        training: Duration and hardware of the training.
        log: The log of the run, a path inside the installed package.
        notes: Anything else that users should know.
        golden: Logits for a known input; see docs/adding_weights.md.
    """

    architecture: Name
    tag: Name
    default: bool
    files: tuple[WeightsFile, ...]
    num_classes: Count
    labels: Text
    preprocessing: Text
    metrics: tuple[Metric, ...]
    licence: Text
    source: Text
    paper: Text
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: NetworkSize | None = None
    page: Text | None = None
    recipe: Text | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingRun | None = None
    log: InnerPath | None = None
    notes: Text | None = None
    golden: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """`architecture.tag`."""
        return f"{self.architecture}.{self.tag}"

    @property
    def headline(self) -> Metric | None:
        """The first metric."""
        return self.metrics[0] if self.metrics else None

    def file(self, role: str) -> WeightsFile | None:
        """Returns the file with a role, or None."""
        return next((file for file in self.files if file.role == role), None)


@dataclass(frozen=True)
class Manifest:
    """All records, by `architecture.tag`."""

    weights: Mapping[str, WeightsRecord]

    def tags(self, architecture: str) -> tuple[WeightsRecord, ...]:
        """Returns the records of an architecture, the default one first."""
        records = [r for r in self.weights.values() if r.architecture == architecture]
        return tuple(sorted(records, key=lambda record: not record.default))


@dataclass(frozen=True)
class _Document:
    schema: Schema
    weights: Mapping[str, Any]


def manifest_path() -> Path:
    """Returns the manifest inside the installed package, or the one above it in a source tree."""
    package = Path(__file__).parent
    installed = package / "weights_manifest.json"
    return installed if installed.exists() else package.parent / "weights_manifest.json"


def load(path: Path | None = None) -> Manifest:
    """Reads a manifest; a file is parsed again only when it has changed.

    Args:
        path: The file, which is validated. None takes that of the package, which tests and
            `publish` have validated.

    Raises:
        ManifestError: It is missing, is not JSON, or breaks the schema.
    """
    found = path or manifest_path()
    try:
        return _load(found, found.stat().st_mtime_ns, trusted=path is None)
    except OSError as error:
        raise ManifestError(
            f"{found} cannot be read: {error.strerror}. Install bnnzoo again."
        ) from error


@functools.lru_cache(maxsize=8)
def _load(path: Path, _mtime_ns: int, trusted: bool) -> Manifest:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON: {error}. Install bnnzoo again.") from error
    return _trusted(value) if trusted else parse(value, source=path.name)


def _trusted(value: Any) -> Manifest:
    """Builds the records without validation, ten times faster."""
    records = {}
    for name, entry in value["weights"].items():
        files = [{**file, "url": tuple(file.get("url", ()))} for file in entry["files"]]
        read = {
            "files": tuple(WeightsFile(**file) for file in files),
            "metrics": tuple(Metric(**metric) for metric in entry["metrics"]),
            "training": TrainingRun(**entry["training"]) if "training" in entry else None,
            "size": NetworkSize(**entry["size"]) if "size" in entry else None,
        }
        records[name] = WeightsRecord(**{**entry, **read})
    return Manifest(MappingProxyType(records))


def parse(value: Any, source: str = "weights_manifest.json") -> Manifest:
    """Builds the records from parsed JSON.

    Raises:
        ManifestError: The value breaks the schema; the message has the field and the rule.
    """
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key != "$schema"}
    try:
        document = read_record(_Document, value, f"{source}: ")
        records = {
            name: read_record(WeightsRecord, entry, f"{source}: {name}: ")
            for name, entry in document.weights.items()
        }
    except RecordError as error:
        raise ManifestError(str(error)) from error
    for name, record in records.items():
        _check(record, name, f"{source}: {name}")
    _check_defaults(records, source)
    return Manifest(MappingProxyType(records))


def _check(record: WeightsRecord, name: str, where: str) -> None:
    """Checks rules that involve several fields."""
    if name != record.name:
        raise ManifestError(f"{where} must be named {record.name}. Rename the record.")
    if len({file.role for file in record.files}) != len(record.files):
        raise ManifestError(f"{where}: files must have distinct roles. Remove one.")
    if record.size is not None and not record.arguments:
        raise ManifestError(
            f"{where} must have a size only with arguments: the catalog has it. Remove it."
        )
    if record.files and record.page:
        raise ManifestError(f"{where} must have either files or a page. Remove the page.")
    for i, file in enumerate(record.files):
        if bool(file.url) == bool(file.path):
            raise ManifestError(
                f"{where}: files[{i}] must have either url or path. Give one of them."
            )
        if file.bytes is None and file.max_bytes is None:
            raise ManifestError(
                f"{where}: files[{i}] must have bytes, or max_bytes where its size is not known. "
                "Add one of them."
            )
    for i, metric in enumerate(record.metrics):
        if metric.origin == "measured" and not (metric.command and metric.versions and metric.date):
            raise ManifestError(
                f"{where}: metrics[{i}] is measured, so it must have command, versions and date. "
                "Add them."
            )


def _check_defaults(records: Mapping[str, WeightsRecord], source: str) -> None:
    for architecture in {record.architecture for record in records.values()}:
        defaults = [
            r.name for r in records.values() if r.architecture == architecture and r.default
        ]
        if len(defaults) != 1:
            raise ManifestError(
                f"{source}: {architecture} must have one default tag, got {defaults}. "
                "Set `default` to true in one of its records."
            )
