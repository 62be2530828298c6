"""Claim: image folders give each file its right class, and what is wrong names the file."""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import open_source
from bnnzoo.data.source import Source
from bnnzoo.errors import ArgumentError, DataError

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "imagenet_val1300"


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, dtype=np.uint8)).save(path)


def folder(root: Path, files: dict[str, int]) -> Path:
    """Writes one grey image per path; its pixels have the value."""
    for name, value in files.items():
        write_image(root / name, value)
    return root


def content(source: Source) -> dict[str, tuple[int, int]]:
    """Label and pixel value by id."""
    return {id: (label, int(image[0, 0, 0])) for image, label, id in source}


def test_classes_are_sorted(tmp_path: Path) -> None:
    root = folder(tmp_path, {"zebra/a.png": 1, "ant/x.png": 2, "ant/y.PNG": 3, "bee/deep/z.png": 4})
    source = open_source(root)
    assert content(source) == {
        "ant/x.png": (0, 2),
        "ant/y.PNG": (0, 3),
        "bee/deep/z.png": (1, 4),
        "zebra/a.png": (2, 1),
    }
    assert source.class_names == ("ant", "bee", "zebra")
    assert len(source) == 4


def test_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{i}/a.png": i for i in (0, 1, 2, 10, 11)})
    assert open_source(root).class_names == ("0", "1", "2", "10", "11")


def test_classes_take_turns(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{c}/{i}.png": 0 for c in "ab" for i in range(3)} | {"c/0.png": 0})
    assert [item.id for item in open_source(root).items] == [
        *("a/0.png", "b/0.png", "c/0.png", "a/1.png", "b/1.png", "a/2.png", "b/2.png")
    ]


def test_class_map_gives_the_indices(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"cat/a.png": 1, "dog/b.png": 2})
    expected = {"cat/a.png": (7, 1), "dog/b.png": (3, 2)}
    table = tmp_path / "map.csv"
    table.write_text("class_name,class_index,comment\ncat,7,x\ndog,3,y\nbird,1,z\n")
    mapping = {"cat": 7, "dog": 3, "bird": 1}
    (tmp_path / "map.json").write_text(json.dumps(mapping))
    for class_map in (mapping, table, str(tmp_path / "map.json")):
        assert content(open_source(root, class_map=class_map)) == expected


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("n02504458", "n01440764"), {386, 0}),
        (("african_elephant", "Tench"), {386, 0}),
    ],
    ids=["wnid", "name"],
)
def test_folders_named_as_classes_need_no_map(
    tmp_path: Path, folders: tuple[str, ...], expected: set[int]
) -> None:
    root = folder(tmp_path, {f"{name}/a.png": 0 for name in folders})
    source = open_source(root, label_set="imagenet1k", num_classes=1000)
    assert {item.label for item in source.items} == expected


def test_folders_of_other_names_are_sorted_though_labels_are_known(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{i}/a.png": i for i in range(10)})
    source = open_source(root, label_set="fashion_mnist", num_classes=10)
    assert content(source) == {f"{i}/a.png": (i, i) for i in range(10)}


def test_a_misspelt_class_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path, {"bag/a.png": 0, "sandle/a.png": 0})
    match = r"sandle: 'sandle' must name one class of 'fashion_mnist'.* Did you mean 'sandal'\?"
    with pytest.raises(DataError, match=match):
        open_source(root, label_set="fashion_mnist", num_classes=10)


@pytest.mark.parametrize("label_set", ["fashion_mnist", ("apple", "zebra")])
def test_folders_of_unknown_names_are_refused_with_both_lists(
    tmp_path: Path, label_set: str | tuple[str, ...]
) -> None:
    root = folder(tmp_path, {"kiwi/a.png": 0, "plum/a.png": 0})
    match = r"kiwi: 'kiwi' must name one class of .*folders are kiwi, plum; the classes are .*"
    with pytest.raises(DataError, match=match + ("zebra" if label_set[0] == "apple" else "Bag")):
        open_source(root, label_set=label_set, num_classes=10)


def test_numbers_are_indices_if_all_folders_are_numbers(tmp_path: Path) -> None:
    root = folder(tmp_path, {"2/a.png": 2, "0/a.png": 0})
    assert content(open_source(root, label_set=("a", "b", "c"))) == {
        "2/a.png": (2, 2),
        "0/a.png": (0, 0),
    }
    with pytest.raises(DataError, match="'2' must name one class of the model"):
        open_source(root, label_set=("a", "b"))
    folder(root, {"b/a.png": 1})
    with pytest.raises(DataError, match="'0' must name one class of the model"):
        open_source(root, label_set=("a", "b", "c"))


def test_folders_of_own_names_have_their_index(tmp_path: Path) -> None:
    root = folder(tmp_path, {"zebra/a.png": 1, "kiwi/a.png": 0})
    with pytest.raises(DataError, match="'kiwi' must name one class of the model"):
        open_source(root, label_set=("apple", "zebra"), num_classes=2)
    source = open_source(root, label_set=("apple", "zebra"), num_classes=2, skip_bad=True)
    assert content(source) == {"zebra/a.png": (1, 1)}
    assert [skipped.id for skipped in source.skipped] == ["kiwi"]


def test_a_missing_class_would_shift_the_order(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{i}/a.png": 0 for i in range(9)})
    with pytest.raises(DataError, match=r"has 9 class folders, but the model has 10.*--class-map"):
        open_source(root, num_classes=10)


def test_a_class_that_the_map_lacks(tmp_path: Path) -> None:
    root = folder(tmp_path, {"cat/a.png": 1, "dog/b.png": 2})
    with pytest.raises(DataError, match=r"dog: class 'dog' is not in the class map"):
        open_source(root, class_map={"cat": 0})
    source = open_source(root, class_map={"cat": 0}, skip_bad=True)
    assert content(source) == {"cat/a.png": (0, 1)}
    assert [skipped.id for skipped in source.skipped] == ["dog"]


def test_an_empty_class_keeps_its_index(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a/1.png": 1, "c/1.png": 3})
    (root / "b").mkdir()
    with pytest.raises(DataError, match=r"b has no images\. Add some"):
        open_source(root)
    source = open_source(root, skip_bad=True)
    assert content(source) == {"a/1.png": (0, 1), "c/1.png": (2, 3)}
    assert [skipped.id for skipped in source.skipped] == ["b"]


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = ("a/1.jpg", "a/2.JPEG", "a/3.jfif", "a/4.JFIF", "a/5.jpe", "a/deep/6.png")
    root = folder(tmp_path, dict.fromkeys(images, 1))
    copies = ("a/.ipynb_checkpoints/1-checkpoint.png", ".cache/x.png", "a/deep/.Trash-0/old.png")
    folder(root, dict.fromkeys((*copies, "a/@eaDir/thumb.png", "a/.hidden.png", "loose.png"), 2))
    for name in ("a/notes.txt", "a/deep/7.heic", "a/README"):
        (root / name).write_text("")
    os.mkfifo(root / "a" / "pipe.png")
    with caplog.at_level(logging.WARNING):
        assert set(content(open_source(root))) == set(images)
    (line,) = [record.getMessage() for record in caplog.records]
    for said in ("5 hidden", "1 outside the class folders", "1 not a regular file"):
        assert said in line
    assert "3 with another suffix (.heic, .txt)" in line


@pytest.mark.parametrize("name", ["gone", "a/gone.png", "a/deep/gone", "a/deep/itself.png"])
def test_links_that_lead_nowhere_are_named(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path, {"a/1.png": 1, "a/deep/2.png": 2})
    link = root / name
    link.symlink_to("itself.png" if "itself" in name else "not_there")
    with pytest.raises(DataError, match=rf"{name} is a link to .*, which does not exist"):
        open_source(root)
    source = open_source(root, skip_bad=True)
    assert set(content(source)) == {"a/1.png", "a/deep/2.png"}
    assert [skipped.id for skipped in source.skipped] == [name]


def test_links_to_images_and_folders_are_followed(tmp_path: Path) -> None:
    folder(tmp_path / "store", {"x.png": 1, "deep/y.png": 2, "z.png": 3})
    root = folder(tmp_path / "root", {"a/0.png": 0})
    (root / "a" / "link.png").symlink_to(tmp_path / "store" / "x.png")
    (root / "a" / "more").symlink_to(tmp_path / "store" / "deep", target_is_directory=True)
    (root / "b").symlink_to(tmp_path / "store", target_is_directory=True)
    expected = {"a/0.png": (0, 0), "a/link.png": (0, 1), "a/more/y.png": (0, 2)}
    stored = {"b/x.png": (1, 1), "b/deep/y.png": (1, 2), "b/z.png": (1, 3)}
    assert content(open_source(root)) == expected | stored


@pytest.mark.parametrize("target", [".", "..", "../..", "../a", "deep", "../a/deep/../deep"])
def test_links_back_to_a_folder_end(
    tmp_path: Path, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = folder(tmp_path / "root", {"a/1.png": 1, "a/deep/2.png": 2, "b/3.png": 3})
    (root / "a" / "again").symlink_to(target, target_is_directory=True)
    expected = {"a/1.png": (0, 1), "a/deep/2.png": (0, 2), "b/3.png": (1, 3)}
    assert content(open_source(root)) == expected
    assert "left out 1 leading back to a folder" in caplog.text


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "is empty: it has neither class folders nor images"),
        ({"a.png": 0}, "has images but no class folders.*--labels"),
    ],
    ids=["empty", "flat"],
)
def test_a_root_without_classes(tmp_path: Path, files: dict[str, int], match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_source(folder(tmp_path, files))


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder or file .*nowhere"):
        open_source(tmp_path / "nowhere")
    for name in ("a" * 5000, "a" * 5000 + ".npz", "a" * 5000 + ".npz:train"):
        with pytest.raises(DataError, match="There is no (folder or )?file aaaa"):
            open_source(name)
    (tmp_path / "file.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"file.bin is neither a folder nor an .npz"):
        open_source(tmp_path / "file.bin")


def labelled(tmp_path: Path, table: str) -> tuple[Path, Path]:
    root = folder(tmp_path / "images", {"a.png": 1, "sub/b.png": 2})
    (tmp_path / "truth.csv").write_text(table)
    return root, tmp_path / "truth.csv"


def test_labels_csv(tmp_path: Path) -> None:
    root, table = labelled(tmp_path, "wnid,file,class_index\nn1,sub/b.png,5\nn2,a.png,0\n")
    source = open_source(root, labels_csv=table)
    assert [(item.id, item.label) for item in source.items] == [("sub/b.png", 5), ("a.png", 0)]
    assert content(source) == {"a.png": (0, 1), "sub/b.png": (5, 2)}
    assert source.name == "folder:images"


@pytest.mark.parametrize(
    ("table", "encoding"),
    [
        ("file,class_index\r\nsub\\b.png,5\r\na.png,0\r\n", "utf-8-sig"),
        ("file;class_index\r\nsub\\b.png;5\r\na.png;0\r\n", "utf-8"),
        ('file, class_index\n"sub/b.png", 5\na.png,0,more\n', "utf-8"),
        ("class_index\tfile\n5\tsub/b.png\n0\ta.png\n", "utf-8"),
    ],
    ids=["windows", "semicolons", "spaces", "tabs"],
)
def test_labels_csv_of_other_systems(tmp_path: Path, table: str, encoding: str) -> None:
    root, path = labelled(tmp_path, "")
    path.write_bytes(table.encode(encoding))
    assert content(open_source(root, labels_csv=path)) == {"sub/b.png": (5, 2), "a.png": (0, 1)}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_may_be_composed_or_not(tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name = unicodedata.normalize(form, "caf\u00e9/\u00e9t\u00e9.png")
    root = folder(tmp_path / "images", {name: 7})
    (tmp_path / "l.csv").write_text(
        "file,class_index\n" + unicodedata.normalize(other, name).replace("/", "\\") + ",1\n",
        encoding="utf-8",
    )
    assert content(open_source(root, labels_csv=tmp_path / "l.csv")) == {name: (1, 7)}
    class_map = {unicodedata.normalize(other, "caf\u00e9"): 1}
    assert content(open_source(root, class_map=class_map)) == {name: (1, 7)}
    names = ("tea", unicodedata.normalize(other, "caf\u00e9"))
    assert content(open_source(root, label_set=names)) == {name: (1, 7)}


def test_folders_that_differ_in_their_spelling_alone_are_refused(tmp_path: Path) -> None:
    """Copies from macOS put one beside the other; as two classes nobody could tell them apart."""
    root = folder(tmp_path, {"caf\u00e9/a.png": 1, "cafe\u0301/b.png": 2, "tea/c.png": 3})
    with pytest.raises(
        DataError, match="class folders must differ, got 'caf\u00e9' 2 times, .* Move"
    ):
        open_source(root)
    source = open_source(root, label_set=("caf\u00e9", "tea"))
    assert content(source) == {
        "caf\u00e9/a.png": (0, 1),
        "cafe\u0301/b.png": (0, 2),
        "tea/c.png": (1, 3),
    }


def test_names_of_classes_are_what_files_and_terminals_can_hold(tmp_path: Path) -> None:
    names = ("cafe\u0301", "red\x1b[31m", "\udce9")  # the last is a byte of a Windows code page
    root = folder(tmp_path, {f"{name}/a.png": 1 for name in names})
    source = open_source(root)
    assert source.class_names == ("caf\u00e9", "red?[31m", "?")
    assert open_source(root, label_set=source.class_names).class_names == source.class_names


def test_a_file_whose_name_has_another_case_is_suggested(tmp_path: Path) -> None:
    root, path = labelled(tmp_path, "file,class_index\nSub\\B.PNG,5\nA.PNG,0\n")
    with pytest.raises(DataError, match=r"line 2: there is no file .*B\.PNG\. Add it"):
        open_source(root, labels_csv=path)
    path.write_text("file,class_index\nsub\\B.PNG,5\n")
    with pytest.raises(DataError, match=r"no file .*B\.PNG\. Did you mean 'b\.png'\?"):
        open_source(root, labels_csv=path)
    path.write_text("file,class_index\nsub,5\n")  # a folder
    with pytest.raises(DataError, match=r"no file .*sub\. Add it"):
        open_source(root, labels_csv=path)


def test_labels_csv_in_the_folder_is_found(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a.png": 1})
    (root / "labels.csv").write_text("file,class_index\na.png,3\n")
    assert content(open_source(root)) == {"a.png": (3, 1)}


HEADER = "file,class_index\n"


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (HEADER + "a.png,0\ngone.png,1\n", r"truth.csv line 3: there is no file .*gone.png"),
        (HEADER + "a.png,cat\n", r"truth.csv line 2: class_index must be an integer, got 'cat'"),
        (HEADER + "a.png\n", r"truth.csv line 2: class_index must be an integer, got ''"),
        ("class_index,file\n0\n", r"truth.csv line 2: there is no file .*images"),
        (HEADER + "a" * 5000 + ",0\n", r"truth.csv line 2: there is no file .*aaa"),
        (HEADER + "a\0.png,0\n", r"truth.csv (line 2: there is no file|is not CSV)"),
        (HEADER + "a.png," + "9" * 5000 + "\n", r"class_index must be an integer, got '999"),
        (HEADER + "a.png,1_0\n", r"class_index must be an integer, got '1_0'"),
        (HEADER + '"' + "a" * 200_000 + "\n", r"truth.csv is not CSV after line 1: field larger"),
        (HEADER + "a.png,10\n", r"a.png: class index must be from 0 to 9, got 10"),
        (HEADER + "a.png,-1\n", r"a.png: class index must be from 0 to 9, got -1"),
        (HEADER, r"truth.csv has a header but no rows"),
        ("a.png,0\n", r"truth.csv has no column 'file'. Its first line must name"),
        ("file,label\na.png,0\n", r"truth.csv has no column 'class_index'"),
        ("", r"truth.csv has no column 'file'"),
    ],
    ids=[
        *("gone", "word", "short", "short other", "long", "nul", "digits", "underscore", "quote"),
        *("high", "negative", "no rows", "headless", "column", "empty"),
    ],
)
def test_a_broken_labels_csv_is_named(tmp_path: Path, table: str, match: str) -> None:
    root, path = labelled(tmp_path, table)
    with pytest.raises(DataError, match=match):
        open_source(root, labels_csv=path, num_classes=10)


def test_skip_bad_lists_the_rows_it_leaves_out(tmp_path: Path) -> None:
    rows = "gone.png,1\na.png,0\na.png,99\nsub/b.png,x\n"
    root, path = labelled(tmp_path, HEADER + rows)
    source = open_source(root, labels_csv=path, num_classes=10, skip_bad=True)
    assert content(source) == {"a.png": (0, 1)}
    assert [s.id for s in source.skipped] == ["gone.png", "sub/b.png", "a.png"]


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    root, path = labelled(tmp_path, HEADER + "a.png,99\n")
    with pytest.raises(DataError, match="has no usable images: all were skipped"):
        open_source(root, labels_csv=path, num_classes=10, skip_bad=True)


def test_labels_and_class_map_exclude_each_other(tmp_path: Path) -> None:
    root, path = labelled(tmp_path, HEADER + "a.png,0\n")
    with pytest.raises(ArgumentError, match="--class-map must not be given with --labels"):
        open_source(root, labels_csv=path, class_map={"a": 0})


def test_1300_photos_open() -> None:
    table = PHOTOS.with_name("imagenet_val1300_labels.csv")
    if not table.is_file():
        pytest.skip(f"{PHOTOS} is not there: the photos are not part of the repository")
    source = open_source(PHOTOS, labels_csv=table, num_classes=1000)
    assert len(source) == 1300
    assert len({item.label for item in source.items}) == 725
    image, label, id = next(iter(source))
    assert (image.shape, label, id) == ((227, 227, 3), 472, "ILSVRC2012_val_00000347.JPEG")
