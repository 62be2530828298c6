"""Sources of the same classes agree on their indices."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.source import Source
from bnnzoo.errors import DataError


def source(names: tuple[str, ...] | None, labels: list[int]) -> Source:
    images = np.zeros((len(labels), 2, 2), np.uint8)
    return from_arrays(images, labels, name="made", class_names=names)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("a", "b"), ("a", "b"), [0, 1, 1]),
        (("a", "c"), ("a", "b", "c"), [0, 2, 2]),
        (("c", "a"), ("a", "b", "c"), [2, 0, 0]),
        (("t_shirt_top", "Bag"), ("Bag", "T-shirt/top"), [1, 0, 0]),
        (None, ("a", "b"), [0, 1, 1]),
        (("a", "b"), None, [0, 1, 1]),
    ],
    ids=str,
)
def test_indices_follow_the_names(
    ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None, expected: list[int]
) -> None:
    changed = source(ours, [0, 1, 1]).labelled_as(theirs)
    assert [item.label for item in changed.items] == expected
    assert changed.class_names == (theirs if ours and theirs else ours)


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="classes must be those of the training images, got 'x'"):
        source(("a", "x"), [0, 1]).labelled_as(("a", "b"))
