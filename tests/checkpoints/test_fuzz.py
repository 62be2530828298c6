"""Mutated checkpoints are refused or read, as in `scripts/fuzz_packed.py --format torch`."""

from __future__ import annotations

import collections
import warnings

from tests.checkpoints.mutations import CODE, RAW, mutated
from tests.formats.test_fuzz import fuzz_packed

__all__ = ["fuzz_packed"]  # a fixture


def test_mutated_files_are_refused_or_read(fuzz_packed):
    stages = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(1000):
            outcome = fuzz_packed.examine(1, case, runtime=False, format="torch")
            assert outcome.problem is None, outcome
            stages[outcome.stage] += 1
    assert stages["container"] > 500 and stages["validation"] > 20 and stages["result"] > 40


def test_a_case_depends_only_on_its_two_numbers():
    assert [mutated(3, case) for case in range(40)] == [mutated(3, case) for case in range(40)]
    assert mutated(3, 8) != mutated(4, 8)


def test_every_mutation_occurs():
    edits = {mutated(1, case)[1] for case in range(600)}
    assert {edit.__name__ for edit in (*CODE, *RAW)} <= edits
    assert {"lost", "size", "bytes", "renamed"} <= edits
