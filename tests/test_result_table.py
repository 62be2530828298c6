"""`bnnzoo.results`: the table of all models and weights; and how tables show themselves."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import MissingDependencyError
from bnnzoo.result_table import Result
from bnnzoo.tables import Table, html_table


def test_every_model_and_every_set_of_weights_has_a_row():
    rows = bnnzoo.results()
    assert {row.architecture for row in rows} == set(CATALOG)
    assert {row.name for row in rows if row.tag} == set(manifest.load().weights)
    assert len({row.name for row in rows}) == len(rows)


def test_figures_are_those_of_the_manifest_and_the_catalog():
    by_name = {row.name: row for row in bnnzoo.results()}
    for name, record in manifest.load().weights.items():
        row, metric, entry = by_name[name], record.headline, CATALOG[record.architecture]
        if metric is not None:
            assert (row.top1, row.origin, row.by) == (metric.top1, metric.origin, metric.by)
        packed = record.file("packed")
        assert row.packed_bytes == (packed.bytes if packed else entry.packed_bytes)
        size = record.size if record.arguments else entry
        assert (row.params, row.binary_macs) == (size.params, size.binary_macs)
        assert row.num_classes == record.num_classes
    assert by_name["birealnet34"].params == CATALOG["birealnet34"].params
    assert by_name["birealnet34"].top1 is None


def test_patterns_and_pretrained_select_models():
    assert [row.name for row in bnnzoo.results("birealnet34")] == ["birealnet34"]
    assert bnnzoo.results("birealnet34", pretrained=True) == ()
    assert {row.architecture for row in bnnzoo.results("quick*")} == set(
        bnnzoo.list_models("quick*")
    )


def test_csv_has_a_row_per_result():
    rows = bnnzoo.results()
    read = list(csv.DictReader(io.StringIO(rows.to_csv())))
    assert [row["name"] for row in read] == [row.name for row in rows]
    assert read[0].keys() == Result.__dataclass_fields__.keys()
    assert Table().to_csv() == ""


def test_html_escapes_and_marks_what_is_missing():
    table = html_table(("a", "b"), [("<script>", None), ("\x1b[0m", 1)], numbers=[1])
    assert "&lt;script&gt;" in table and "<script>" not in table and "\x1b" not in table
    assert '<td style="text-align: right">–</td>' in table
    assert bnnzoo.results("birealnet34")._repr_html_().count("<tr>") == 2


def test_pandas_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"Run: pip install pandas$"):
        bnnzoo.results("birealnet34").to_pandas()


def test_a_data_frame_has_the_same_columns():
    pandas = pytest.importorskip("pandas")
    frame = bnnzoo.results("quick*").to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["name"]) == [row.name for row in bnnzoo.results("quick*")]


def test_results_need_no_keras():
    code = "import bnnzoo, sys; bnnzoo.results(); sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
