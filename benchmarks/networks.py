"""Writes packed files of the zoo's architectures with seeded random weights, to be timed.

    python -m benchmarks.networks DIR [NAME ...]

Needs a Keras backend. Speed does not depend on the weights; accuracy has no meaning here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

import bnnzoo


def main() -> None:
    """Writes `DIR/NAME.safetensors` for every name that has no file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=bnnzoo.list_models())
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        path = args.folder / f"{name}.safetensors"
        if not path.exists():
            keras.utils.set_random_seed(0)
            bnnzoo.convert(bnnzoo.load(name), path, check=0)
            print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
