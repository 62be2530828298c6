"""Sources of the same classes agree on their indices."""

from __future__ import annotations

import dataclasses
import hashlib

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


def test_a_refusal_lists_the_names_of_both() -> None:
    match = r"those of the model, got 'x'. Use the same names. It has a, x, not a, b\.$"
    with pytest.raises(DataError, match=match):
        source(("a", "x"), [0, 1]).labelled_as(("a", "b"), "the model")


def test_items_that_are_read_when_asked_for_follow_the_names_too() -> None:
    made = source(("c", "a"), [0, 1, 1])
    streamed = dataclasses.replace(made, items=list(made.items))
    changed = streamed.labelled_as(("a", "b", "c"))
    assert [item.label for item in changed.items] == [2, 0, 0]
    wrong = dataclasses.replace(source(("c", "a"), [0, 2]), items=list(source(None, [2]).items))
    with pytest.raises(DataError, match="class index must be from 0 to 1, got 2"):
        list(wrong.labelled_as(("a", "b", "c")).items)


def test_repr_is_short() -> None:
    assert repr(source(("a", "b"), [0, 1, 1])) == "<Source: made, 3 images, 2 classes>"
    assert repr(source(None, [0])) == "<Source: made, 1 image>"


def test_a_part_is_chosen_by_the_names() -> None:
    whole = source(("a", "b"), [0, 1] * 500)
    rest, part = whole.parted(0.1, seed=3)
    named = {item.id for item in part.items}
    assert {item.id for item in rest.items} == {item.id for item in whole.items} - named
    # 1,000 draws with p = 0.1: four standard deviations are 38.
    assert len(part) == len(named) == pytest.approx(100, abs=38)
    for item in whole.items:
        fraction = int(hashlib.sha256(f"3/{item.id}".encode()).hexdigest(), 16) / 2**256
        assert (item.id in named) == (fraction < 0.1)
    assert part.name == "made (10 %)" and part.class_names == ("a", "b")
    assert [label for _, label, _ in part] == [item.label for item in part.items]
    assert named != {item.id for item in whole.parted(0.1, seed=4)[1].items}
    grown = source(("a", "b"), [0, 1] * 600).parted(0.1, seed=3)[1]
    assert named == {item.id for item in grown.items if int(item.id.split("/")[1]) < 1000}


def test_a_part_is_not_empty() -> None:
    with pytest.raises(DataError, match="must have enough images to take 1 % of .*, got 2 images"):
        source(None, [0, 1]).parted(0.01, seed=0)
