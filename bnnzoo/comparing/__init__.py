"""Compares networks: accuracy, size, memory, operations, and time on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bnnzoo import registry, weights
from bnnzoo.arguments import check_integer
from bnnzoo.errors import ArgumentError
from bnnzoo.loading import load
from bnnzoo.manifest import WeightsRecord
from bnnzoo.runtime import Model
from bnnzoo.runtime import load as load_packed
from bnnzoo.tables import Table

__all__ = ["Comparison", "compare", "fitting", "matching"]


@dataclass(frozen=True)
class Comparison:
    """What a network costs, and how accurate it is.

    Attributes:
        name: `name` or `name.tag`.
        dataset: Data set of the accuracy; None without weights.
        top1: Accuracy in percent.
        by: Who measured it.
        packed_bytes: Bytes of the weights when binary kernels take one bit a weight, or of the
            packed file.
        ram_bytes: Memory for the values of one image in the packed runtime.
        binary_macs: Multiply-accumulates of two binary factors, for one image.
        other_macs: All other multiply-accumulates.
        ms: Milliseconds for one image.
    """

    name: str
    dataset: str | None
    top1: float | None
    by: str | None
    packed_bytes: int | None
    ram_bytes: int
    binary_macs: int
    other_macs: int
    ms: float


def matching(names: Iterable[str]) -> list[str]:
    """Returns the names, with patterns as in `"quick*"` replaced by the models that match.

    Raises:
        UnknownModelError: A model does not exist.
        ArgumentError: No model matches a pattern.
    """
    found: dict[str, None] = {}
    for name in names:
        if not set(name) & set("*?["):
            registry.resolve(name)
            found[name] = None
            continue
        models = registry.list_models(name)
        if not models:
            raise ArgumentError(f"names must match a model, got {name!r}. `bnnzoo list` shows all.")
        found.update(dict.fromkeys(models))
    return list(found)


def compare(
    names: Sequence[str],
    *,
    threads: int = 1,
    rounds: int = 20,
    progress: Callable[[str], None] | None = None,
) -> Table[Comparison]:
    """Measures networks side by side, and returns them with the most accurate ones first.

    Networks with a packed file run from it. Others are built with random weights, which take the
    same time, and converted in memory. Accuracies are those in the manifest. Networks for the same
    data set stand together.

        bnnzoo.compare(["quicknet", "birealnet18", "reactnet*"])

    Args:
        names: `name`, which means its default weights, `name.tag`, or a pattern of names.
        threads: Threads of the runtime.
        rounds: Times are minima over this many runs of each network in turn.
        progress: Called with the name of a network before it is opened.

    Raises:
        UnknownModelError: A model does not exist.
        ArgumentError: No model matches a pattern, or a number is out of range.
        WeightsError: A packed file cannot be fetched.
    """
    rounds = check_integer(rounds, "rounds")
    opened = {}
    for name in matching(names):
        if progress is not None:
            progress(name)
        opened[name] = _opened(name, threads)
    times = _times(opened, rounds)
    rows = [_row(name, model, times[name]) for name, model in opened.items()]
    return Table(sorted(rows, key=_order))


def fitting(
    rows: Iterable[Comparison], *, max_bytes: float | None = None, max_ms: float | None = None
) -> Table[Comparison]:
    """Returns the networks that are at most as large and as slow as given."""
    return Table(
        row
        for row in rows
        if (max_bytes is None or (row.packed_bytes or math.inf) <= max_bytes)
        and (max_ms is None or row.ms <= max_ms)
    )


def _order(row: Comparison) -> tuple[bool, str, float, str]:
    return row.dataset is None, row.dataset or "", -(row.top1 or 0), row.name


def _record(name: str) -> WeightsRecord | None:
    architecture, record = registry.resolve(name)
    known = registry.info(architecture).weights
    return record or (known[0] if known else None)


def _opened(name: str, threads: int) -> Model:
    record = _record(name)
    file = None if record is None else record.file("packed")
    if record is not None and file is not None:
        return load_packed(weights.fetch(file, name=record.name), threads=threads)
    import keras

    from bnnzoo.keras_bridge.packed_graph import packed_graph

    graph = packed_graph(load(name))
    keras.backend.clear_session()
    return Model(graph, threads=threads)


def _times(models: dict[str, Model], rounds: int) -> dict[str, float]:
    """Returns the minimum time of each model in milliseconds, all run in turn."""
    images = {name: model.random_inputs(1) for name, model in models.items()}
    least = dict.fromkeys(models, math.inf)
    for _ in range(rounds + 1):  # one to warm up
        for name, model in models.items():
            model(images[name])  # fills the caches with this network again
            start = time.perf_counter()
            model(images[name])
            least[name] = min(least[name], 1e3 * (time.perf_counter() - start))
    return least


def _row(name: str, model: Model, ms: float) -> Comparison:
    architecture, _ = registry.resolve(name)
    entry, record = registry.info(architecture), _record(name)
    file = None if record is None else record.file("packed")
    metric = None if record is None else record.headline
    return Comparison(
        name=name if record is None else record.name,
        dataset=None if metric is None else metric.dataset,
        top1=None if metric is None else metric.top1,
        by=None if metric is None else metric.by,
        packed_bytes=entry.packed_bytes if file is None else file.bytes,
        ram_bytes=model.ram_bytes,
        binary_macs=model.binary_macs,
        other_macs=model.macs - model.binary_macs,
        ms=round(ms, 3),
    )
