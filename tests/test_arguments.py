"""What is an integer, and what only looks like one."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.arguments import as_integer, as_integers, check_integer
from bnnzoo.errors import ArgumentError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)], ids=repr)
def test_integers_become_those_of_python(value):
    assert (as_integer(value), type(as_integer(value))) == (3, int)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, [3], np.array([3.0])], ids=repr)
def test_nothing_else_is_one(value):
    assert as_integer(value) is None


@pytest.mark.parametrize("values", [[1, 2], (1, np.int8(2)), np.array([1, 2]), iter((1, 2))])
def test_sequences_become_tuples(values):
    assert as_integers(values) == (1, 2)


@pytest.mark.parametrize("values", [3, None, "12", (1, 2.0), (True,), np.array(3)], ids=repr)
def test_no_sequence_of_integers(values):
    assert as_integers(values) is None


def test_the_message_says_what_was_got_and_what_to_do():
    assert check_integer(np.int64(0), "check", least=0) == 0
    with pytest.raises(ArgumentError) as caught:
        check_integer(-1, "check", least=0)
    assert str(caught.value) == "check must be an integer of at least 0, got -1. Use 0 or more."
    with pytest.raises(ArgumentError) as caught:
        check_integer("x", "num_classes", advice="Count the classes.")
    text = "num_classes must be a positive integer, got 'x'. Count the classes."
    assert str(caught.value) == text
