"""Changed files give a ModelFormatError or a network: a little of `scripts/fuzz_packed.py`."""

from __future__ import annotations

import collections
import importlib.util
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.graph_document import STORED_OPS
from bnnzoo.formats.packed import from_bytes
from tests.formats.mutations import mutated
from tests.formats.seeds import seeds

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_packed.py"
try:
    from bnnzoo.runtime import Model  # noqa: F401
except ImportError:  # the engine is not built
    RUNTIME = False
else:
    RUNTIME = True


@pytest.fixture(scope="module")
def fuzz_packed():
    spec = importlib.util.spec_from_file_location("fuzz_packed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_packed"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_the_seeds_have_every_operation_and_encoding():
    files = [from_bytes(seed.data) for seed in seeds()]
    assert {node.op for file in files for node in file.graph.nodes} == set(STORED_OPS)
    encodings = {entry.encoding for file in files for entry in file.stored.values()}
    assert encodings == {"bits", "float32", "float16", "int8"}


def test_a_case_is_repeated_by_its_two_numbers():
    assert [mutated(3, case) for case in range(30)] == [mutated(3, case) for case in range(30)]
    assert mutated(3, 8) != mutated(4, 8)


def test_changed_files_are_refused_or_run(fuzz_packed):
    stages = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(600):
            outcome = fuzz_packed.examine(1, case, runtime=RUNTIME)
            assert outcome.problem is None, outcome
            stages[outcome.stage] += 1
    assert stages["container"] > 200
    assert stages["validation"] > 60
    assert sum(stages[stage] for stage in ("engine", "predict", "result", "reference")) > 60
    assert stages["reference"] > 10 or not RUNTIME


def test_bytes_that_are_changed_at_random_are_refused():
    """Unless what was changed says the same: a space, or a byte that was replaced by itself."""
    digests = {seed.metadata["digest"] for seed in seeds()}
    for case in range(1, 1001, 2):
        data, edit = mutated(2, case)
        try:
            file = from_bytes(bytes(data))
        except ModelFormatError:
            continue
        assert file.digest in digests, edit


def test_a_process_that_dies_or_hangs_is_a_finding(fuzz_packed, monkeypatch, tmp_path):
    def examine(run, case, *, runtime, format):
        if case == 5:
            os.kill(os.getpid(), signal.SIGSEGV)
        if case == 8:
            time.sleep(60)
        if case == 9:
            return fuzz_packed.Outcome(case, "engine", "cut", "KeyError at engine.py:1: 'x'")
        return fuzz_packed.Outcome(case, "validation", "cut")

    monkeypatch.setattr(fuzz_packed, "examine", examine)
    options = ["--files", "12", "--timeout", "1", "--output", str(tmp_path), "--memory-mb", "0"]
    report = fuzz_packed.fuzz(fuzz_packed.parsed(options))
    assert report["findings"] == {
        f"process ended with -{int(signal.SIGSEGV)}": [5],
        "no answer in 1 s": [8],
        "KeyError at engine.py:1: 'x'": [9],
    }
    assert report["reached"] == {
        "container": 12, "validation": 10, "engine": 1, "predict": 0, "result": 0, "reference": 0,
    }  # fmt: skip
    assert (tmp_path / "0-5.safetensors").read_bytes() == bytes(mutated(0, 5)[0])
    assert {path.stem for path in tmp_path.iterdir()} == {"0-5", "0-8", "0-9"}
