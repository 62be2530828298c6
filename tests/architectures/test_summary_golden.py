"""The summary of every larq-zoo model is the one that larq prints of it, layer by layer."""

from __future__ import annotations

import json

import pytest

from bnnzoo.model_summary import summary
from tests.architectures.larq_zoo import MODELS, reference
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "larq_summary.json").read_text())["models"]


def by_bits(counts):
    return {int(bits): count for bits, count in (counts or {}).items()}


@pytest.mark.parametrize("name", MODELS)
def test_summary_is_that_of_larq(build, name):
    report, golden = summary(build(name)), GOLDEN[MODELS[name]]
    assert report.params == reference(name)["totals"]["params"]
    assert report.packed_bytes == reference(name)["totals"]["memory_bytes"]
    assert report.float32_bytes == golden["totals"]["float32_bytes"]
    assert report.macs_by_bits == by_bits(golden["totals"]["macs"])
    assert report.uncounted_layers == ()
    rows = [row for row in report.layers if row.params_by_bits]
    for row, larq_row in zip(rows, golden["layers"], strict=True):
        # None where larq does not count (PReLU), which has no MACs.
        assert row.macs_by_bits == by_bits(larq_row["macs"]), row.name
        assert row.packed_bytes == larq_row["packed_bytes"], row.name
        assert row.input_bits == larq_row["input_bits"], row.name
        assert list(row.output_shape[1:]) == larq_row["output_shape"][1:], row.name
        assert set(row.params_by_bits) == set(by_bits(larq_row["params"])), row.name
