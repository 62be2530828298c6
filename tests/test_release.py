"""What a release says in several files agrees, and the names of scripts are those of files."""

import re
from pathlib import Path

import pytest

from bnnzoo.version import __version__

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def scripts_named_in(path: Path) -> set[str]:
    return set(re.findall(r"scripts/\w+\.sh", path.read_text("utf-8")))


def test_citation_and_changelog_have_the_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    released = re.search(r"^date-released: (\S+)$", citation, re.M)[1]
    assert f"\nversion: {__version__}\n" in citation
    assert f"\n## [{__version__}] - {released}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("path", [ROOT / "Makefile", *WORKFLOWS], ids=lambda path: path.name)
def test_scripts_that_are_called_exist(path):
    assert [name for name in scripts_named_in(path) if not (ROOT / name).is_file()] == []


def test_every_test_script_has_a_target():
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("test*.sh")}
    assert scripts - scripts_named_in(ROOT / "Makefile") == set()
