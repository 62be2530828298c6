"""Claim: class names stand at the class index of their data set."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bnnzoo.data import labels
from bnnzoo.errors import ArgumentError

CLASSES = {"cifar10": 10, "cifar100": 100, "fashion_mnist": 10, "imagenet1k": 1000, "mnist": 10}
PHOTO_LABELS = Path(__file__).parents[3] / "shared" / "data" / "imagenet_val1300_labels.csv"
# Two classes whose names are longer in bnnzoo, because other classes have the bare word.
LONGER = {134: "crane bird", 639: "maillot tank suit"}


def test_every_label_set_is_in_the_table() -> None:
    assert labels.list_labels() == sorted(CLASSES)


@pytest.mark.parametrize("id", CLASSES)
def test_names_are_complete_and_differ(id: str) -> None:
    assert len(labels.names(id)) == CLASSES[id]
    assert len(set(labels.names(id))) == CLASSES[id]
    assert sorted(set(labels.index_of(id).values())) == list(range(CLASSES[id]))


@pytest.mark.parametrize(
    ("id", "index", "name"),
    [
        ("imagenet1k", 0, "tench"),
        ("imagenet1k", 386, "African elephant"),
        ("imagenet1k", 999, "toilet tissue"),
        ("mnist", 7, "7"),
        ("fashion_mnist", 0, "T-shirt/top"),
        ("fashion_mnist", 9, "Ankle boot"),
        ("cifar10", 3, "cat"),
        ("cifar100", 99, "worm"),
    ],
)
def test_some_names(id: str, index: int, name: str) -> None:
    assert labels.names(id)[index] == name
    assert labels.index_of(id)[labels.normalise(name)] == index


def test_a_name_of_two_classes_means_neither() -> None:
    known = labels.index_of("imagenet1k")
    assert "cardigan" not in known
    assert (known["n02113186"], known["n02963159"]) == (264, 474)  # the dog and the jacket


def test_only_imagenet_has_wordnet_ids() -> None:
    wnids = labels.wnids("imagenet1k")
    assert wnids is not None
    assert list(wnids) == sorted(set(wnids))
    assert labels.index_of("imagenet1k")["n02504458"] == 386
    assert labels.wnids("mnist") is None


def test_imagenet_equals_the_labels_of_1300_photos() -> None:
    if not PHOTO_LABELS.is_file():
        pytest.skip(f"{PHOTO_LABELS} is not there: the photos are not part of the repository")
    names, wnids = labels.names("imagenet1k"), labels.wnids("imagenet1k") or ()
    with PHOTO_LABELS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            index, name = int(row["class_index"]), row["name"].split(",")[0]
            assert wnids[index] == row["wnid"]
            assert names[index].casefold() == LONGER.get(index, name).casefold()


@pytest.mark.parametrize(
    ("a", "b"), [("T-shirt/top", "t_shirt_top"), ("Ankle boot", "ankle-boot"), ("cat", "Cat")]
)
def test_spellings_of_one_name_are_equal(a: str, b: str) -> None:
    assert labels.normalise(a) == labels.normalise(b)


def test_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'imagenet1k'\? Available: cifar10, "):
        labels.names("imagenet")


@pytest.mark.parametrize(
    ("given", "classes", "expected"),
    [
        (["b", "a"], ("a", "b"), [1, 0]),
        (["B", "x"], ("a", "b"), [1, None]),
        (["C", "c", "C++"], ("c", "C", "C++"), [1, 0, 2]),
        (["cafe\u0301"], ("tea", "caf\u00e9"), [1]),
        (["0", "1"], ("a", "b"), [None, None]),
        (["0", "b"], ("a", "b"), [None, 1]),
        (["1", "0"], ("0", "1"), [1, 0]),
        (["n02504458", "Tench"], "imagenet1k", [386, 0]),
    ],
    ids=["order", "unknown", "case", "decomposed", "numbers", "mixed", "digits", "wordnet"],
)
def test_class_indices_of_names(
    given: list[str], classes: labels.Labels, expected: list[int]
) -> None:
    assert labels.indices(given, classes) == expected


def test_names_from_a_folder_fit_a_terminal_and_a_file() -> None:
    assert labels.printable("cafe\u0301 \x1b[31m\n\udce9") == "caf\u00e9 ?[31m??"
    assert labels.shown(["a", "b"]) == "a, b"
    assert labels.shown([str(i) for i in range(1000)]).endswith("10, 11, ... (1,000 in all)")
