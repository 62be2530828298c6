"""What comes from files reaches C as words, names, and escaped strings, never as C."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from bnnzoo.formats.c_source.text import (
    array,
    comment,
    identifier,
    initializer,
    number,
    string,
)

HOSTILE = [
    "*/ int main(void) { return 1; } /*",
    "// \\\n#error",
    'quote " and \\" and \\',
    "??/ ??' ??(",
    "\n#include </etc/passwd>",
    "%s%n{}",
    "Größe 大 \U0001f600",
    "\x00\x1b[31m",
    "\ud800",
    "",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_comments_are_plain_and_end_where_they_should(text):
    found = comment(text)
    assert re.fullmatch(r"[ -~]*", found) and len(found) <= 210
    assert not set("*\\\"'?#%{}") & set(found)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_identifiers_are_identifiers(text):
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,60}", identifier(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("binarynet_fashion", "binarynet_fashion"),
        ("QuickNet-Large.v2", "quicknet_large_v2"),
        ("__init__", "init"),
        ("3d net", "bnn_3d_net"),
        ("大", "bnn"),
        ("a" * 47 + "-b", "a" * 47),
    ],
)
def test_identifier(text, name):
    assert identifier(text) == name


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_strings_say_what_was_said(text):
    literal = string(text)
    assert re.fullmatch(r'"(?:[\w \-.,:;()/+=]|\\[0-7]{3})*"', literal)
    # Python reads octal escapes as C does.
    read = ast.literal_eval(f"b{literal}")
    assert read == text[:200].encode("utf-8", "replace")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (np.int8(-127), "-127"),
        (1.0, "1.0f"),
        (0.1, "0.1f"),
        (-1e-30, "-1e-30f"),
        (1e30, "1e+30f"),
        (float("inf"), "INFINITY"),
        (-float("inf"), "-INFINITY"),
        (float("nan"), "NAN"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_numbers_come_back_to_the_bit(rng):
    values = rng.integers(0, 2**32, 2000, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    texts = [number(value).removesuffix("f") for value in values]
    np.testing.assert_array_equal(np.array(texts, np.float32), values)


@pytest.mark.parametrize("edge", [0.0, np.inf], ids=["finite", "infinite"])
def test_arrays_have_numbers(edge, rng):
    values = rng.integers(0, 2**32, 2000, np.uint32).view(np.float32)
    values = np.append(values[np.isfinite(values)], np.float32([-0.0, 1e-40, 16777216, edge]))
    assert array(values).split() == [f"{number(value)}," for value in values]


def test_arrays_keep_their_order_in_lines_of_100(rng):
    values = rng.integers(0, 2**32, 100, np.uint32)
    text = array(values)
    assert [int(v, 16) for v in re.findall("0x[0-9a-f]{8}", text)] == values.tolist()
    assert max(map(len, text.splitlines())) <= 100


def test_initializers_name_every_field():
    fields = {"at": {"taps": (3, 3), "pad": 0}, "kernel": "kernel_3", "scale": None, "low": 0.5}
    expected = ".at.taps = {3, 3}, .at.pad = 0, .kernel = kernel_3, .scale = NULL, .low = 0.5f,"
    assert initializer(fields).strip() == expected
