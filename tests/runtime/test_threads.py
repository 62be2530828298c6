"""Results do not depend on how many threads compute them, nor on who else computes."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.graph.ir import Graph
from tests.graph.graphs import GraphBuilder


def network(rng: np.random.Generator) -> Graph:
    """Large enough that its work is divided by pixels, by channels, and not at all."""
    builder = GraphBuilder(rng, (33, 34, 3))
    same = {"strides": (1, 1), "dilation": (1, 1), "groups": 1, "padding": (1, 1, 1, 1)}
    kernel = {"kernel": builder.reals(130, 3, 3, 3)}
    x = builder.add("conv2d", "images", tensors=kernel, **same)
    for filters, strides in ((130, (1, 1)), (256, (3, 3)), (256, (1, 1)), (512, (4, 4))):
        bits = builder.add("sign", builder.batch_norm(x))
        kernel = {"kernel": builder.signs(filters, 3, 3, builder.shape(bits)[-1])}
        x = builder.add(
            "bconv2d", bits, tensors=kernel, pad_value=0, **{**same, "strides": strides}
        )
        x = builder.batch_norm(builder.add("affine", x, tensors={"bias": builder.reals(filters)}))
        x = builder.add("clip", x, low=-3.0, high=float("inf"))
    pooled = builder.add("global_avg_pool2d", builder.pool("avg_pool2d", x))
    return builder.graph(builder.dense(pooled, 1000, binary=False), x)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return network(np.random.default_rng(1))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((5, 33, 34, 3), np.float32)


@pytest.mark.parametrize("isa", runtime.isas())
def test_every_number_of_threads_gives_the_same_bits(graph, images, isa):
    expected = runtime.Model(graph, threads=1, isa=isa)(images)
    for threads in (2, 3, 8):
        model = runtime.Model(graph, threads=threads, isa=isa)
        for batch in (images, images[:1]):
            for got, want in zip(model(batch), expected, strict=True):
                np.testing.assert_array_equal(got, want[: len(batch)])


@pytest.mark.parametrize("threads", [1, 2])
def test_concurrent_calls_do_not_disturb_each_other(graph, images, threads):
    model = runtime.Model(graph, threads=threads)
    expected = [model(image[None])[0] for image in images]
    wrong: list[int] = []

    def call(worker: int) -> None:
        for i in range(20):
            which = (worker + i) % len(images)
            batch = images[which : which + 1 + i % 2]
            if not np.array_equal(model(batch)[0][0], expected[which][0]):
                wrong.append(which)

    workers = [threading.Thread(target=call, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_other_threads_run_while_the_engine_does(graph, images):
    """The interpreter's lock is free: a counter goes on during one long call."""
    model = runtime.Model(graph, threads=1, isa="portable")
    batch = np.repeat(images, 20, axis=0)
    count, done = 0, threading.Event()

    def work() -> None:
        model(batch)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.wait(0.001):
        count += 1
    worker.join()
    assert count > 5


def _in_child(model: runtime.Model, image: np.ndarray, answers: multiprocessing.Queue) -> None:
    answers.put(model(image)[0])
    del model


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_no_workers_and_works(graph, images):
    model = runtime.Model(graph, threads=3)
    expected = model(images)[0]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(model, images, answers))
    child.start()
    np.testing.assert_array_equal(answers.get(timeout=60), expected)
    child.join(timeout=60)
    assert child.exitcode == 0


def test_subnormal_numbers_are_zero_during_a_run_only(images):
    """They are slow. The caller's own arithmetic keeps them."""
    builder = GraphBuilder(np.random.default_rng(0), (1, 1, 1))
    graph = builder.graph(builder.add("affine", "images", tensors={"scale": np.ones(1)}))
    tiny = np.full((1, 1, 1, 1), 1e-40, np.float32)
    model = runtime.Model(graph, threads=2, passes=())
    assert model(tiny).item() == 0.0
    assert (tiny * np.float32(1)).item() == tiny.item() != 0.0


def test_many_engines_end_with_their_threads(graph, images):
    before = threads_of_process()
    for _ in range(20):
        runtime.Model(graph, threads=4)(images[:1])
    assert threads_of_process() == before


def threads_of_process() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())
