#!/usr/bin/env python
"""Feeds mutated files to the readers and to the runtime, and counts how far each gets.

    python scripts/fuzz_packed.py --files 200000 --output fuzz/
    python scripts/fuzz_packed.py --format lce --files 50000 --output fuzz/
    python scripts/fuzz_packed.py --format qonnx --files 20000 --output fuzz/
    python scripts/fuzz_packed.py --format openvino --files 20000 --output fuzz/
    python scripts/fuzz_packed.py --format h5 --files 5000 --memory-mb 12000 --output fuzz/
    python scripts/fuzz_packed.py --format h5-model --files 5000 --memory-mb 12000 --output fuzz/
    python scripts/fuzz_packed.py --format torch --files 20000 --output fuzz/

Half of the files have bytes changed at random. The other half have changed graphs, shapes and
values with correct digests. The mutations are in

- `tests/formats/mutations.py` for packed files,
- `tests/formats/lce_mutations.py`, `onnx_mutations.py` and `openvino_mutations.py` for these
  formats, whose networks are converted to packed files first,
- `tests/hdf5_mutations.py` for weight files of Keras, which are read into a small model (needs
  Keras), and `tests/hdf5_model/mutations.py` for whole models of Keras 2,
- `tests/checkpoints/mutations.py` for PyTorch checkpoints, whose tensors are compared with those
  that PyTorch reads if it is installed.

Packed files are read, the engine is constructed, and the network runs once. A `WeightsError` or a
result is correct. Anything else is a finding: another exception, a warning, a crash, a hang, more
memory than allowed, results that depend on the number of threads, or results that differ from the
reference interpreter although nothing is rounded. The work is done in processes that may crash.
`--run R --first N --files 1` repeats case N of run R.

Sanitizers need address space: `--memory-mb 0` with them.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import functools
import importlib
import importlib.util
import io
import json
import math
import multiprocessing
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bnnzoo.checkpoints import state_dict, torch_file  # noqa: E402
from bnnzoo.errors import GraphError, ModelFormatError, WeightsError  # noqa: E402
from bnnzoo.formats import lce, openvino, packed, qonnx  # noqa: E402
from bnnzoo.formats.network_info import NetworkInfo  # noqa: E402
from bnnzoo.formats.packed import PackedFile  # noqa: E402
from bnnzoo.graph import interpreter  # noqa: E402
from bnnzoo.graph.ir import Graph, numbers  # noqa: E402
from bnnzoo.graph.ops import infer_types  # noqa: E402
from bnnzoo.graph.packing import PackedSigns  # noqa: E402
from bnnzoo.graph.passes import RUNTIME, STORED, apply  # noqa: E402
from tests.checkpoints import mutations as checkpoint_mutations  # noqa: E402
from tests.formats import (  # noqa: E402
    lce_mutations,
    mutations,
    onnx_mutations,
    openvino_mutations,
)

if TYPE_CHECKING:
    from bnnzoo.runtime import Model

STAGES = ("container", "validation", "engine", "predict", "result", "reference")
# Functions of the readers that parse the container, before the network is known.
_CONTAINER = {"parse", "_check_metadata", "_check_arrays", "_members", "read_pickle", "_find"}
# A valid network may need more time than a test has.
MAX_PRODUCTS = 3e8
# And its output may need more memory than a test has.
MAX_OUTPUT_ELEMENTS = 2**25
MAX_ORACLE_PRODUCTS = 1e6
_ROUNDING = {
    "tanh", "sigmoid", "softmax", "avg_pool2d", "global_avg_pool2d", "bilinear_resize2d",
}  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A file format: how files are mutated, and how they are read."""

    mutated: Callable[[int, int], tuple[bytes, str]]
    read: Callable[[bytes], PackedFile | None]
    suffix: str


def converted(from_bytes: Callable[[bytes], tuple[Graph, NetworkInfo]], data: bytes) -> PackedFile:
    """Returns the packed file that `bnnzoo convert` writes for a file of another format."""
    graph, info = from_bytes(data)
    try:
        return packed.from_bytes(packed.to_bytes(apply(graph, STORED)[0], info))
    except GraphError as error:
        raise ModelFormatError(str(error)) from error


@functools.cache
def keras_network() -> Any:
    """Returns the model that weight files are read into."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests import hdf5_mutations

        return hdf5_mutations.network()


def mutated_hdf5(module: str, run: int, case: int) -> tuple[bytes, str]:
    """Returns a file of a module that needs h5py, which the runtime does not install."""
    mutated: tuple[bytes, str] = importlib.import_module(module).mutated(run, case)
    return mutated


def read_h5(data: bytes) -> None:
    """Reads weights as `load(weights=...)` does."""
    network = keras_network()
    from bnnzoo import loading
    from bnnzoo.snapshot import Snapshot

    loading._read_weights(network, Snapshot.holding(Path("fuzzed.h5"), data))


def read_model(data: bytes) -> None:
    """Opens a whole model as `open_model` does."""
    from bnnzoo.hdf5_model import open_hdf5_model
    from bnnzoo.snapshot import Snapshot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, on odd settings
        open_hdf5_model(Snapshot.holding(Path("fuzzed.h5"), data))


def read_openvino(data: bytes) -> tuple[Graph, NetworkInfo]:
    """Reads the two files that a case holds."""
    return openvino.from_bytes(*openvino_mutations.parted(data))


def read_torch(data: bytes) -> None:
    """Reads tensors as `load(weights=...)` does, and as PyTorch does."""
    loaded = torch_file.from_bytes(data)
    arrays = {name: t.array() for name, t in state_dict.find(loaded).tensors.items()}
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    known = [argparse.Namespace, collections.defaultdict, list, np.dtype, type(np.dtype("f8"))]
    known += [np.float64(0).__reduce__()[0], type(np.dtype("f4"))]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(known):
            warnings.simplefilter("ignore")
            other = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # of many kinds: PyTorch may refuse what is read here
        return
    found = state_dict.find(loaded)
    entries = other if found.key is None else other[found.key]
    for name, array in arrays.items():
        tensor = entries[found.prefix + name].detach()
        theirs = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        if array.shape != theirs.shape or not np.array_equal(array, theirs, equal_nan=True):
            raise AssertionError("a tensor is not the one that PyTorch reads")


FORMATS = {
    "packed": Format(mutations.mutated, packed.from_bytes, ".safetensors"),
    "lce": Format(lce_mutations.mutated, functools.partial(converted, lce.from_bytes), ".tflite"),
    "qonnx": Format(
        onnx_mutations.mutated, functools.partial(converted, qonnx.from_bytes), ".onnx"
    ),
    "openvino": Format(
        openvino_mutations.mutated, functools.partial(converted, read_openvino), ".xml"
    ),
    "h5": Format(functools.partial(mutated_hdf5, "tests.hdf5_mutations"), read_h5, ".h5"),
    "h5-model": Format(
        functools.partial(mutated_hdf5, "tests.hdf5_model.mutations"), read_model, ".h5"
    ),
    "torch": Format(checkpoint_mutations.mutated, read_torch, ".pth"),
}


@dataclass
class Outcome:
    """How far a file got: the last stage it reached, and what went wrong there."""

    case: int
    stage: str
    edit: str
    problem: str | None = None


def examine(run: int, case: int, *, runtime: bool, format: str = "packed") -> Outcome:
    """Puts one changed file through everything."""
    data, edit = FORMATS[format].mutated(run, case)
    outcome = Outcome(case, "container", edit)
    try:
        for stage in stages(data, case, runtime, FORMATS[format]):
            outcome.stage = stage
    except WeightsError as error:
        frames = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if outcome.stage == "container" and not frames & _CONTAINER:
            outcome.stage = "validation"
        if "\n" in str(error) or len(str(error)) > 2000:
            outcome.problem = f"message of {len(str(error))} characters: {str(error)[:200]!r}"
    except (Exception, MemoryError) as error:
        outcome.problem = described(error)
    return outcome


def stages(data: bytes, case: int, runtime: bool, format: Format) -> Iterator[str]:
    """Yields every stage once it is reached."""
    file = format.read(data)
    if file is None:  # weights, which do not run
        yield "result"
        return
    yield "engine"
    if not runtime:
        apply(file.graph, RUNTIME)
        return
    threads = 1 + case % 2
    model = engine(file, case, threads)
    if products(file.graph) > MAX_PRODUCTS or output_elements(file.graph) > MAX_OUTPUT_ELEMENTS:
        return
    # Integers, so that sums of few are exact.
    rng, count = np.random.default_rng(case), 1 + case % 3
    x = {
        name: rng.integers(-3, 4, (count, *shape)).astype(np.float32)
        for name, shape in file.graph.inputs.items()
    }
    yield "predict"
    results = as_tuple(model(x))
    again = as_tuple(
        engine(file, case, 3 - threads)({name: array[:1] for name, array in x.items()})
    )
    for one, two in zip(results, again, strict=True):
        if not np.array_equal(one[:1], two, equal_nan=True):
            raise AssertionError("results depend on the threads or on the other images")
    yield "result"
    if rounds_nothing(file.graph):
        with np.errstate(all="ignore"):  # infinite bounds
            values = interpreter.run(file.graph, x)
        if max(np.abs(value).max() for value in values.values()) < 2**20:
            for name, result in zip(file.graph.outputs, results, strict=True):
                if not np.array_equal(result, values[name]):
                    raise AssertionError("results differ from the reference interpreter")
            yield "reference"


def engine(file: PackedFile, case: int, threads: int) -> Model:
    """Returns what `bnnzoo.runtime.load` would; the instruction set is the case's."""
    from bnnzoo.runtime import Model, isas

    isa = isas()[case // 2 % len(isas())]
    try:
        return Model(file.graph, file.info, threads=threads, isa=isa)
    except GraphError as error:
        raise ModelFormatError(str(error)) from error


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Returns the outputs of a network, which are an array where there is one."""
    return results if isinstance(results, tuple) else (results,)


def rounds_nothing(graph: Graph) -> bool:
    """Returns whether float32 has every number of a network, as long as those are small."""
    values = [
        *(n for node in graph.nodes for n in node.attributes.values() if isinstance(n, float)),
        *(numbers(t) for t in graph.tensors.values() if not isinstance(t, PackedSigns)),
    ]
    return (
        not _ROUNDING & {node.op for node in graph.nodes}
        and not any("input_bits" in node.attributes for node in graph.nodes)
        and all(n.attributes["bits"] == 1 for n in graph.nodes if n.op == "quantize")
        and all((np.isinf(n) | ((n == np.rint(n)) & (np.abs(n) < 100))).all() for n in values)
        and products(graph) < MAX_ORACLE_PRODUCTS
    )


def output_elements(graph: Graph) -> int:
    """Returns how many numbers a network returns for an image."""
    types = infer_types(graph)
    return sum(math.prod(types[name].shape) for name in graph.outputs)


def products(graph: Graph) -> float:
    """Returns about how many multiplications a network takes for one image."""
    types = infer_types(graph)
    total = 0.0
    for node in graph.nodes:
        kernel = graph.tensor(node, "kernel")
        taps = np.prod(kernel.shape[1:]) if kernel is not None else 1
        taps *= np.prod(node.attributes.get("pool", (1,)))
        total += float(np.prod(types[node.name].shape)) * float(taps)
    return total


def described(error: BaseException) -> str:
    """Returns where and what an exception is, without what differs from case to case."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if str(ROOT) in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    text = re.sub(r"\d+", "#", " ".join(str(error).split()))[:160]
    return f"{type(error).__name__} at {place}: {text}"


# Processes ---------------------------------------------------------------------------------------


def work(run: int, cases: range, options: argparse.Namespace, pipe: Connection) -> None:
    """Examines cases in a process of its own; tells of each when it begins and when it ends."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("error")
    if options.format.startswith("h5"):
        keras_network()
    if options.memory_mb:
        limit = options.memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case in cases:
        pipe.send(case)
        pipe.send(examine(run, case, runtime=not options.reader_only, format=options.format))
    pipe.close()


@dataclass
class Worker:
    """A process and what it does at the moment."""

    cases: range
    process: Any
    pipe: Connection
    case: int
    silent_s: float = 0.0


def start(run: int, cases: range, options: argparse.Namespace) -> Worker:
    """Starts a process for cases."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(run, cases, options, there))
    process.start()
    there.close()
    return Worker(cases, process, here, cases.start)


def outcomes(options: argparse.Namespace) -> Iterator[Outcome]:
    """Yields the outcome of every case; a process that dies or hangs is replaced."""
    last = options.first + options.files
    shares = [
        range(options.first + i, last, options.processes)
        for i in range(min(options.processes, options.files))
    ]
    workers = [start(options.run, share, options) for share in shares]
    seen = time.monotonic()
    while workers:
        multiprocessing.connection.wait([w.pipe for w in workers], timeout=1.0)
        # At most 2 s: a suspended machine or a stopped run is not a hang.
        passed, seen = min(time.monotonic() - seen, 2.0), time.monotonic()
        for worker in tuple(workers):
            worker.silent_s += passed
            problem = yield from received(worker, options.timeout)
            if problem is None:
                continue
            workers.remove(worker)
            rest = range(worker.case + worker.cases.step, worker.cases.stop, worker.cases.step)
            if problem:
                edit = FORMATS[options.format].mutated(options.run, worker.case)[1]
                yield Outcome(worker.case, "container", edit, problem)
                if len(rest):
                    workers.append(start(options.run, rest, options))


def received(worker: Worker, timeout: float) -> Any:
    """Yields what a worker has sent.

    Returns None while it goes on, "" when it is done, or how it ended.
    """
    try:
        while worker.pipe.poll():
            message = worker.pipe.recv()
            worker.silent_s = 0.0
            if isinstance(message, Outcome):
                yield message
            else:
                worker.case = message
    except EOFError:
        worker.process.join()
        code = worker.process.exitcode
        return "" if code == 0 else f"process ended with {code}"
    if worker.silent_s > timeout:
        worker.process.kill()
        worker.process.join()
        return f"no answer in {timeout:.0f} s"
    return None


# Report ------------------------------------------------------------------------------------------


def fuzz(options: argparse.Namespace) -> dict[str, Any]:
    """Runs all cases, keeps the files of findings, and returns the report."""
    reached: collections.Counter[str] = collections.Counter()
    edits: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    findings: dict[str, list[int]] = collections.defaultdict(list)
    begin = time.monotonic()
    for done, outcome in enumerate(outcomes(options), 1):
        for stage in STAGES[: STAGES.index(outcome.stage) + 1]:
            reached[stage] += 1
        edits[outcome.edit.split("+")[0]][outcome.stage] += 1
        if outcome.problem is not None:
            findings[outcome.problem].append(outcome.case)
            keep(options, outcome)
        if sys.stderr.isatty() or done % 10_000 == 0:
            print(f"\r{done:,} of {options.files:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "format": options.format,
        "run": options.run,
        "first": options.first,
        "files": options.files,
        "seconds": round(time.monotonic() - begin, 1),
        "reader_only": options.reader_only,
        "reached": {stage: reached[stage] for stage in STAGES},
        "last_stage_by_edit": {edit: dict(edits[edit]) for edit in sorted(edits)},
        "findings": {problem: sorted(cases)[:20] for problem, cases in findings.items()},
        "finding_count": sum(map(len, findings.values())),
    }


def keep(options: argparse.Namespace, outcome: Outcome) -> None:
    """Writes the file of a finding, and what was found."""
    if options.output is not None:
        name = f"{options.run}-{outcome.case}"
        data, _ = FORMATS[options.format].mutated(options.run, outcome.case)
        (options.output / f"{name}{FORMATS[options.format].suffix}").write_bytes(data)
        (options.output / f"{name}.txt").write_text(f"{outcome}\n")


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200_000, help="number of cases")
    parser.add_argument("--format", choices=FORMATS, default="packed", help="of the files")
    parser.add_argument("--run", type=int, default=0, help="seed of the run")
    parser.add_argument("--first", type=int, default=0, help="first case")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="folder for report and files of findings")
    parser.add_argument("--reader-only", action="store_true", help="read and run the passes only")
    parser.add_argument("--memory-mb", type=int, default=3000, help="address space; 0: no limit")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one case")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 1 if there are findings."""
    options = parsed(arguments)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    FORMATS[options.format].mutated(0, 0)  # seeds are made once, before the processes are forked
    report = fuzz(options)
    text = json.dumps(report, indent=2)
    print(text)
    if options.output is not None:
        (options.output / "report.json").write_text(text + "\n")
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
