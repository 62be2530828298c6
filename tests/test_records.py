"""A record is read as its annotations say; what is wrong in it is named, with what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from bnnzoo.records import RecordError, Rule, read_record


@dataclass(frozen=True)
class Drop:
    epoch: int
    share: float = 0.1


@dataclass(frozen=True)
class Plan:
    name: Annotated[str, Rule("a word", str.isalpha)]
    drops: tuple[Drop, ...]
    pairs: tuple[tuple[int, float], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    flip: bool = False
    seed: Annotated[int, Rule("at least 0", lambda n: n >= 0)] | None = None


WHOLE = {
    "name": "plan",
    "drops": [{"epoch": 1}, {"epoch": 2, "share": 0}],
    "pairs": [[1, 0.5]],
    "versions": {"numpy": "2.0"},
    "settings": {"width": [1, None]},
    "flip": True,
    "seed": None,
}


def test_every_kind_of_field_is_read():
    expected = Plan(
        "plan",
        (Drop(1), Drop(2, 0)),
        ((1, 0.5),),
        {"numpy": "2.0"},
        {"width": [1, None]},
        flip=True,
    )
    assert read_record(Plan, WHOLE) == expected
    assert read_record(Plan, {"name": "p", "drops": []}) == Plan("p", ())


WRONG = {
    "no object": ([], "plan.json must be an object, got []. Correct it."),
    "missing": ({"drops": []}, "plan.json: name is missing. It must be a word."),
    "unknown": ({**WHOLE, "b": 1, "a": 2}, "plan.json has unknown fields ['a', 'b']. Remove them."),
    "type": ({**WHOLE, "name": 5}, "plan.json: name must be a word, got 5. Correct it."),
    "rule": ({**WHOLE, "name": "a b"}, "plan.json: name must be a word, got 'a b'."),
    "rule or null": ({**WHOLE, "seed": -1}, "plan.json: seed must be at least 0, got -1."),
    "null": ({**WHOLE, "flip": None}, "plan.json: flip must be true or false, got None."),
    "bool": ({**WHOLE, "seed": True}, "plan.json: seed must be at least 0, got True."),
    "list": ({**WHOLE, "drops": {}}, "plan.json: drops must be a list, got {}."),
    "record": ({**WHOLE, "drops": [3]}, "plan.json: drops[0] must be an object, got 3."),
    "inside": ({**WHOLE, "drops": [{"epoch": 1.5}]}, "drops[0].epoch must be an integer, got 1.5."),
    "inside unknown": ({**WHOLE, "drops": [{"e": 1}]}, "drops[0] has unknown fields ['e']."),
    "pair": ({**WHOLE, "pairs": [[1]]}, "plan.json: pairs[0] must be a list of 2 values, got [1]."),
    "in a pair": ({**WHOLE, "pairs": [[1, "x"]]}, "pairs[0][1] must be a number, got 'x'."),
    "mapping": ({**WHOLE, "versions": {"a": 1}}, "versions.a must be a string, got 1."),
    "long": ({**WHOLE, "settings": "x" * 99}, "settings must be an object, got '" + "x" * 79 + "."),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what):
    value, message = WRONG[what]
    with pytest.raises(RecordError) as caught:
        read_record(Plan, value, "plan.json: ")
    assert message in str(caught.value)


def test_a_record_without_a_name_is_it():
    with pytest.raises(RecordError, match="^it must be an object, got 1"):
        read_record(Plan, 1)
