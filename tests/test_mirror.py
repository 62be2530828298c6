"""Where the test of a module is: at the mirrored path, or in the table of docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bnnzoo

TESTS = Path(__file__).parent
PACKAGE = Path(bnnzoo.__file__).parent
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py")
]
_, _, SECTION = (TESTS.parent / "docs" / "architecture.md").read_text().partition("\n## Tests\n")
# Patterns of modules -> the files that test all of them.
SWEPT = {
    tuple(re.findall(r"`([^`]+)`", modules)): re.findall(r"`([^`]+)`", tests)
    for modules, tests in re.findall(r"^\| (`.+`) \| (`.+`) \|$", SECTION, re.MULTILINE)
}
PATTERNS = {pattern: tests for patterns, tests in SWEPT.items() for pattern in patterns}


def has_its_own(module: Path) -> bool:
    return (TESTS / module.with_name(f"test_{module.name}")).exists()


OTHERS = [str(module) for module in MODULES if not has_its_own(module)]


@pytest.mark.parametrize("module", OTHERS)
def test_a_module_without_a_test_of_its_own_is_swept_with_others(module):
    assert [pattern for pattern in PATTERNS if Path(module).match(pattern)], (
        f"write tests/{Path(module).with_name('test_' + Path(module).name)}, or add a row to "
        "docs/architecture.md"
    )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_row_is_needed_and_names_tests(pattern):
    assert [module for module in OTHERS if Path(module).match(pattern)]
    assert all((TESTS / name).is_file() for name in PATTERNS[pattern])
