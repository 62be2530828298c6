"""The options `--labels`, `--preprocessing` and `--task`, which several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnzoo.errors import DataError

if TYPE_CHECKING:
    from bnnzoo.data.labels import Labels

__all__ = ["LABELS", "NAMES", "PREPROCESSING", "TASK", "class_names", "names_and_table"]

NAMES = "an id such as imagenet1k, or FILE: a name per line, JSON, or CSV class_name,class_index"
LABELS = f"Class names ({NAMES}), or a CSV with the columns file,class_index: the images' labels."
PREPROCESSING = "Id, or mean=M:std=S[:size=HxW][:crop=F] in [0, 1]; the model's own by default."
TASK = "Task of a model that does not say it: a class per image, or a class per pixel."


def names_and_table(value: str | None) -> tuple[Labels | None, Path | None]:
    """Returns the class names or the path of the table of labelled images in `--labels`."""
    from bnnzoo.data.tables import names_or_table

    return (None, None) if value is None else names_or_table(value)


def class_names(value: str) -> Labels:
    """Returns the class names in `--labels`.

    Raises:
        DataError: `--labels` is a table of labelled images, or does not exist.
    """
    names, table = names_and_table(value)
    if names is None:
        raise DataError(f"--labels must be {NAMES}, got {table}. Check the path.")
    return names
