"""Import, load and memory stay as small as a board or a short-lived process wants them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.passes import STORED, apply
from tests.graph.graphs import GraphBuilder

KERAS = "{'keras', 'tensorflow', 'jax', 'torch', 'click', 'PIL', 'safetensors', 'pooch'}"
# In processor time of the thread, which neither other processes nor threads lengthen; the least of
# ten.
IMPORT = """
import time, numpy
start = time.thread_time()
import bnnzoo.runtime
print(time.thread_time() - start)
"""
NUMPY = """
import time
start = time.thread_time()
import numpy
print(time.thread_time() - start)
"""
LOAD = """
import sys, time
from bnnzoo import runtime
for _ in range(10):
    start = time.thread_time()
    runtime.load(sys.argv[1], threads=2)
    print(time.thread_time() - start)
"""
MEMORY = """
import sys, pathlib
def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
import numpy
from bnnzoo import runtime
model = runtime.load(sys.argv[1], threads=2)
model(numpy.zeros((1, *model.input_shape), numpy.float32))
print(resident() - before)
"""


def birealnet18(rng: np.random.Generator) -> GraphBuilder:
    """The operations and sizes of Bi-Real-Net-18, in random numbers."""
    builder = GraphBuilder(rng, (224, 224, 3))
    unit = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    stem = {**unit, "strides": (2, 2), "padding": (2, 3, 2, 3)}
    x = builder.add("conv2d", "images", tensors={"kernel": builder.reals(64, 7, 7, 3)}, **stem)
    window = {"pool": (3, 3), "strides": (2, 2), "padding": (0, 1, 0, 1)}
    x = builder.add("max_pool2d", builder.batch_norm(x), **window)
    for block in range(16):
        filters, down = 64 << block // 4, block in (4, 8, 12)
        channels = builder.shape(x)[-1]
        kernel = {"kernel": builder.signs(filters, 3, 3, channels)}
        conv = {**unit, "strides": (2, 2) if down else (1, 1), "pad_value": 0}
        conv["padding"] = (0, 1, 0, 1) if down else (1, 1, 1, 1)
        y = builder.batch_norm(
            builder.add("bconv2d", builder.add("sign", x), tensors=kernel, **conv)
        )
        if down:
            pool = {"pool": (2, 2), "strides": (2, 2), "padding": (0, 0, 0, 0)}
            kernel = {"kernel": builder.reals(filters, 1, 1, channels)}
            x = builder.add("conv2d", builder.add("avg_pool2d", x, **pool), tensors=kernel, **unit)
            x = builder.batch_norm(x)
        x = builder.add("add", y, x)
    logits = builder.dense(builder.add("global_avg_pool2d", x), 1000, binary=False)
    builder.add("softmax", logits)
    return builder


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    builder = birealnet18(np.random.default_rng(0))
    graph, _ = apply(builder.graph(next(reversed(builder.nodes))), STORED)
    path = tmp_path_factory.mktemp("files") / "birealnet18.safetensors"
    path.write_bytes(packed.to_bytes(graph, NetworkInfo("birealnet18")))
    assert 4.0e6 < path.stat().st_size < 4.4e6
    return path


def numbers(code: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def test_import_imports_nothing_large():
    code = f"import bnnzoo.runtime, sys; print(len({KERAS} & set(sys.modules)))"
    assert numbers(code) == [0]


def least(ten: Callable[[], list[float]], limit: float) -> float:
    """The least of ten; of up to 150, where other processes keep caches and memory busy."""
    found = ten()
    while min(found) >= limit and len(found) < 150:
        found += ten()
    return min(found)


@pytest.fixture(scope="module")
def import_of_numpy() -> float:
    """What the least that every program here needs takes: where it is longer, so are the limits."""
    return min(numbers(NUMPY)[0] for _ in range(10))


def test_import_takes_at_most_50_ms_or_as_long_as_numpys(import_of_numpy):
    limit = max(0.050, import_of_numpy)
    assert least(lambda: [numbers(IMPORT)[0] for _ in range(10)], limit) <= limit


def test_load_takes_less_than_40_ms_or_the_import_of_numpy(file, import_of_numpy):
    limit = max(0.040, import_of_numpy)
    assert least(lambda: numbers(LOAD, str(file)), limit) < limit


def test_memory_is_less_than_60_mb_beyond_python(file):
    (resident,) = numbers(MEMORY, str(file))
    assert resident < 60e6
