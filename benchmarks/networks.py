"""Writes packed files of the zoo's architectures with seeded random weights for timing.

    python -m benchmarks.networks DIR [NAME ...]

One of them is written a second time, with its real layers in 8 bits.

Needs a Keras backend. The weights do not affect the speed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

import bnnzoo

IN_8_BITS = "birealnet18"


def main() -> None:
    """Writes `DIR/NAME.safetensors` for every name that has no file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=bnnzoo.list_models())
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        write(name, args.folder / f"{name}.safetensors", "float32")
        if name == IN_8_BITS:
            write(name, args.folder / f"{name}_int8.safetensors", "int8")


def write(name: str, path: Path, weights_dtype: str) -> None:
    """Writes one file, unless it exists."""
    if not path.exists():
        keras.utils.set_random_seed(0)
        bnnzoo.convert(bnnzoo.load(name), path, check=0, weights_dtype=weights_dtype)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
