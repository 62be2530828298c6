"""The trips through the code that docs/architecture.md tells: the names exist, the ways too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_doors import MODULES, modules_imported

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SECTION = PAGE.partition("## Five trips")[2].partition("\n## ")[0]
STOP = re.compile(r"^\d+\. `(?P<file>[^`]+)`: `(?P<name>[\w.]+)`", re.MULTILINE)
TRIPS = {
    title: [(match["file"], match["name"]) for match in STOP.finditer(body)]
    for title, _, body in (part.partition("\n") for part in SECTION.split("### ")[1:])
}


@pytest.mark.parametrize("title", TRIPS)
def test_a_trip_is_short_and_its_names_exist(title):
    stops = TRIPS[title]
    assert 5 <= len(stops) <= 10
    for file, name in stops:
        text = (ROOT / file).read_text()
        for part in name.split("."):
            defined = rf"^\s*(?:def|class|struct) {part}\b"
            assert re.search(defined, text, re.MULTILINE), f"{file} does not define {part}"


def reached_from(path: Path) -> set[Path]:
    """The files that a file imports, and theirs."""
    found, fresh = set(), {path}
    while fresh:
        found |= fresh
        fresh = {MODULES[name] for file in fresh for name in modules_imported(file)} - found
    return found


@pytest.mark.parametrize("title", TRIPS)
def test_imports_lead_from_or_to_a_stop_before(title):
    files = [ROOT / file for file, _ in TRIPS[title] if file.endswith(".py")]
    for index, file in enumerate(files[1:], start=1):
        before = files[:index]
        assert reached_from(file) & set(before) or any(file in reached_from(f) for f in before), (
            file
        )


def test_there_are_five_trips():
    assert len(TRIPS) == 5
