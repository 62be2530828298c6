"""Two processes of JAX train one network alike, and as one process does on all the data."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300  # it takes about 30 s; a machine that does other work needs more


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(processes, process, port, result):
    arguments = [str(port), str(processes), str(process), str(result)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.nn.distributed_training", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(workers):
    """Waits for the workers, and ends all of them if one fails or hangs."""
    try:
        outputs = [worker.communicate(timeout=TIMEOUT_S)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    for worker, output in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, output[-3000:]


def test_two_processes_train_as_one(tmp_path):
    if keras.backend.backend() != "jax":
        pytest.skip("its processes use JAX whatever the backend here: it runs with JAX's tests")
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax: pip install '.[jax]'")
    files = [tmp_path / "first.npz", tmp_path / "second.npz", tmp_path / "alone.npz"]
    port = free_port()
    workers = [start(2, 0, port, files[0]), start(2, 1, port, files[1]), start(1, 0, 0, files[2])]
    finish(workers)
    first, second, alone = (dict(np.load(file, allow_pickle=False)) for file in files)
    assert np.all(np.isfinite(first["loss"]))
    for name in alone:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        # The order of sums differs: some roundings, but no sign of a binary weight.
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
    bop = first["weight_10"]
    assert set(np.unique(bop)) == {-1.0, 1.0}
