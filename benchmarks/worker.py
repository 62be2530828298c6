"""Times one network in a separate process, a few runs per request.

    python worker.py ENGINE FILE --threads 1 --cpus 0

ENGINE is `bnnzoo`, `lce`, `litert` or `ort`. The worker loads the file, runs it three times, and
prints "ready". Then it reads numbers of runs, one per line, and answers each with the milliseconds
of the fastest run. It imports only its engine and NumPy, so each engine can have its own
environment.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import numpy as np


def bnnzoo_step(path: str, threads: int, batch: int) -> Callable[[], object]:
    """Returns a call of bnnzoo's runtime. BNNZOO_FORCE_ISA selects the instruction set."""
    from bnnzoo import runtime

    model = runtime.load(path, threads=threads)
    x = images((batch, *model.input_shape))
    return lambda: model(x)


def lce_step(path: str, threads: int, batch: int) -> Callable[[], object]:
    """Returns a call of Larq Compute Engine's interpreter, which takes one image at a time."""
    from pathlib import Path

    import larq_compute_engine as lce

    interpreter = lce.testing.Interpreter(Path(path).read_bytes(), num_threads=threads)
    x = images((1, 224, 224, 3))

    def step() -> None:
        for _ in range(batch):
            interpreter.predict(x)

    return step


def litert_step(path: str, threads: int, batch: int) -> Callable[[], object]:
    """Returns a call of LiteRT with XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    x = images(tuple(detail["shape"]))
    if detail["dtype"] == np.int8:
        x = 127 * x
    interpreter.set_tensor(detail["index"], x.astype(detail["dtype"]))

    def step() -> None:
        for _ in range(batch):
            interpreter.invoke()

    return step


def ort_step(path: str, threads: int, batch: int) -> Callable[[], object]:
    """Returns a call of ONNX Runtime. The batch size of the file must be `batch`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (detail,) = session.get_inputs()
    x = images(tuple(detail.shape))
    assert len(x) == batch
    return lambda: session.run(None, {detail.name: x})


def images(shape: tuple[int, ...]) -> np.ndarray:
    """Returns seeded images between -1 and +1."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


ENGINES = {"bnnzoo": bnnzoo_step, "lce": lce_step, "litert": litert_step, "ort": ort_step}


def fastest_ms(step: Callable[[], object], runs: int, clock: Callable[[], float]) -> float:
    """Returns the minimum time of some runs."""
    times = []
    for _ in range(runs):
        start = clock()
        step()
        times.append(clock() - start)
    return 1e3 * min(times)


def main() -> None:
    """Answers requests until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--cpus", type=int, nargs="+", help="cores that the process may use")
    parser.add_argument("--cpu-time", action="store_true", help="count the process's CPU time")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    if args.cpus:
        os.sched_setaffinity(0, args.cpus)
    # Libraries print to standard output, so the answers use a copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    step = ENGINES[args.engine](args.file, args.threads, args.batch)
    fastest_ms(step, 3, clock)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(fastest_ms(step, int(line), clock), file=answers, flush=True)


if __name__ == "__main__":
    main()
