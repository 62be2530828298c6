"""The arena: what is alive at the same time lies apart, and what is not shares memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bnnzoo.formats.c_source.memory import plan


@dataclasses.dataclass(frozen=True)
class Step:
    reads: tuple[str, ...]
    writes: str
    over: tuple[str, ...] = ()
    scratch: int = 0


def chain(count, over=False):
    steps = [Step((f"v{i}",), f"v{i + 1}", (f"v{i}",) if over else ()) for i in range(count)]
    return steps, {f"v{i}": 10 for i in range(count + 1)}


def test_a_chain_takes_two_buffers():
    steps, cells = chain(6)
    assert plan(steps, cells, {}, ["v0"], ["v6"]).cells == 20


def test_a_chain_of_elementwise_calls_takes_one():
    steps, cells = chain(6, over=True)
    found = plan(steps, cells, {}, ["v0"], ["v6"])
    assert found.cells == 10 and set(found.values.values()) == {0}


def test_a_value_that_is_read_again_is_not_written_over():
    steps, cells = chain(3, over=True)
    found = plan([*steps, Step(("v1", "v3"), "end")], {**cells, "end": 10}, {}, ["v0"], ["end"])
    assert found.values["v1"] != found.values["v2"] == found.values["v3"]


def test_a_view_keeps_its_source_alive():
    steps = [Step(("a",), "b"), Step(("b",), "c"), Step(("view", "c"), "d")]
    found = plan(steps, dict.fromkeys("abcd", 10), {"view": "a"}, ["a"], ["d"])
    assert found.values["view"] == found.values["a"]
    assert len({found.values[name] for name in "abc"}) == 3


def test_a_view_that_is_an_output_is_not_written_over():
    steps = [Step(("a",), "b", over=("a",))]
    found = plan(steps, {"a": 4, "b": 4}, {"view": "a"}, ["a"], ["b", "view"])
    assert found.values["a"] != found.values["b"]


def test_scratch_lies_apart_from_what_its_call_reads_and_writes():
    found = plan([Step(("a",), "b", scratch=7)], {"a": 5, "b": 6}, {}, ["a"], ["b"])
    assert found.cells == 18 and set(found.scratch) == {0}


def test_an_output_that_is_the_input_has_a_place():
    assert plan([], {"a": 3}, {}, ["a"], ["a"]).cells == 3


def random_steps(rng):
    """Calls that read some of the values before, with views of some of them."""
    names, steps, views = ["v0"], [], {}
    for i in range(1, 30):
        reads = tuple(dict.fromkeys(rng.choice(names, rng.integers(1, 4)).tolist()))
        if rng.random() < 0.2:
            views[f"v{i}"] = reads[0]
        else:
            over = reads[:1] if rng.random() < 0.5 else ()
            steps.append(Step(reads, f"v{i}", over, int(rng.integers(0, 3)) * 5))
        names.append(f"v{i}")
    return steps, names, views


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_before_it_is_read(seed):
    """Plays the calls in an arena: each cell of a value has its name when it is read."""
    rng = np.random.default_rng(seed)
    steps, names, views = random_steps(rng)
    cells = dict.fromkeys(names, 12)
    kept = rng.choice(names, 3).tolist()
    found = plan(steps, cells, views, ["v0"], kept)
    arena = np.full(found.cells, "", dtype=object)

    def root(name):
        while name in views:
            name = views[name]
        return name

    def place(name):
        begin = found.values[name]
        return slice(begin, begin + cells[name])

    arena[place("v0")] = "v0"
    for index, step in enumerate(steps):
        if index in found.scratch:
            arena[found.scratch[index] : found.scratch[index] + step.scratch] = "scratch"
        for name in step.reads:
            assert set(arena[place(name)]) == {root(name)}
        before = {name for name in step.reads if found.values[name] == found.values[step.writes]}
        assert {root(name) for name in before} <= {root(name) for name in step.over}
        arena[place(step.writes)] = step.writes
    for name in kept:
        assert set(arena[place(name)]) == {root(name)}
