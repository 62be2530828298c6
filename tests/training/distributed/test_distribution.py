"""Two processes, and two devices, train as one does; real processes of JAX on this machine."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.errors import ArgumentError, MissingDependencyError
from bnnzoo.training.distributed import distribution
from bnnzoo.training.distributed.distribution import ALONE, Group, check_backend
from bnnzoo.training.distributed.lifeline import LOST_CONTACT
from tests.training.ports import addresses
from tests.training.tiny import write_images

ROOT = Path(__file__).parents[3]
LIMIT_S = 300  # a machine that does other work needs a multiple of what it takes
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


def missing() -> str:
    """Why several processes cannot train here; empty where they can."""
    try:
        check_backend("jax")
    except (ArgumentError, MissingDependencyError) as error:
        return str(error)
    return ""


needs_jax = pytest.mark.skipif(bool(missing()), reason=missing())


def start(arguments, environ=None):
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    environment |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **(environ or {})}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(processes):
    """Waits for all, and ends all of them if one fails or hangs."""
    try:
        outputs = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]


def train(recipe, folder, how):
    """Starts processes that train in a folder of their own."""
    (folder / how).mkdir()
    write_images(folder / how)
    among = addresses(2) if how == "two processes" else ["alone"]
    worker = ["-m", "tests.training.distributed_training", recipe, str(folder / how)]
    environ = TWO_DEVICES if how == "two devices" else None
    return [start([*worker, str(i), *among], environ) for i in range(len(among))]


def weights(folder, process, epoch):
    with np.load(folder / f"process{process}-epoch{epoch}.npz") as archive:
        return {name: archive[name] for name in archive.files}


def log(folder):
    with (folder / "run" / "log.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def assert_close(got, expected, atol, rtol=0.0):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=rtol, atol=atol, err_msg=name)


@needs_jax
@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path):
    """The same images, augmented alike, in one batch of both.

    Sums over a batch have another order, so that a gradient differs by some 1e-7 of it. Adam
    divides that out where a gradient is large, and makes up to 0.01 * 1e-11 / 1e-7 = 1e-6 of it
    where one is as small as its epsilon. A step is 0.01: an image that is missing, twice or cut
    elsewhere, or batch norms that see half a batch, would be thousands of times 1e-5.
    """
    finish(train("one_step", tmp_path, "two processes") + train("one_step", tmp_path, "alone"))
    together, alone = tmp_path / "two processes", tmp_path / "alone"
    first = weights(together, 0, 1)
    assert_close(weights(together, 1, 1), first, atol=0)
    assert_close(first, weights(alone, 0, 1), atol=1e-5)
    assert not (together / "no").exists()
    for name in ("loss", "top1", "val_loss", "val_top1"):
        assert log(together)[0][name] == pytest.approx(log(alone)[0][name], rel=1e-5)
    assert {path.name for path in (together / "run").iterdir()} == {
        path.name for path in (alone / "run").iterdir()
    }


@needs_jax
@pytest.mark.long
def test_two_devices_take_the_step_of_one(tmp_path):
    finish(train("one_step", tmp_path, "two devices") + train("one_step", tmp_path, "alone"))
    devices, alone = tmp_path / "two devices", tmp_path / "alone"
    assert "cpu:1" in (devices / "run" / "environment.json").read_text()
    assert_close(weights(devices, 0, 1), weights(alone, 0, 1), atol=1e-5)


@needs_jax
@pytest.mark.long
@pytest.mark.parametrize("how", ["two processes", "two devices"])
def test_an_epoch_of_real_images(tmp_path, how):
    """A sign that flips in one and not in the other makes them drift apart, little by little."""
    finish(train("real", tmp_path, how) + train("real", tmp_path, "alone"))
    (got,), (expected,) = log(tmp_path / how), log(tmp_path / "alone")
    assert expected["top1"] > 50, "it learns"
    for name in ("loss", "val_loss"):
        assert got[name] == pytest.approx(expected[name], rel=0.02)


@needs_jax
@pytest.mark.long
@pytest.mark.parametrize("recipe, epochs", [("techniques", 3), ("packed_start", 1), ("files", 1)])
def test_every_technique_in_two_processes(tmp_path, recipe, epochs):
    finish(train(recipe, tmp_path, "two processes") + train(recipe, tmp_path, "alone"))
    together = tmp_path / "two processes"
    for epoch in range(1, epochs + 1):
        assert_close(weights(together, 1, epoch), weights(together, 0, epoch), atol=0)
    # In the first epoch of both only what is behind or without signs learns: differences in
    # rounding stay small.
    assert_close(weights(together, 0, 1), weights(tmp_path / "alone", 0, 1), atol=1e-4, rtol=1e-6)


def command(folder, among, process, *arguments):
    settings = ("epochs=5000", "batch_size=16", "arguments.width=8")
    values = [part for setting in settings for part in ("--set", setting)]
    return [
        "-m", "bnnzoo", "train", "binarynet_mlp.mnist", "--data", str(folder / "tiny.npz"), *values,
        "--processes", ",".join(among), "--process-id", str(process),
        "--out", str(folder / f"run{process}"), *arguments,
    ]  # fmt: skip


def wait_for_epochs(folder, processes, n):
    deadline = time.monotonic() + LIMIT_S
    path = folder / "run0" / "log.csv"
    while not path.exists() or len(path.read_text().splitlines()) < n + 1:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)


@needs_jax
@pytest.mark.long
def test_a_killed_worker_is_named_and_the_run_goes_on(tmp_path):
    write_images(tmp_path)
    among = addresses(2)
    pair = [start(command(tmp_path, among, i)) for i in (0, 1)]
    wait_for_epochs(tmp_path, pair, 3)
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pair[1].pid)], capture_output=True, text=True
    )
    os.kill(int(found.stdout), signal.SIGKILL)
    begun = time.monotonic()
    outputs = [process.communicate(timeout=LIMIT_S)[0] for process in pair]
    assert time.monotonic() - begun < 30
    for process, output in zip(pair, outputs, strict=True):
        assert process.returncode == 1
        assert f"Error: Process 1 at {among[1]} was killed by signal 9" in output
    assert not (tmp_path / "run1").exists()

    with np.load(tmp_path / "run0" / "checkpoints" / "last.npz") as archive:
        assert archive.files
    rows = len((tmp_path / "run0" / "log.csv").read_text().splitlines()) - 1
    among = addresses(2)
    pair = [start(command(tmp_path, among, i, "--resume")) for i in (0, 1)]
    wait_for_epochs(tmp_path, pair, rows + 2)
    pair[0].send_signal(signal.SIGINT)
    assert [process.wait(timeout=LIMIT_S) for process in pair] == [130, 1]
    for process in pair:
        process.communicate()


@needs_jax
@pytest.mark.long
def test_other_images_in_one_process_are_told(tmp_path):
    among = addresses(2)
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder, n in zip(folders, (64, 48), strict=True):
        folder.mkdir()
        write_images(folder, n)
    pair = [start(command(folder, among, i)) for i, folder in enumerate(folders)]
    outputs = [process.communicate(timeout=LIMIT_S)[0] for process in pair]
    assert [process.returncode for process in pair] == [1, 2]
    assert "same images everywhere, got 48 to train on and 48 to measure on, of sha" in outputs[1]
    assert "process 0 has 64 to train on" in outputs[1]
    assert f"Error: Process 1 at {among[1]}" in outputs[0]


# Process 1 is gone when process 0 calls for it.
GONE = """
import os, sys
from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.distribution import LostContactError, current_group, joined
process = int(sys.argv[1])
try:
    with joined(Cluster(tuple(sys.argv[2:]), process)):
        group = current_group()
        group.share(lambda: b"everybody is here")
        if process == 1:
            os._exit(9)
        while True:
            group.share(lambda: b"who is there?")
except LostContactError as error:
    print(error, flush=True)
    os._exit(error.exit_code)
"""


@needs_jax
def test_a_process_that_is_gone_is_lost_contact():
    among = addresses(2)
    pair = [start(["-c", GONE, str(i), *among]) for i in (0, 1)]
    outputs = [process.communicate(timeout=LIMIT_S)[0] for process in pair]
    assert [process.returncode for process in pair] == [LOST_CONTACT, 9], outputs
    assert "Another process cannot be reached: UNKNOWN: Gloo all-reduce failed" in outputs[0]


def test_parts_are_the_whole_without_overlap():
    batches = np.arange(3 * 8 * 2).reshape(3, 8, 2)
    parts = [Group(process, 4, 8).part(batches) for process in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), batches)
    np.testing.assert_array_equal(ALONE.part(batches), batches)


@pytest.mark.parametrize("batch, devices, fits", [(16, 3, 18), (1, 2, 2), (127, 8, 128)])
def test_a_batch_that_does_not_divide(batch, devices, fits):
    Group(devices=devices).check(fits)
    message = f"multiple of {devices}, the number of devices, got {batch}. Set batch_size={fits}."
    with pytest.raises(ArgumentError, match=message):
        Group(devices=devices).check(batch)


def test_alone_everything_is_as_it_was():
    ALONE.check(7)
    ALONE.check_images("64 images")
    assert ALONE.share(lambda: b"as it is") == b"as it is"
    assert ALONE.share(lambda: None) is None
    assert ALONE.leave() is ALONE


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_another_backend(backend):
    with pytest.raises(ArgumentError, match=f"got '{backend}'. Set KERAS_BACKEND=jax. In a clone"):
        check_backend(backend)


@pytest.mark.parametrize(
    "versions, error, message",
    [
        ({"keras": "3.11.0", "jax": "0.7.0"}, None, None),
        ({"keras": "3.10.9", "jax": "0.7.0"}, ArgumentError, "keras must be 3.11 or newer"),
        ({"keras": "3.15.1", "jax": "0.6.2"}, ArgumentError, "jax must be 0.7 or newer .* 0.6.2"),
        ({"keras": "3.15.1"}, MissingDependencyError, r"pip install '\.\[jax\]'"),
    ],
    ids=str,
)
def test_versions(monkeypatch, versions, error, message):
    def version(name):
        if name not in versions:
            raise distribution.importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(distribution.importlib.metadata, "version", version)
    if error is None:
        check_backend("jax")
    else:
        with pytest.raises(error, match=message):
            check_backend("jax")
