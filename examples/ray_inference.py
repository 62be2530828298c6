"""Classifies images on a Ray cluster with a packed network.

    pip install 'ray[data]'
    python examples/ray_inference.py binarynet.safetensors photos/*.png --out scores

Each worker takes a core and gets the network once. Leave cores for reading the images.
"""

from __future__ import annotations

import argparse
from typing import Any

import ray
import ray.data

from bnnzoo import runtime


class Classifier:
    """A network in a worker: Ray calls it with batches of rows.

    Args:
        network: A packed network. Ray pickles it once, into its object store.
    """

    def __init__(self, network: Any) -> None:
        self.network = ray.get(network)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the path, class and score of each image of a batch."""
        scores = self.network.predict(list(batch["image"]))
        best = scores.argmax(axis=1)
        names = self.network.labels or range(scores.shape[1])
        return {
            "path": batch["path"],
            "class": [str(names[index]) for index in best],
            "score": scores.max(axis=1),
        }


def classify(network: runtime.Model, files: list[str], workers: int) -> Any:
    """Returns a Ray data set with a row per image."""
    images = ray.data.read_images(files, include_paths=True)
    return images.map_batches(
        Classifier,
        fn_constructor_args=(ray.put(network),),
        batch_size=32,
        concurrency=workers,
    )


def main() -> None:
    """Classifies the files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", required=True, help="folder for Parquet files")
    args = parser.parse_args()
    network = runtime.load(args.network, threads=1)
    classify(network, args.images, args.workers).write_parquet(args.out)


if __name__ == "__main__":
    main()
