"""What a release says in several files agrees."""

import re
from pathlib import Path

from bnnzoo.version import __version__

ROOT = Path(__file__).parent.parent


def test_citation_and_changelog_have_the_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    released = re.search(r"^date-released: (\S+)$", citation, re.M)[1]
    assert f"\nversion: {__version__}\n" in citation
    assert f"\n## [{__version__}] - {released}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
