"""A network works in a process that ends, forks, is short of threads, or sends it to another."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import bnnzoo
from bnnzoo import runtime

FILE = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet.fashion_mnist_small.safetensors"

BEGIN = """
import os, resource, signal, sys, threading
from pathlib import Path
import numpy as np
from bnnzoo import runtime
path, threads = sys.argv[1], int(sys.argv[2])
model = runtime.load(path, threads=threads)
images = np.random.default_rng(0).standard_normal((8, *model.input_shape), np.float32)
expected = model(images)
"""
DAEMON = """
begun = threading.Event()
def forever():
    while True:
        model(images)
        begun.set()
threading.Thread(target=forever, daemon=True).start()
begun.wait()
"""
# Other threads take turns with contexts, sections and workers while each child is made. So small a
# network does little else.
FORKS = """
from bnnzoo.graph.ir import Graph, Node
small = Graph({"x": (1, 1, 4)}, (Node("y", "tanh", ("x",)),), ("y",), {})
model = runtime.Model(small, threads=threads)
images = np.random.default_rng(0).standard_normal((4, 1, 1, 4), np.float32)
expected = model(images)
def forever():
    while not ended:
        model(images[:1])
        model(images)
ended = False
others = [threading.Thread(target=forever) for _ in range(2)]
for other in others:
    other.start()
for _ in range(300):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = all(np.array_equal(model(images[:n]), expected[:n]) for n in (1, 4))
        os._exit(0 if good else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        print("a child ended with", code)
        break
ended = True
for other in others:
    other.join()
"""
# The memory of the parent's threads is given back to the system when enough others have ended.
CHILD_WITH_THREADS = """
child = os.fork()
if child == 0:
    signal.alarm(30)
    for _ in range(2):
        gate = threading.Barrier(20)
        others = [threading.Thread(target=gate.wait) for _ in range(20)]
        [other.start() for other in others]
        [other.join() for other in others]
    del model
    grandchild = os.fork()
    if grandchild:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    model = runtime.load(path, threads=threads)
    os._exit(0 if np.array_equal(model(images), expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
# Each thread needs megabytes for its stack.
FEW_THREADS = """
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000,) * 2)
few = runtime.load(path, threads=1000)
print(few.threads, all(np.array_equal(few(images[:n]), expected[:n]) for n in (1, 8)))
"""


def run(script: str, threads: int) -> str:
    """Returns what a process prints that has a network on some threads."""
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + script, FILE, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("threads", [1, 2])
def test_a_daemon_thread_may_predict_while_the_process_ends(threads):
    assert run(DAEMON, threads) == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_child_forked_while_others_predict_predicts_the_same(threads):
    assert run(FORKS, threads) == ""


def test_a_child_may_drop_the_network_of_its_parent():
    assert run(CHILD_WITH_THREADS, 12) == "0\n"


def test_a_network_runs_on_the_threads_that_the_system_grants():
    threads, same = run(FEW_THREADS, 1).split()
    assert 1 <= int(threads) < 1000
    assert same == "True"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 28, 28, 1), np.float32)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
@pytest.mark.parametrize("settings", [{}, {"threads": 3, "isa": "portable"}])
def test_copies_and_pickles_compute_the_same(images, again, settings):
    model = runtime.load(FILE, **settings)
    copied = again(model)
    np.testing.assert_array_equal(copied(images), model(images))
    assert (copied.info, copied.isa, copied.threads) == (model.info, model.isa, model.threads)


def test_a_pickle_chooses_threads_and_instruction_set_where_it_is_opened(monkeypatch):
    pickles = [
        pickle.dumps(runtime.load(FILE)),
        pickle.dumps(runtime.load(FILE, 2, runtime.isas()[0])),
    ]
    monkeypatch.setenv("BNNZOO_NUM_THREADS", "5")
    monkeypatch.setenv("BNNZOO_FORCE_ISA", "portable")
    chosen, given = map(pickle.loads, pickles)
    assert (chosen.threads, chosen.isa) == (5, "portable")
    assert (given.threads, given.isa) == (2, runtime.isas()[0])


def test_a_pickle_keeps_the_passes(images):
    graph = runtime.load(FILE).graph
    model = runtime.Model(graph, passes=())
    names = [node.name for node in graph.nodes]
    values = pickle.loads(pickle.dumps(model)).run_values(images, names)
    for name, value in model.run_values(images, names).items():
        np.testing.assert_array_equal(values[name], value)


def test_a_pickle_is_not_larger_than_the_file():
    assert len(pickle.dumps(runtime.load(FILE))) <= FILE.stat().st_size


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_process_pool_take_a_network(images, start):
    model = runtime.load(FILE, threads=2)
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
        np.testing.assert_array_equal(pool.submit(model, images).result(60), model(images))
