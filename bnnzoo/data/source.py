"""The interface of data sets: a `Source` of labelled, undecoded `Item`s."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels
from bnnzoo.data.labels import Labels
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.plain_text import counted

__all__ = ["IGNORED", "Item", "Skipped", "Source"]

# Label of the pixels of a mask that have no class.
IGNORED = 255


@dataclass(frozen=True)
class Item:
    """One image, with a label or a mask, that is not decoded yet.

    Attributes:
        id: File name relative to the data set, or its index.
        label: Class index; 0 if there is a mask.
        read: Returns the pixels, uint8 `(h, w)` or `(h, w, c)`; raises DataError if the image is
            broken.
        mask: Returns the class index of each pixel, uint8 `(h, w)`, or `IGNORED`; raises DataError
            if the mask is broken. None for an image with one label.
    """

    id: str
    label: int
    read: Callable[[], NDArray[np.uint8]]
    mask: Callable[[], NDArray[np.uint8]] | None = None

    def read_both(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Returns the pixels and the mask, if there is one.

        Raises:
            DataError: One of them is broken, or their sizes differ.
        """
        image = self.read()
        if self.mask is None:
            return image, None
        mask = self.mask()
        if mask.shape != image.shape[:2]:
            (h, w), (height, width) = mask.shape, image.shape[:2]
            raise DataError(
                f"{self.id}: a mask must have the size of its image, {width} x {height}, got "
                f"{w} x {h}. Resize it with nearest neighbours."
            )
        return image, mask


@dataclass(frozen=True)
class Skipped:
    """An image that was left out with `skip_bad`, and why."""

    id: str
    reason: str


@dataclass(frozen=True, repr=False)
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
        has_masks: Whether images have a class per pixel instead of one label.
    """

    name: str
    length: int
    items: Iterable[Item]
    class_names: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    counted: bool = False
    has_masks: bool = False

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        classes = f", {counted(len(self.class_names), 'class')}" if self.class_names else ""
        return f"<Source: {self.name}, {counted(self.length, 'image')}{classes}>"

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int, str]]:
        for item in self.items:
            yield item.read(), item.label, item.id

    def shard(self, index: int, count: int) -> Source:
        """Returns every `count`-th item, from the one at `index`.

        Raises:
            ArgumentError: There is no such shard.
        """
        if not 0 <= index < count:
            raise ArgumentError(f"shard must be I/N with 0 <= I < N, got {index}/{count}.")
        if not hasattr(self.items, "__getitem__"):
            raise DataError(
                f"{self.name} must be a data set that can be indexed to be divided. Evaluate it "
                "without --shard."
            )
        indices = tuple(range(index, self.length, count))
        return replace(self, items=_Chosen(self.items, indices), length=len(indices))

    def parted(self, share: float, seed: int) -> tuple[Source, Source]:
        """Returns two sources: most of the items, and about `share` of them.

        An item is in the second one if the SHA-256 of `SEED/ID`, as a fraction of all such numbers,
        is below the share. More items do not move those that are there.

        Raises:
            DataError: One of the two would be empty.
        """
        limit = share * 2**256
        rest: list[int] = []
        part: list[int] = []
        for index, item in enumerate(self.items):
            digest = hashlib.sha256(f"{seed}/{item.id}".encode(errors="surrogateescape")).digest()
            (part if int.from_bytes(digest, "big") < limit else rest).append(index)
        if not (rest and part):
            raise DataError(
                f"{self.name} must have enough images to take {100 * share:g} % of them, got "
                f"{counted(self.length, 'image')}. Take another share, or add images."
            )
        held = f"{self.name} ({100 * share:g} %)"
        return (
            replace(self, items=_Chosen(self.items, tuple(rest)), length=len(rest)),
            replace(self, items=_Chosen(self.items, tuple(part)), length=len(part), name=held),
        )

    def count_classes(self) -> int:
        """Returns the number of class names, or without them, the highest label plus 1.

        All masks are read for this.
        """
        if self.class_names:
            return len(self.class_names)
        return 1 + max(map(_highest_label, self.items), default=-1)

    def within(self, num_classes: int, skip_bad: bool = False) -> Source:
        """Returns the source with every label checked to be below `num_classes`.

        Args:
            num_classes: Number of classes of the model.
            skip_bad: Leave out items whose label is out of range, instead of raising.

        Raises:
            DataError: A label is out of range. A streamed data set raises it while it is read, and
                so does a mask.
        """
        if self.has_masks:
            within = functools.partial(_masked_within, num_classes=num_classes)
            return replace(self, items=_Changed(self.items, within))
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
        if self.has_masks:
            raise DataError(
                f"{self.name}: the class names must be those of {whose}, got "
                f"{labels.shown(self.class_names)}, not {labels.shown(names)}. The masks have "
                "indices: use the same names in the same order."
            )
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
class _Chosen:
    """Some of the items, which can be indexed."""

    items: Any
    indices: tuple[int, ...]

    def __iter__(self) -> Iterator[Item]:
        return (self.items[index] for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Item:
        """Returns an item."""
        item: Item = self.items[self.indices[index]]
        return item


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


def _highest_label(item: Item) -> int:
    return item.label if item.mask is None else _highest(item.mask())


def _highest(mask: NDArray[np.uint8]) -> int:
    return int(mask.max(where=mask != IGNORED, initial=0))


def _masked_within(item: Item, num_classes: int) -> Item:
    assert item.mask is not None
    return replace(item, mask=functools.partial(_checked_mask, item, num_classes))


def _checked_mask(item: Item, num_classes: int) -> NDArray[np.uint8]:
    assert item.mask is not None
    mask = item.mask()
    highest = _highest(mask)
    if highest >= num_classes:
        raise DataError(
            f"{item.id}: labels of a mask must be from 0 to {num_classes - 1}, or {IGNORED} for no "
            f"class, got {highest}. Check the masks, or choose a model of that data set."
        )
    return mask


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
