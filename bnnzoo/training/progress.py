"""Shows the progress of a run: a bar of steps, and a line per epoch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["Progress", "Row", "epoch_line", "follow", "shown"]

Row = dict[str, Any]  # of the log


class Progress(NamedTuple):
    """Progress of a run: `step` of `steps` in `epoch` of `epochs`, both counted from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int


def follow(bar: Any) -> Callable[[Progress], None]:
    """Returns a callback that updates a progress bar over all epochs."""

    def advance(progress: Progress) -> None:
        before = (progress.epoch - 1) * progress.steps
        if bar.total is None:
            bar.reset(progress.epochs * progress.steps)
            bar.initial = bar.n = before  # epochs of an earlier run
        bar.set_description(f"epoch {progress.epoch}/{progress.epochs}", refresh=False)
        bar.update(before + progress.step - bar.n)

    return advance


def epoch_line(row: Row) -> str:
    """Returns a row of the log in words."""
    return (
        f"epoch {row['epoch']:>3}  loss {row['loss']:.4f}  top-1 {row['top1']:.2f} %  "
        f"val loss {row['val_loss']:.4f}  val top-1 {row['val_top1']:.2f} %  "
        f"flips {100 * row['flip_ratio']:.2f} %  {row['images_per_second']:,.0f} images/s"
    )


@contextlib.contextmanager
def shown() -> Iterator[tuple[Callable[[Progress], None], Callable[[Row], None]]]:
    """Yields the callbacks that show a run on standard error, or below a notebook's cell."""
    from tqdm.auto import tqdm

    with tqdm(unit=" steps", leave=False, disable=None, delay=0.1) as bar:
        yield follow(bar), lambda row: bar.write(epoch_line(row), file=sys.stderr)
