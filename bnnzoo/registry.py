"""Registry of models and weights: `register_model`, `list_models`, `resolve`, `builder`."""

from __future__ import annotations

import ast
import fnmatch
import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ArgumentError, UnknownModelError, WeightsError, did_you_mean
from bnnzoo.manifest import Metric, WeightsRecord
from bnnzoo.plain_text import counted

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "ENTRY_POINT_GROUP",
    "ModelInfo",
    "builder",
    "info",
    "list_models",
    "pretrained_record",
    "register_model",
    "resolve",
]

ENTRY_POINT_GROUP = "bnnzoo.models"

Builder = Callable[..., Any]
B = TypeVar("B", bound=Builder)

_BUILDERS: dict[str, Builder] = {}
_ALIASES: dict[str, str] = {
    alias: name for name, entry in CATALOG.items() for alias in entry.aliases
}


class Resolved(NamedTuple):
    """A model name taken apart: canonical architecture and, if a tag was named, its weights."""

    architecture: str
    record: WeightsRecord | None


@dataclass(frozen=True, repr=False)
class ModelInfo:
    """Metadata of a model, available without building it.

    Attributes:
        name: Canonical name.
        aliases: Other names.
        module: The module that registers it.
        params: Number of parameters with default arguments; None for models of other packages.
        packed_bytes: Bytes of the parameters with binary kernels at one bit a weight.
        binary_macs: Multiply-accumulates of two binary factors, for one image.
        other_macs: All other multiply-accumulates.
        input_shape: `(h, w, c)` that these figures are for.
        num_classes: Number of classes that they are for.
        task: `classification` or `segmentation`; None for models of other packages.
        weights: Records of its pretrained weights, the default one first.
    """

    name: str
    aliases: tuple[str, ...]
    module: str
    params: int | None
    packed_bytes: int | None
    binary_macs: int | None
    other_macs: int | None
    input_shape: tuple[int, ...] | None
    num_classes: int | None
    task: str | None
    weights: tuple[WeightsRecord, ...]

    def __repr__(self) -> str:
        size = "" if self.params is None else f", {counted(self.params, 'parameter')}"
        tags = f", weights {', '.join(self.tags)}" if self.tags else ""
        return f"<ModelInfo: {self.name}{size}{tags}>"

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of its pretrained weights, the default one first."""
        return tuple(record.tag for record in self.weights)

    @property
    def default_tag(self) -> str | None:
        """The tag that `pretrained=True` selects."""
        return self.weights[0].tag if self.weights else None

    @property
    def paper(self) -> str | None:
        """URL of the paper: that of its weights, or the first in the docstring of its module."""
        if self.weights:
            return self.weights[0].paper
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            return None
        source = Path(spec.origin).read_text(encoding="utf-8")
        found = re.search(r"https://[^\s,;)]+", ast.get_docstring(ast.parse(source)) or "")
        return None if found is None else found[0].rstrip(".")

    @property
    def headline(self) -> Metric | None:
        """The first metric of the default weights."""
        return self.weights[0].headline if self.weights else None


@overload
def register_model(function: B) -> B: ...


@overload
def register_model(*, aliases: Sequence[str] = ()) -> Callable[[B], B]: ...


def register_model(
    function: B | None = None, *, aliases: Sequence[str] = ()
) -> B | Callable[[B], B]:
    """Registers a builder under its function's name.

        @register_model(aliases=("birealnet",))
        def birealnet18(input_shape=(224, 224, 3), num_classes=1000, include_top=True): ...

    Args:
        function: The builder; returns the model that `architectures.assembly.assemble` makes.
        aliases: Other names that `load` accepts.

    Raises:
        ValueError: Another builder has this name or alias.
    """
    if function is None:
        return functools.partial(_register, aliases=tuple(aliases))
    return _register(function, aliases=())


def _register(function: B, aliases: tuple[str, ...]) -> B:
    name = function.__name__
    for taken in (name, *aliases):
        owner = _owner(_ALIASES.get(taken, taken), function)
        if owner is not None:
            raise ValueError(
                f"Model name '{taken}' must be unique, but {owner} has it. "
                f"Rename {'.'.join(_origin(function))}."
            )
    _BUILDERS[name] = function
    _ALIASES.update(dict.fromkeys(aliases, name))
    return function


def _owner(name: str, function: Builder) -> str | None:
    """Returns the owner of a name; None if it is free or belongs to the same function."""
    entry = CATALOG.get(name)
    if entry is not None and _origin(function)[0] != f"bnnzoo.architectures.{entry.module}":
        return "bnnzoo"
    other = _BUILDERS.get(name)
    if other is not None and _origin(other) != _origin(function):
        return ".".join(_origin(other))
    return None


def _origin(function: Builder) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _plugins() -> dict[str, EntryPoint]:
    """Models of other packages: entry points `name = "package.module:builder"`."""
    return _plugins_on(tuple(sys.path))


@functools.cache
def _plugins_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    # Reads a file of every installed package, which takes longer than everything else in `list`.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _names() -> list[str]:
    return sorted({*CATALOG, *_BUILDERS, *_plugins()})


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Returns the names of the models in alphabetical order, without importing Keras.

    Args:
        pattern: Shell pattern, as in `"re*"`.
        pretrained: Only models with pretrained weights.
    """
    names = fnmatch.filter(_names(), pattern)
    if pretrained:
        records = manifest.load().weights.values()
        known = {record.architecture for record in records if record.files}
        names = [name for name in names if name in known]
    return names


def resolve(name: str) -> Resolved:
    """Returns the architecture and the weights that `name`, an alias, or `name.tag` means.

    Raises:
        ArgumentError: `name` is not a string.
        UnknownModelError: There is no such model, or it has no such tag.
    """
    if not isinstance(name, str):
        raise ArgumentError(
            f"name must be the name of a model, got {name!r}. `bnnzoo list` shows all."
        )
    base, dot, tag = name.partition(".")
    architecture = _ALIASES.get(base, base)
    names = _names()
    if architecture not in names:
        hint = did_you_mean(base, [*names, *_ALIASES])
        raise UnknownModelError(
            f"Unknown model '{name}'.{hint} `bnnzoo list` shows all {len(names)}."
        )
    if not dot:
        return Resolved(architecture, None)
    records = {record.tag: record for record in manifest.load().tags(architecture)}
    if tag not in records:
        known = f"It has: {', '.join(records)}." if records else "It has no pretrained weights."
        raise UnknownModelError(f"Model '{architecture}' has no weights tagged '{tag}'. {known}")
    return Resolved(architecture, records[tag])


def pretrained_record(name: str) -> WeightsRecord:
    """Returns the weights that `name.tag` means, or the default ones of `name`.

    Raises:
        UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        WeightsError: The weights cannot be downloaded and verified.
    """
    architecture, record = resolve(name)
    record = record or next(iter(manifest.load().tags(architecture)), None)
    if record is not None and record.page is not None:
        raise WeightsError(
            f"The weights {record.name} are not downloaded, because their digest is not known. Get "
            f"the checkpoint from {record.page} and run: bnnzoo import FILE --as {architecture} "
            f"{architecture}.safetensors"
        )
    if record is None or not record.files:
        raise UnknownModelError(
            f"Model '{architecture}' has no pretrained weights. "
            "`bnnzoo list --pretrained` shows the models that have some."
        )
    return record


def info(name: str) -> ModelInfo:
    """Returns the metadata of a model, without importing Keras.

    Args:
        name: Name or alias, with or without a tag; with one, `weights` has only its record.

    Raises:
        UnknownModelError: There is no such model, or it has no such tag.
    """
    architecture, record = resolve(name)
    entry = CATALOG.get(architecture)
    return ModelInfo(
        name=architecture,
        aliases=tuple(sorted(a for a, target in _ALIASES.items() if target == architecture)),
        module=_module(architecture),
        params=entry.params if entry else None,
        packed_bytes=entry.packed_bytes if entry else None,
        binary_macs=entry.binary_macs if entry else None,
        other_macs=entry.other_macs if entry else None,
        input_shape=entry.input_shape if entry else None,
        num_classes=entry.num_classes if entry else None,
        task=entry.task if entry else None,
        weights=(record,) if record else manifest.load().tags(architecture),
    )


def _module(architecture: str) -> str:
    if architecture in CATALOG:
        return f"bnnzoo.architectures.{CATALOG[architecture].module}"
    if architecture in _BUILDERS:
        return _BUILDERS[architecture].__module__
    return _plugins()[architecture].module


def builder(name: str) -> Builder:
    """Returns the function that builds a model, for arguments that `load` does not have.

    Raises:
        UnknownModelError: There is no such model.
        MissingDependencyError: Keras is not installed.
    """
    architecture = resolve(name).architecture
    if architecture not in _BUILDERS:
        importlib.import_module(_module(architecture))
    if architecture not in _BUILDERS:
        _register_plugin(architecture)
    return _BUILDERS[architecture]


def _register_plugin(architecture: str) -> None:
    function = _plugins()[architecture].load()
    if function.__name__ != architecture:
        raise ValueError(
            f"Entry point '{architecture}' of {ENTRY_POINT_GROUP} must name a builder of the same "
            f"name, got '{function.__name__}'. Rename one of them."
        )
    _register(function, aliases=())
