"""Classifies images on a Dask cluster with a packed network.

    pip install 'dask[distributed]'
    python examples/dask_inference.py binarynet.safetensors photos/*.png > scores.csv

The network is sent to each worker once. With `--scheduler`, an existing cluster is used, otherwise
local processes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from dask.distributed import Client

from bnnzoo import runtime
from bnnzoo.data import images

BATCH = 32

Row = tuple[str, str, float]


def classify_batch(network: runtime.Model, files: list[str]) -> list[Row]:
    """Returns the path, class and score of each image."""
    scores = network.predict([images.read_image(Path(file)) for file in files])
    names = network.labels or range(scores.shape[1])
    best = scores.argmax(axis=1)
    return [
        (file, str(names[index]), float(row[index]))
        for file, index, row in zip(files, best, scores, strict=True)
    ]


def classify(client: Client, network: runtime.Model, files: list[str]) -> list[Row]:
    """Returns the rows of all images, in their order."""
    batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    sent = client.scatter(network, broadcast=True)
    futures = [client.submit(classify_batch, sent, batch) for batch in batches]
    return [row for rows in client.gather(futures) for row in rows]


def main() -> None:
    """Classifies the files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--scheduler", help="address of a cluster, as tcp://host:8786")
    args = parser.parse_args()
    network = runtime.load(args.network, threads=1)
    with Client(args.scheduler) if args.scheduler else Client(threads_per_worker=1) as client:
        csv.writer(sys.stdout).writerows(classify(client, network, args.images))


if __name__ == "__main__":
    main()
