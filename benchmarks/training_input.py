"""Times the input of a training step: reading, decoding, random cropping and resizing.

    python -m benchmarks.training_input FOLDER [--side 224] [--workers N ...]

FOLDER is anything that `bnnzoo evaluate --data` accepts, including a folder with a labels.csv.
Nothing is trained, so the result is the upper limit of training with these threads. The best of
several rounds counts, because there may be other load on the machine. That hardly affects the CPU
time per image.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from bnnzoo.data import open_source
from bnnzoo.training import Augmentation
from bnnzoo.training.images.crops import Drawing
from bnnzoo.training.images.image_arrays import training_codes
from bnnzoo.training.images.image_files import ImageFiles, open_files


def time_epoch(images: ImageFiles, batch_size: int, epoch: int) -> tuple[float, float]:
    """Returns images per second and CPU milliseconds per image of ImageNet's augmentation."""
    augmentation = Augmentation(flip=True, min_area=0.08)
    codes = training_codes(np.arange(len(images)), augmentation, seed=0, epoch=epoch)
    drawing = Drawing(augmentation.min_area, seed=0, epoch=epoch)
    start, cpu = time.perf_counter(), time.process_time()
    with images.feed(codes, batch_size, drawing) as data:
        made = sum(len(labels) for _, labels in data["x"])
    cpu_ms = 1000 * (time.process_time() - cpu) / made
    return made / (time.perf_counter() - start), cpu_ms


def main() -> None:
    """Prints a line per number of threads; with `--json` writes all rounds to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", metavar="FOLDER")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    images = open_files(open_source(args.data), "larq_in1k", (args.side, args.side, 3))
    rounds: dict[str, list[tuple[float, float]]] = {str(n): [] for n in args.workers}
    for epoch in range(args.rounds):
        for workers in args.workers:
            made = dataclasses.replace(images, workers=workers)
            rounds[str(workers)].append(time_epoch(made, args.batch_size, epoch))
    for workers, found in rounds.items():
        speed, cpu_ms = max(found)[0], min(ms for _, ms in found)
        print(f"{workers} threads: {speed:,.0f} images/s, {cpu_ms:.2f} ms of a core per image")
    if args.json:
        result = {"n": len(images), "side": args.side, "images_per_second_and_cpu_ms": rounds}
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
