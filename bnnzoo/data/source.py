"""The interface of data sets: a `Source` of labelled, undecoded `Item`s."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels
from bnnzoo.data.labels import Labels
from bnnzoo.errors import DataError

__all__ = ["Item", "Skipped", "Source"]


@dataclass(frozen=True)
class Item:
    """One labelled image that is not decoded yet.

    Attributes:
        id: File name relative to the data set, or its index.
        label: Class index.
        read: Returns the pixels, uint8 `(h, w)` or `(h, w, c)`; raises DataError if the image is
            broken.
    """

    id: str
    label: int
    read: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Skipped:
    """An image that was left out with `skip_bad`, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A data set: its name, its length, and its items in a fixed order.

    Iterating decodes one image after the other: `(uint8 image, label, id)`. `prefetch.batches`
    decodes ahead in threads.

    Attributes:
        name: Name of the data set in results, such as `keras:mnist:test`.
        length: Number of items.
        items: The items; they can be iterated more than once. Those of `open_source` can also be
            indexed, as training requires.
        class_names: Name of each class, if the data set has them.
        skipped: What `skip_bad` left out when the data set was opened.
        counted: Whether the indices are those of sorted folders, so that the classes have to be
            matched to those of a model by name.
    """

    name: str
    length: int
    items: Iterable[Item]
    class_names: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    counted: bool = False

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int, str]]:
        for item in self.items:
            yield item.read(), item.label, item.id

    def count_classes(self) -> int:
        """Returns the number of class names, or without them, the highest label plus 1."""
        if self.class_names:
            return len(self.class_names)
        return 1 + max((item.label for item in self.items), default=-1)

    def within(self, num_classes: int, skip_bad: bool = False) -> Source:
        """Returns the source with every label checked to be below `num_classes`.

        Args:
            num_classes: Number of classes of the model.
            skip_bad: Leave out items whose label is out of range, instead of raising.

        Raises:
            DataError: A label is out of range. A streamed data set raises it while it is read.
        """
        if not isinstance(self.items, tuple):
            check = functools.partial(_checked, num_classes=num_classes)
            return replace(self, items=_Changed(self.items, check))
        good = []
        skipped = list(self.skipped)
        for item in self.items:
            problem = _label_problem(item, num_classes)
            if problem is None:
                good.append(item)
            elif skip_bad:
                skipped.append(Skipped(item.id, problem))
            else:
                raise DataError(problem)
        return replace(self, items=tuple(good), length=len(good), skipped=tuple(skipped))

    def labelled_as(self, classes: Labels | None, whose: str = "the training images") -> Source:
        """Returns the source with the class indices of a model or source that has these classes.

        Folders are numbered in sorted order: if some are missing, the others have wrong indices.

        Args:
            classes: Names of the other's classes, or their id. None keeps the indices.
            whose: Owner of these classes, for errors.

        Raises:
            DataError: A class of this source is not among them.
        """
        if classes is None or self.class_names is None:
            return self
        names = labels.names(classes)
        if self.class_names == names:
            return self
        indices = labels.indices(self.class_names, classes)
        strange = [n for n, index in zip(self.class_names, indices, strict=True) if index is None]
        if strange:
            raise DataError(
                f"{self.name}: its classes must be those of {whose}, got {strange[0]!r}. Use the "
                f"same names. It has {labels.shown(self.class_names)}, not {labels.shown(names)}."
            )
        change = functools.partial(_labelled, indices=[index or 0 for index in indices])
        if isinstance(self.items, tuple):
            return replace(self, items=tuple(map(change, self.items)), class_names=names)
        return replace(self, items=_Changed(self.items, change), class_names=names)


@dataclass(frozen=True)
class _Changed:
    """Items that are changed or checked when they are accessed."""

    items: Iterable[Item]
    change: Callable[[Item], Item]

    def __iter__(self) -> Iterator[Item]:
        return map(self.change, self.items)

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Item:
        """Returns an item, if the items can be indexed."""
        return self.change(self.items[index])  # type: ignore[index]


def _labelled(item: Item, indices: Sequence[int]) -> Item:
    return replace(item, label=indices[_checked(item, len(indices)).label])


def _checked(item: Item, num_classes: int) -> Item:
    problem = _label_problem(item, num_classes)
    if problem is not None:
        raise DataError(problem)
    return item


def _label_problem(item: Item, num_classes: int) -> str | None:
    if 0 <= item.label < num_classes:
        return None
    return (
        f"{item.id}: class index must be from 0 to {num_classes - 1}, got {item.label}. "
        "Check the labels, or choose a model of that data set."
    )
