"""Measures the MACs and time of every network for ImageNet, for docs/comparison.md.

    python -m benchmarks.networks DIR
    python -m benchmarks.comparison DIR docs/comparison.json
    python scripts/make_comparison_page.py

Times are minima of interleaved rounds on one thread; see `benchmarks.peers`.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

import keras

import bnnzoo
from benchmarks.contest import Contestant, run_rounds
from bnnzoo import runtime
from bnnzoo.catalog import CATALOG
from bnnzoo.version import cpu_name

IMAGENET = [name for name, entry in CATALOG.items() if entry.num_classes == 1000]


def macs(name: str) -> dict[str, int]:
    """Returns binary and other multiply-accumulates of a network for one image."""
    counts = bnnzoo.summary(bnnzoo.load(name)).macs_by_bits
    keras.backend.clear_session()
    return {"binary_macs": counts.get(1, 0), "other_macs": sum(counts.values()) - counts.get(1, 0)}


def main() -> None:
    """Writes the measurements of all networks that have a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("json", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    files = {name: args.folder / f"{name}.safetensors" for name in IMAGENET}
    files = {name: path for name, path in files.items() if path.exists()}
    contestants = [Contestant(name, "bnnzoo", path, 1) for name, path in files.items()]
    times = run_rounds(contestants, args.rounds, args.runs)
    result = {
        "cpu": cpu_name(),
        "isa": runtime.isas()[0],
        "date": date.today().isoformat(),
        "networks": {
            name: {**macs(name), "file_bytes": path.stat().st_size, "ms": round(times[name], 2)}
            for name, path in files.items()
        },
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
