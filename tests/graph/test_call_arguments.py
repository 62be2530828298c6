"""One array, several, a list or a dict: all become values by name."""

from __future__ import annotations

import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.graph.call_arguments import by_name

PAIR = ("left", "right")


@pytest.mark.parametrize(
    "given", [(1, 2), ([1, 2],), ((1, 2),), ({"left": 1, "right": 2},), ({"right": 2, "left": 1},)]
)
def test_two_inputs(given):
    assert list(by_name(PAIR, given).items()) == [("left", 1), ("right", 2)]


@pytest.mark.parametrize("given", [([1, 2],), ({"x": [1, 2]},)])
def test_the_one_input_may_be_a_list(given):
    assert by_name(["x"], given) == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (
            PAIR,
            (1,),
            r"must be called with 2 inputs \(left, right\), got 1. Pass an array for each",
        ),
        (PAIR, (1, 2, 3), "with 2 inputs .* got 3"),
        (PAIR, ([1],), "with 2 inputs .* got 1"),
        (PAIR, (), "with 2 inputs .* got 0"),
        (("x",), (1, 2), r"with 1 input \(x\), got 2"),
        (
            PAIR,
            ({"left": 1},),
            "must have the inputs left, right, got left. `input_names` lists them",
        ),
        (PAIR, ({"left": 1, "rigth": 2},), "must have the inputs left, right, got left, rigth"),
        (PAIR, ({"left": 1, "right": 2, "x": 3},), "must have the inputs left, right, got"),
    ],
)
def test_other_numbers_and_names_are_errors(names, given, message):
    with pytest.raises(ArgumentError, match=message):
        by_name(names, given)
