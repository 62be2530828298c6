"""The table of docs/deployment.md: every cell is made again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("keras")

import bnnzoo
from bnnzoo.formats import WRITTEN
from tests.architectures.models import swept
from tests.formats.c_source.test_zoo import SMALL as RUN_AS_C

ROOT = Path(__file__).parents[2]


def script():
    path = ROOT / "scripts" / "make_formats_table.py"
    spec = importlib.util.spec_from_file_location("make_formats_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = script()
TABLE = SCRIPT.PAGE.read_text().split(SCRIPT.BEGIN)[1].split(SCRIPT.END)[0].strip().splitlines()
HEAD = TABLE[0]
ROWS = [[part.strip(" `") for part in row.strip("|").split("|")] for row in TABLE[2:]]
CELLS = {
    (row[0], known.name): text for row in ROWS for known, text in zip(WRITTEN, row[1:], strict=True)
}


def test_the_table_has_every_architecture_and_every_format():
    assert [row[0] for row in ROWS] == list(bnnzoo.list_models())
    assert re.findall(r"`(\w+)`", HEAD) == [known.name for known in WRITTEN]


def test_what_was_run_is_what_tests_run():
    """Those of QONNX and of packed files run every architecture."""
    row = next(line for line in SCRIPT.PAGE.read_text().splitlines() if line.startswith("| `c` |"))
    assert set(re.findall(r"`(\w+)`", row)) == {"c", *RUN_AS_C}
    # test_lce_peer.py runs all but this one.
    assert [n for n, f in CELLS if CELLS[n, f] == SCRIPT.NEVER] == ["dorefanet"]


@pytest.mark.parametrize("name", swept((name for name, *_ in ROWS), rest="long"))
def test_a_row_is_what_formats_make_of_the_network(name):
    """But for what versions and names take in metadata."""
    for known in WRITTEN:
        shown, made = CELLS[name, known.name], SCRIPT.cell(name, known.name)
        if SCRIPT.NEVER in (shown, made):
            assert shown == made
            continue
        pairs = zip(shown.split(" + "), made.split(" + "), strict=True)
        assert all(float(a) == pytest.approx(float(b), rel=0.01, abs=0.011) for a, b in pairs)
