"""Compares `bnnzoo evaluate FILE --data FOLDER` with its parts, each measured separately.

    python -m benchmarks.evaluation FILE FOLDER [--labels CSV] [--rounds N]

Decoding with preprocessing, the engine, and `evaluate`, which runs both, take turns on the same
cores. The best of all rounds counts for each. If neither part waited for the other and they shared
the cores without loss, `evaluate` would reach 1 / (t_decode + t_engine) images per second.
"""

from __future__ import annotations

import argparse
import os
import time

from bnnzoo import evaluate, runtime
from bnnzoo.data import Source, open_source, preprocessing
from bnnzoo.data.prefetch import batches
from bnnzoo.data.preprocessing import Preprocessing

BATCH = 32


def decode_alone(source: Source, prepare: Preprocessing) -> float:
    """Returns images per second of decoding and preprocessing on all cores."""
    start = time.perf_counter()
    for _ in batches(source, prepare, BATCH):
        pass
    return len(source) / (time.perf_counter() - start)


def engine_alone(source: Source, prepare: Preprocessing, model: runtime.Model) -> float:
    """Returns images per second of the engine on all cores, with the same batch repeatedly."""
    batch = next(batches(source, prepare, BATCH, limit=BATCH))
    model(batch.images)
    rounds = -(-len(source) // BATCH)
    start = time.perf_counter()
    for _ in range(rounds):
        model(batch.images)
    return rounds * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file")
    parser.add_argument("folder")
    parser.add_argument("--labels", help="CSV with the columns file,class_index")
    parser.add_argument("--preprocessing", help="for a file that names none")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    model = runtime.load(args.file)
    prepare = preprocessing.get(args.preprocessing or model.info.preprocessing)
    source = open_source(args.folder, labels_csv=args.labels)
    best = {"decoding": 0.0, "engine": 0.0, "evaluate": 0.0}
    for _ in range(args.rounds):
        whole = evaluate(args.file, source, preprocessing=prepare, batch_size=BATCH)
        speeds = (
            decode_alone(source, prepare),
            engine_alone(source, prepare, model),
            whole.images_per_second,
        )
        best = {name: max(best[name], speed) for name, speed in zip(best, speeds, strict=True)}
    for name, speed in best.items():
        print(f"{name:9} {speed:8.1f} images/s")
    ideal = 1 / (1 / best["decoding"] + 1 / best["engine"])
    print(f"of {ideal:.1f} images/s: {100 * best['evaluate'] / ideal:.1f} %")
    print(f"{len(os.sched_getaffinity(0))} cores, {len(source)} images")


if __name__ == "__main__":
    main()
