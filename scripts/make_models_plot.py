"""Draws docs/models.svg: accuracy on ImageNet against time, size and operations.

    python scripts/make_models_plot.py

`benchmarks/comparison.py` measures the times. Needs Matplotlib: `pip install '.[plots]'`.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from bnnzoo.catalog import CATALOG
from bnnzoo.result_table import results

DOCS = Path(__file__).parents[1] / "docs"
MEASURED = json.loads((DOCS / "comparison.json").read_text())["networks"]
# Colours that can be read on white and on black.
INK, LARQ, NEWER = "#808080", "#4c8fd6", "#d6743c"
# Panel: label of the axis, and the value of a network on it.
PANELS = (
    ("ms for one image, 1 thread", lambda name: MEASURED[name]["ms"]),
    ("packed file, MB", lambda name: MEASURED[name]["file_bytes"] / 1e6),
    ("binary MACs, billions", lambda name: CATALOG[name].binary_macs / 1e9),
)


def main() -> None:
    """Draws the plot."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bnnzoo", "font.size": 9})
    best = {}
    for row in results():
        if row.architecture in MEASURED and row.top1 is not None:
            best[row.architecture] = max(best.get(row.architecture, row), row, key=lambda r: r.top1)
    figure, axes = plt.subplots(1, 3, figsize=(13, 5.5), sharey=True, layout="constrained")
    for axis, (label, value) in zip(axes, PANELS, strict=True):
        points = {n: (value(n), row.top1) for n, row in best.items() if value(n)}
        for kind, color, is_larq in (("Larq Zoo", LARQ, True), ("newer", NEWER, False)):
            shown = [points[n] for n in points if best[n].by.startswith("Larq Zoo") == is_larq]
            axis.plot(*zip(*shown, strict=True), "o", color=color, ms=5, label=kind)
        for name, (x, y) in points.items():
            if not any(other_y > y and other_x < x for other_x, other_y in points.values()):
                axis.annotate(
                    name, (x, y), xytext=(-5, 3), color=INK, fontsize=7, ha="right",
                    textcoords="offset points",
                )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xlabel(label, color=INK)
        axis.tick_params(colors=INK, which="both")
        axis.grid(color=INK, alpha=0.25, which="both", linewidth=0.5)
        for spine in axis.spines.values():
            spine.set_color(INK)
        axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        values = [x for x, _ in points.values()]
        axis.set_xlim(min(values) * 0.25, max(values) * 1.5)
    axes[-1].legend(loc="lower right", labelcolor=INK, facecolor="none", edgecolor=INK)
    axes[0].set_ylabel("top-1 on ImageNet, % (published)", color=INK)
    figure.savefig(DOCS / "models.svg", transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
