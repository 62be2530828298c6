"""What every data set looks like from outside: a `Source` of labelled, undecoded `Item`s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels
from bnnzoo.errors import DataError

__all__ = ["Item", "Skipped", "Source"]


@dataclass(frozen=True)
class Item:
    """One labelled image that is not decoded yet.

    Attributes:
        id: File name relative to the data set, or its place in it.
        label: Class index.
        read: Returns the pixels, uint8 `(h, w)` or `(h, w, c)`; a DataError if they are broken.
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
    """A data set: its name, its length, and its items in an order that never changes.

    Iterating decodes one image after the other: `(uint8 image, label, id)`. `prefetch.batches`
    decodes ahead in threads.

    Attributes:
        name: How results name it, as in `keras:mnist:test`.
        length: Number of items.
        items: The items; iterable more than once. Those of `open_source` have places too, so
            that training can take them in any order.
        class_names: Name of each class, where the data set has them.
        skipped: What `skip_bad` left out when the data set was opened.
    """

    name: str
    length: int
    items: Iterable[Item]
    class_names: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int, str]]:
        for item in self.items:
            yield item.read(), item.label, item.id

    def count_classes(self) -> int:
        """Returns the number of class names; without them one more than the highest label."""
        if self.class_names:
            return len(self.class_names)
        return 1 + max((item.label for item in self.items), default=-1)

    def within(self, num_classes: int, skip_bad: bool = False) -> Source:
        """Returns the source with every label checked to be below `num_classes`.

        Args:
            num_classes: Number of classes of the model.
            skip_bad: Leave out items whose label is not, instead of raising.

        Raises:
            DataError: A label is out of range. A streamed data set raises while it is read.
        """
        if not isinstance(self.items, tuple):
            return replace(self, items=_CheckedItems(self.items, num_classes))
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

    def labelled_as(self, class_names: tuple[str, ...] | None) -> Source:
        """Returns the source with the class indices of another one that has these classes.

        Folders count their classes in sorted order: where some of them are missing, the others
        would have wrong indices.

        Args:
            class_names: Names of the other's classes. Where one has none, indices stay.

        Raises:
            DataError: A class of this source is not among them.
        """
        if class_names is None or self.class_names in (None, class_names):
            return self
        assert self.class_names is not None
        index = {labels.normalise(name): i for i, name in enumerate(class_names)}
        strange = [name for name in self.class_names if labels.normalise(name) not in index]
        if strange or not isinstance(self.items, tuple):
            raise DataError(
                f"{self.name}: its classes must be those of the training images, got "
                f"{(strange or self.class_names)[0]!r}. Name them alike."
            )
        places = [index[labels.normalise(name)] for name in self.class_names]
        items = tuple(replace(item, label=places[item.label]) for item in self.items)
        return replace(self, items=items, class_names=class_names)


@dataclass(frozen=True)
class _CheckedItems:
    """Items that are read when they are asked for; their labels can only be checked then."""

    items: Iterable[Item]
    num_classes: int

    def __iter__(self) -> Iterator[Item]:
        return map(self._checked, self.items)

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]

    def __getitem__(self, place: int) -> Item:
        """Returns an item, where the items have places."""
        return self._checked(self.items[place])  # type: ignore[index]

    def _checked(self, item: Item) -> Item:
        problem = _label_problem(item, self.num_classes)
        if problem is not None:
            raise DataError(problem)
        return item


def _label_problem(item: Item, num_classes: int) -> str | None:
    if 0 <= item.label < num_classes:
        return None
    return (
        f"{item.id}: class index must be within 0 to {num_classes - 1}, got {item.label}. "
        "Check the labels, or choose a model of that data set."
    )
