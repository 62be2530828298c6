"""What `--labels` and `--preprocessing` take, in the commands that have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnzoo.errors import DataError

if TYPE_CHECKING:
    from bnnzoo.data.labels import Labels

__all__ = ["LABELS", "NAMES", "PREPROCESSING", "class_names", "names_and_table"]

NAMES = "an id such as imagenet1k, or FILE: a name per line, JSON, or CSV class_name,class_index"
LABELS = f"Class names ({NAMES}), or a CSV with the columns file,class_index: the images' labels."
PREPROCESSING = "Id, or mean=M:std=S[:size=HxW][:crop=F] in [0, 1]; the model's own by default."


def names_and_table(value: str | None) -> tuple[Labels | None, Path | None]:
    """Returns the class names or the table of labelled images that `--labels` names."""
    from bnnzoo.data.tables import names_or_table

    return (None, None) if value is None else names_or_table(value)


def class_names(value: str) -> Labels:
    """Returns the class names that `--labels` names.

    Raises:
        DataError: It is a table of labelled images, or not there.
    """
    names, table = names_and_table(value)
    if names is None:
        raise DataError(f"--labels must be {NAMES}, got {table}. Check its path.")
    return names
