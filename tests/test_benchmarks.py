"""The benchmark programs run, and their tables have every row that was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bnnzoo
from benchmarks.contest import Contestant, run_rounds
from bnnzoo import runtime
from tests.training.tiny import write_photos

ROOT = Path(__file__).parents[1]
FILE = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet.fashion_mnist_small.safetensors"


def test_runtime_times_kernels_and_networks(tmp_path):
    out = tmp_path / "times.json"
    arguments = [FILE, "--rounds", "1", "--runs", "1", "--json", out]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runtime", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert len(result["gmacs_per_second"]) == 4
    for speeds in result["gmacs_per_second"].values():
        assert set(speeds) == set(runtime.isas())
        assert min(speeds.values()) > 0
    assert all(ms > 0 for ms in result["ms"].values())
    assert f"{FILE.stem}, 1 threads" in result["ms"]


def test_contestants_take_turns_and_wider_vectors_win():
    isas = runtime.isas()
    contestants = [
        Contestant(isa, "bnnzoo", FILE, environment={"BNNZOO_FORCE_ISA": isa})
        for isa in (isas[0], "portable")
    ]
    times = run_rounds(contestants, rounds=2, runs=2)
    assert set(times) == {isas[0], "portable"}
    assert isas[0] == "portable" or times[isas[0]] < times["portable"]


def test_training_input_times_a_folder(tmp_path):
    write_photos(tmp_path, n=12)
    out = tmp_path / "times.json"
    arguments = [tmp_path / "train", "--side", "32", "--rounds", "2", "--workers", "1", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_input", *map(str, arguments), "--json", out],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("images/s") == 2
    result = json.loads(out.read_text())
    assert result["n"] == 12
    assert [len(rounds) for rounds in result["images_per_second_and_cpu_ms"].values()] == [2, 2]
