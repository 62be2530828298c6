"""Claim: what is wrong in a table of labels or classes is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnzoo.data.tables import names_or_table, read_class_map, read_names
from bnnzoo.errors import DataError


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("m.json", "[1]", "must be an object"),
        ("m.json", "{", "is not JSON"),
        ("m.json", '{"a": 1.5}', r"index of 'a' must be an integer from 0, got 1.5"),
        ("m.json", '{"a": true}', r"index of 'a' must be an integer from 0, got True"),
        ("m.csv", "class_name,class_index\na,-1\n", r"must be an integer from 0, got -1"),
        ("m.csv", "class_name,class_index\na,x\n", r"must be an integer from 0, got 'x'"),
        ("m.csv", "a,0\n", r"has no column 'class_name'"),
        ("m.csv", "class_index,class_name\n3\n", r"every row must have a name, got none for 3"),
        ("m.csv", "class_name,class_index\na,0\na,1\n", r"'a' must have one index, got two"),
        ("m.json", '{"a": 0, "a": 1}', r"'a' must have one index, got two"),
        ("m.json", "[" * 100_000, r"is not JSON: it is nested too deeply"),
        ("m.json", '{"a":' + "9" * 5000 + "}", r"is not JSON"),
    ],
)
def test_a_broken_class_map_is_named(tmp_path: Path, name: str, text: str, match: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=match):
        read_class_map(tmp_path / name)


def test_a_missing_or_binary_class_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m.csv cannot be read: No such file"):
        read_class_map(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes("class_name,class_index\r\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"m.csv is UTF-16, not UTF-8"):
        read_class_map(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes("class_name,class_index\r\ncaf\u00e9,0\r\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"m.csv is not UTF-8 text: line 2 has the byte 0xe9"):
        read_class_map(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.txt", "ant\nbee fly\n\u00e9t\u00e9\n"),
        ("n", "ant\r\nbee fly\r\n\u00e9t\u00e9\r\n"),
        ("n.json", '["ant", "bee fly", "e\\u0301te\\u0301"]'),
        ("n.json", '{"bee fly": 1, "\u00e9t\u00e9": 2, "ant": 0}'),
        ("n.csv", "class_index,class_name\n2,\u00e9t\u00e9\n0,ant\n1,bee fly\n"),
    ],
    ids=["lines", "windows", "array", "object", "csv"],
)
def test_names_of_classes(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    names = ("ant", "bee fly", "\u00e9t\u00e9")
    assert read_names(path) == names
    assert names_or_table(str(path)) == (names, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.txt", ""),
        ("n.txt", "a\n\nb"),
        ("n.json", "[1]"),
        ("n.json", "3"),
        ("n.json", '{"a": 1}'),
    ],
)
def test_names_that_are_not_complete(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="must name every class"):
        read_names(tmp_path / name)


def test_an_id_and_a_table_of_images_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,class_index\na.png,0\n")
    assert names_or_table("mnist") == ("mnist", None)
    for path in (tmp_path / "t.csv", tmp_path / "gone.csv", tmp_path / "gone.txt"):
        assert names_or_table(str(path)) == (None, path)
