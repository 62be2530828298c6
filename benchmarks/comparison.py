"""Measures the time and packed size of every network for ImageNet, for docs/models.md.

    python -m benchmarks.networks DIR
    python -m benchmarks.comparison DIR docs/comparison.json
    python scripts/make_models_page.py

Times are minima of interleaved rounds on one thread; see `benchmarks.peers`.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from benchmarks.contest import Contestant, run_rounds
from bnnzoo import runtime
from bnnzoo.catalog import CATALOG
from bnnzoo.version import cpu_name

IMAGENET = [name for name, entry in CATALOG.items() if entry.num_classes == 1000]


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
            name: {"file_bytes": path.stat().st_size, "ms": round(times[name], 2)}
            for name, path in files.items()
        },
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
