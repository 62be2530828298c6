"""Twenty lines of NumPy and safetensors read what bnnzoo writes, and need nothing of bnnzoo."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.formats.packed import WEIGHTS_DTYPES, from_bytes
from bnnzoo.graph.ir import numbers
from tests.formats.files import GOLDEN, tiny_file

SCRIPT = Path(__file__).parents[2] / "examples" / "read_packed.py"


@pytest.mark.parametrize("weights_dtype", WEIGHTS_DTYPES)
def test_it_reads_what_bnnzoo_reads(weights_dtype, example, tmp_path):
    module = example("read_packed")
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(tiny_file(weights_dtype))
    graph, info, weights = module.read(path)
    file = from_bytes(path.read_bytes())
    assert [node["name"] for node in graph["nodes"]] == [node.name for node in file.graph.nodes]
    assert info["labels"] == list(file.info.labels)
    assert set(weights) == set(file.graph.tensors)
    for name, tensor in file.graph.tensors.items():
        expected = numbers(tensor)
        assert np.array_equal(weights[name], expected), name


def test_it_runs_without_bnnzoo(tmp_path):
    shutil.copy(SCRIPT, tmp_path)
    # -I: neither the folder nor PYTHONPATH is searched; a finder refuses an installed bnnzoo.
    code = (
        "import runpy, sys; sys.modules['bnnzoo'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, "read_packed.py", str(GOLDEN)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "binary/kernel  3 x 3 x 3 x 3  mean +0.1852" in done.stdout


def test_it_is_twenty_lines():
    body = SCRIPT.read_text().split("def read(path):")[1].split("\n\n\n")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20
