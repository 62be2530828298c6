"""Reads `weights_manifest.json` into frozen records: everything known of every weight file."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from bnnzoo.errors import ManifestError

__all__ = [
    "Manifest",
    "Metric",
    "TrainingRun",
    "WeightsFile",
    "WeightsRecord",
    "load",
    "manifest_path",
    "parse",
]

SCHEMA = 1
ROLES = ("full", "notop", "packed")
FORMATS = ("keras_h5", "bnnzoo-packed/1")
ORIGINS = ("published", "measured")
_MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights.

    Attributes:
        role: `full` (with the classifier), `notop` (without it) or `packed`.
        sha256: 64 lower-case hex digits.
        format: `keras_h5` (a file that `model.load_weights` reads) or `bnnzoo-packed/1`.
        url: Where it can be downloaded, tried in this order.
        path: Where it lies inside the installed package, for a file that is shipped with it.
        bytes: Its size; None where it is not known, then the sha256 alone decides.
        max_bytes: What a download may have at most, where the size is not known.
    """

    role: str
    sha256: str
    format: str
    url: tuple[str, ...] = ()
    path: str | None = None
    bytes: int | None = None
    max_bytes: int | None = None

    @property
    def limit_bytes(self) -> int:
        """How many bytes it may have."""
        return self.bytes or self.max_bytes or _MAX_BYTES


@dataclass(frozen=True)
class Metric:
    """An accuracy in percent, and where it comes from.

    Attributes:
        dataset: What it was measured on, as in `imagenet2012:validation`.
        n: Number of images.
        top1: Percent of images whose best class is right.
        top5: Percent of images whose best five classes hold the right one.
        origin: `published` by the makers of the weights, or `measured` by this project.
        by: Who published or measured it.
        command: The command that measures it.
        versions: Versions of the packages it was measured with.
        date: ISO date of the measurement.
    """

    dataset: str
    n: int
    top1: float
    origin: str
    by: str
    top5: float | None = None
    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None


@dataclass(frozen=True)
class TrainingRun:
    """How long a run of a recipe took, and on what.

    Attributes:
        epochs: Epochs of all phases together.
        seconds: Time of training alone, without the measurements in between.
        hardware: What it ran on, in words.
        versions: Versions of the packages it ran with.
        date: ISO date of its end.
    """

    epochs: int
    seconds: float
    hardware: str
    versions: Mapping[str, str]
    date: str


@dataclass(frozen=True)
class WeightsRecord:
    """The trained weights `architecture.tag`.

    Attributes:
        name: `architecture.tag`.
        architecture: Canonical name of the model.
        tag: Name of the weights.
        default: Whether `pretrained=True` means these.
        arguments: Arguments of the builder beyond its defaults.
        files: The weight files.
        num_classes: Number of classes of the classifier.
        labels: Id of the class names.
        preprocessing: Id of the preprocessing.
        metrics: Accuracies with their provenance.
        licence: SPDX id.
        source: Who trained them, as a URL or a path in the repository.
        paper: URL of the paper.
        recipe: How they were trained: the name of a recipe, a path in the repository or a URL.
        settings: Settings of the run that differ from the recipe's, as `train --set` takes them.
        training: How long that took, and on what.
        log: The log of the run, a path inside the installed package.
        notes: What else a user has to know.
        golden: Logits for a known input; see docs/adding_weights.md.
    """

    name: str
    architecture: str
    tag: str
    default: bool
    files: tuple[WeightsFile, ...]
    num_classes: int
    labels: str
    preprocessing: str
    metrics: tuple[Metric, ...]
    licence: str
    source: str
    paper: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingRun | None = None
    log: str | None = None
    notes: str | None = None
    golden: Mapping[str, Any] | None = None

    @property
    def headline(self) -> Metric | None:
        """The first metric."""
        return self.metrics[0] if self.metrics else None

    def file(self, role: str) -> WeightsFile | None:
        """Returns the file of a role, None if there is none."""
        return next((file for file in self.files if file.role == role), None)


@dataclass(frozen=True)
class Manifest:
    """All records, by `architecture.tag`."""

    weights: Mapping[str, WeightsRecord]

    def tags(self, architecture: str) -> tuple[WeightsRecord, ...]:
        """Returns the records of an architecture, the default one first."""
        records = [r for r in self.weights.values() if r.architecture == architecture]
        return tuple(sorted(records, key=lambda record: not record.default))


def manifest_path() -> Path:
    """Returns the manifest inside the installed package, or the one above it in a source tree."""
    package = Path(__file__).parent
    installed = package / "weights_manifest.json"
    return installed if installed.exists() else package.parent / "weights_manifest.json"


def load(path: Path | None = None) -> Manifest:
    """Reads and validates the manifest; a file is parsed again only when it has changed.

    Args:
        path: The file. None takes the one that belongs to the package.

    Raises:
        ManifestError: It is missing, is not JSON, or breaks the schema.
    """
    path = path or manifest_path()
    try:
        return _load(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read: {error.strerror}. Install bnnzoo again."
        ) from error


@functools.lru_cache(maxsize=8)
def _load(path: Path, _mtime_ns: int) -> Manifest:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON: {error}. Install bnnzoo again.") from error
    return parse(value, source=path.name)


def parse(value: Any, source: str = "weights_manifest.json") -> Manifest:
    """Builds the records from parsed JSON.

    Raises:
        ManifestError: The value breaks the schema; the message has the field and the rule.
    """
    top = _Fields(value, source)
    top.take("schema", lambda v: v == SCHEMA, f"{SCHEMA}")
    top.skip("$schema")
    weights = top.take("weights", lambda v: isinstance(v, dict), "an object")
    top.finish()
    records = {name: _record(name, entry, f"{source}: {name}") for name, entry in weights.items()}
    _check_defaults(records, source)
    return Manifest(MappingProxyType(records))


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


def _record(name: str, value: Any, where: str) -> WeightsRecord:
    get = _Fields(value, where)
    architecture = get.take("architecture", _is_name, "a name in lower case")
    tag = get.take("tag", _is_name, "a name in lower case")
    if name != f"{architecture}.{tag}":
        raise ManifestError(f"{where} must be named {architecture}.{tag!s}. Rename the record.")
    files = get.take("files", _is_list, "a list that is not empty")
    metrics = get.take("metrics", lambda v: isinstance(v, list), "a list")
    record = WeightsRecord(
        name=name,
        architecture=architecture,
        tag=tag,
        default=get.take("default", lambda v: isinstance(v, bool), "true or false"),
        arguments=get.take("arguments", lambda v: isinstance(v, dict), "an object", {}),
        files=tuple(_file(f, f"{where}: files[{i}]") for i, f in enumerate(files)),
        num_classes=get.take("num_classes", _is_count, "a positive integer"),
        labels=get.take("labels", _is_text, "a text"),
        preprocessing=get.take("preprocessing", _is_text, "a text"),
        metrics=tuple(_metric(m, f"{where}: metrics[{i}]") for i, m in enumerate(metrics)),
        licence=get.take("licence", _is_text, "a text"),
        source=get.take("source", _is_text, "a text"),
        paper=get.take("paper", _is_text, "a text"),
        recipe=get.take("recipe", _is_text, "a text", None),
        settings=get.take("settings", lambda v: isinstance(v, dict), "an object", {}),
        training=_training(get.take("training", lambda v: True, "", None), f"{where}: training"),
        log=get.take("log", _is_inner_path, "a path inside the package", None),
        notes=get.take("notes", _is_text, "a text", None),
        golden=get.take("golden", lambda v: isinstance(v, dict), "an object", None),
    )
    get.finish()
    if len({file.role for file in record.files}) != len(record.files):
        raise ManifestError(f"{where}: files must have distinct roles. Remove one.")
    return record


def _file(value: Any, where: str) -> WeightsFile:
    get = _Fields(value, where)
    urls = get.take("url", lambda v: isinstance(v, list), "a list of URLs", [])
    file = WeightsFile(
        role=get.take("role", lambda v: v in ROLES, f"one of {', '.join(ROLES)}"),
        sha256=get.take("sha256", _is_sha256, "64 hex digits in lower case"),
        format=get.take("format", lambda v: v in FORMATS, f"one of {', '.join(FORMATS)}"),
        url=tuple(urls),
        path=get.take("path", _is_inner_path, "a path inside the package", None),
        bytes=get.take("bytes", _is_count, "a positive integer", None),
        max_bytes=get.take("max_bytes", _is_count, "a positive integer", None),
    )
    get.finish()
    if not all(map(_is_text, urls)):
        raise ManifestError(f"{where}: url must be a list of URLs, got {urls!r}. Correct it.")
    if bool(file.url) == bool(file.path):
        raise ManifestError(f"{where} must have either url or path. Give one of them.")
    if file.bytes is None and file.max_bytes is None:
        rule = "must have bytes, or max_bytes where its size is not known"
        raise ManifestError(f"{where} {rule}. Add one of them.")
    return file


def _metric(value: Any, where: str) -> Metric:
    get = _Fields(value, where)
    metric = Metric(
        dataset=get.take("dataset", _is_text, "a text"),
        n=get.take("n", _is_count, "a positive integer"),
        top1=get.take("top1", _is_percent, "a percentage"),
        top5=get.take("top5", _is_percent, "a percentage", None),
        origin=get.take("origin", lambda v: v in ORIGINS, f"one of {', '.join(ORIGINS)}"),
        by=get.take("by", _is_text, "a text"),
        command=get.take("command", _is_text, "a text", None),
        versions=get.take("versions", lambda v: isinstance(v, dict), "an object", {}),
        date=get.take("date", _is_date, "a date as 2026-01-31", None),
    )
    get.finish()
    if metric.origin == "measured" and not (metric.command and metric.versions and metric.date):
        raise ManifestError(
            f"{where} is measured, so it must have command, versions and date. Add them."
        )
    return metric


def _training(value: Any, where: str) -> TrainingRun | None:
    if value is None:
        return None
    get = _Fields(value, where)
    run = TrainingRun(
        epochs=get.take("epochs", _is_count, "a positive integer"),
        seconds=get.take("seconds", _is_duration, "a number of seconds"),
        hardware=get.take("hardware", _is_text, "a text"),
        versions=get.take("versions", lambda v: isinstance(v, dict), "an object"),
        date=get.take("date", _is_date, "a date as 2026-01-31"),
    )
    get.finish()
    return run


_REQUIRED = object()


class _Fields:
    """Takes checked fields out of a JSON object and complains about what is left."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{where} must be an object, got {value!r}. Mend it.")
        self._value = dict(value)
        self._where = where

    def take(
        self, key: str, check: Callable[[Any], bool], rule: str, default: Any = _REQUIRED
    ) -> Any:
        value = self._value.pop(key, default)
        if value is _REQUIRED:
            raise ManifestError(f"{self._where}: {key} is missing. It must be {rule}.")
        optional = default is not _REQUIRED and (value is None or value == default)
        if not optional and not check(value):
            raise ManifestError(f"{self._where}: {key} must be {rule}, got {value!r}. Mend it.")
        return value

    def skip(self, key: str) -> None:
        self._value.pop(key, None)

    def finish(self) -> None:
        if self._value:
            raise ManifestError(
                f"{self._where} has unknown fields {sorted(self._value)}. Remove them."
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_percent(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100


def _is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]*", value) is not None


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None


def _is_inner_path(value: Any) -> bool:
    if not isinstance(value, str) or "\\" in value or ":" in value:
        return False
    path = PurePosixPath(value)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
