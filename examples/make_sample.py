"""Writes bnnzoo/data/samples/fashion_mnist.npz: the first 200 test images of each class.

    python examples/make_sample.py [--data-dir DIR] [--output FILE]

DIR contains fashion_mnist.npz with x_test and y_test in the original order. It defaults to the
folder that `keras:fashion_mnist` reads. Images keep the order of the test set. The same input and
the same version of zlib give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from bnnzoo.data.arrays import data_folder

PER_CLASS = 200
SAMPLE = Path(__file__).parents[1] / "bnnzoo" / "data" / "samples" / "fashion_mnist.npz"


def main() -> None:
    """Reads the whole test set and writes the sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=data_folder())
    parser.add_argument("--output", type=Path, default=SAMPLE)
    arguments = parser.parse_args()
    with np.load(arguments.data_dir / "fashion_mnist.npz", allow_pickle=False) as archive:
        images, labels = archive["x_test"], archive["y_test"]
    first = [np.flatnonzero(labels == label)[:PER_CLASS] for label in range(10)]
    index = np.sort(np.concatenate(first)).astype("uint16")
    np.savez_compressed(
        arguments.output, x_test=images[index], y_test=labels[index].astype("uint8"), index=index
    )
    content = arguments.output.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    print(f"{arguments.output}: {len(content):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
