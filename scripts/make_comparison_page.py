"""Writes docs/comparison.md and its plot from docs/comparison.json and the manifest.

    python scripts/make_comparison_page.py

`benchmarks/comparison.py` writes the JSON. tests/test_docs.py fails if the page is out of date.
Drawing needs Matplotlib (`pip install '.[plots]'`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.manifest import Metric

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "comparison.json"
PAGE = ROOT / "docs" / "comparison.md"
PLOT = ROOT / "docs" / "comparison.svg"

HEAD = """\
---
# Written by scripts/make_comparison_page.py from comparison.json and weights_manifest.json.
hide:
  - toc
---

# Comparison

All networks for ImageNet with 224 × 224 pixels, best accuracy first. The accuracies are published
by the papers' authors or by Larq Zoo and have not been measured by this project. File sizes are
those of packed files written by `bnnzoo convert`, with real-valued layers in float32. Times are for
one image on one thread of an {cpu} with {isa} kernels: minima of interleaved rounds on a shared
machine, measured on {date}.

```sh
python -m benchmarks.networks networks
python -m benchmarks.comparison networks docs/comparison.json
```

![Top-1 accuracy of all networks against the time for one image and against the file size, both on
logarithmic axes. Newer networks are more accurate, larger and slower.](comparison.svg)

The plots name the networks that no other network beats in both accuracy and time, or in both
accuracy and size. Binary MACs multiply two binary values; all others count as other MACs. [What to
use instead](benchmarks.md#what-to-use-instead) compares with float and int8 networks.

| network | top-1 % | published by | binary MACs | other MACs | file | ms |
|---|--:|---|--:|--:|--:|--:|
"""
# Colours that can be read on white and on black.
INK, POINT, NEW = "#808080", "#4c8fd6", "#d6743c"
LARQ = "Larq Zoo documentation"


def page() -> str:
    """Returns the page."""
    data = json.loads(DATA.read_text())
    rows = sorted(_rows(data), key=lambda row: (-(row["top1"] or 0), row["name"]))
    return HEAD.format(**{**data, "isa": data["isa"].upper()}) + "".join(map(_line, rows))


def _rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    records = manifest.load()
    rows = []
    for name, measured in data["networks"].items():
        metrics = [metric for record in records.tags(name) for metric in record.metrics]
        best = max(metrics, key=lambda metric: metric.top1, default=None)
        rows.append({"name": name, "metric": best, "top1": best and best.top1, **measured})
    return rows


def _line(row: dict[str, Any]) -> str:
    module = CATALOG[row["name"]].module
    reference = f"reference/architectures.md#bnnzoo.architectures.{module}.{row['name']}"
    metric: Metric | None = row["metric"]
    cells = [
        f"[`{row['name']}`]({reference})",
        "–" if metric is None else f"{metric.top1:.1f}",
        "–" if metric is None else metric.by,
        f"{row['binary_macs'] / 1e9:.2f} G",
        f"{row['other_macs'] / 1e6:,.0f} M",
        f"{row['file_bytes'] / 1e6:.1f} MB",
        f"{row['ms']:.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def draw() -> None:
    """Draws accuracy against time and against size."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bnnzoo", "font.size": 9})
    import matplotlib.pyplot as plt

    rows = [row for row in _rows(json.loads(DATA.read_text())) if row["top1"]]
    figure, axes = plt.subplots(1, 2, figsize=(10, 5.5), sharey=True, layout="constrained")
    scales = (("ms", 1.0, "ms for one image, 1 thread"), ("file_bytes", 1e-6, "file, MB"))
    for axis, (key, unit, label) in zip(axes, scales, strict=True):
        for label_of, color, own in (("Larq Zoo", POINT, True), ("newer", NEW, False)):
            shown = [row for row in rows if (row["metric"].by == LARQ) == own]
            axis.plot([row[key] * unit for row in shown], [row["top1"] for row in shown], "o",
                      color=color, ms=5, label=label_of)  # fmt: skip
        for row in rows:
            beaten = any(o["top1"] > row["top1"] and o[key] < row[key] for o in rows)
            if not beaten:
                axis.annotate(row["name"], (row[key] * unit, row["top1"]), xytext=(-5, 3),
                              color=INK, fontsize=7, ha="right",
                              textcoords="offset points")  # fmt: skip
        axis.set_xscale("log")
        axis.set_xlabel(label, color=INK)
        axis.tick_params(colors=INK, which="both")
        axis.grid(color=INK, alpha=0.25, which="both", linewidth=0.5)
        for spine in axis.spines.values():
            spine.set_color(INK)
        ticks = matplotlib.ticker.LogLocator(subs=(1, 2, 5))
        axis.xaxis.set_major_locator(ticks)
        axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        values = [row[key] * unit for row in rows]
        axis.set_xlim(min(values) * 0.3, max(values) * 1.5)
    axes[1].legend(loc="lower right", labelcolor=INK, facecolor="none", edgecolor=INK)
    axes[0].set_ylabel("top-1 on ImageNet, % (published)", color=INK)
    figure.savefig(PLOT, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    PAGE.write_text(page())
    draw()
