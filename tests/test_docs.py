"""The documentation: its names resolve, its code runs, and its tables are those of the code."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import jsonschema
import numpy as np
import pytest

from bnnzoo import manifest
from bnnzoo.cli import main as cli
from tests.architectures.models import swept
from tests.test_doors import PACKAGE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page.read_text() for page in sorted(DOCS.rglob("*.md"))}
PAGES |= {name: (ROOT / name).read_text() for name in ("CONTRIBUTING.md", "README.md")}
PEER = json.loads((ROOT / "tests" / "data" / "larq_names.json").read_text())
SCHEMA = json.loads((ROOT / "weights_manifest.schema.json").read_text())
# Entry-point group, not a module.
NO_MODULES = {"bnnzoo.models"}
# Deprecations are what packages tell each other at import, old ones most of all.
STRICT = ["-W", "error", "-W", "ignore::DeprecationWarning"]


class Block(NamedTuple):
    """A fenced block; `reason` says why it is not run."""

    reason: str | None
    language: str
    title: str | None
    text: str


def blocks(page: str, language: str) -> list[Block]:
    pattern = (
        r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?"
        r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$'
    )
    found = re.finditer(pattern, PAGES[page], re.MULTILINE | re.DOTALL)
    return [block for match in found if (block := Block(**match.groupdict())).language == language]


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next of its level."""
    return re.split(r"^## ", PAGES[page].split(f"\n## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """The names in backticks in the first column of the tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def resolve(name: str) -> Any:
    """Imports as much of a dotted name as is a module, then takes attributes."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEER["names"])
def test_every_public_name_of_larq_is_beside_ours(name):
    assert f"`{name}`" in PAGES["from_larq.md"]


@pytest.mark.parametrize("name", PEER["strings"])
def test_every_string_that_larq_registers_is_there(name):
    is_object = any(other.endswith(f".{name}") for other in PEER["names"])
    assert is_object or f'`"{name}"`' in PAGES["from_larq.md"]


@pytest.mark.parametrize("name", PEER["tasks"])
def test_every_task_of_larq_zoo_is_there(name):
    assert f"`{name}`" in PAGES["from_larq.md"]


def test_no_name_of_larq_is_made_up():
    named = set(re.findall(r"`(larq(?:_zoo)?\.[\w.]+)`", PAGES["from_larq.md"]))
    assert named <= set(PEER["names"])


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_bnnzoo_resolves(page):
    names = set(re.findall(r"\bbnnzoo(?:\.[A-Za-z_]\w*)+", PAGES[page])) - NO_MODULES
    for name in sorted(names):
        resolve(name)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page):
    roots = r"bnnzoo|docs|examples|scripts|tests"
    paths = re.findall(rf"`((?:{roots})/[^`{{}}<> ]*|weights_manifest[\w.]*)`", PAGES[page])
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_every_link_outside_the_site_leads_to_a_file(page):
    """Links of docs/ are checked by `mkdocs build --strict`."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[page])
    paths = [link for link in links if "://" not in link]
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_readme_installs_what_the_tests_are_checked_with():
    (extras,) = re.findall(
        r"-e '\.\[([^]]+)\]' .* scripts/test\.sh$", PAGES["README.md"], re.MULTILINE
    )
    checked = (ROOT / ".ci" / "run").read_text()
    assert f"in_environment {extras} scripts/test_all.sh" in checked


# Code --------------------------------------------------------------------------------------------

EXECUTED = [p for p in PAGES if any(b.reason is None for b in blocks(p, "python"))]


@pytest.mark.parametrize("page", swept(EXECUTED, ["README.md"]))
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    (tmp_path / "tests" / "data").mkdir(parents=True)
    for file in ("larq_network.h5", "larq_saved_sequential.h5"):
        shutil.copy(ROOT / "tests" / "data" / file, tmp_path / "tests" / "data")
    code = [block.text for block in blocks(page, "python") if block.reason is None]
    (tmp_path / "page.py").write_text("\n".join(code))
    done = run([*STRICT, "page.py"], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_model_of_a_package_joins_by_its_entry_point(tmp_path):
    (block,) = (b for b in blocks("adding_a_model.md", "python") if b.title == "tiny_net.py")
    (project,) = blocks("adding_a_model.md", "toml")
    group, _, points = project.text.partition('"bnnzoo.models"]\n')
    assert group.endswith("[project.entry-points.")
    (tmp_path / "tiny_net.py").write_text(block.text)
    info = tmp_path / "tiny_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bnnzoo.models]\n" + points.replace('"', ""))
    listed = run(["-m", "bnnzoo", "list", "tiny*"], tmp_path)
    assert "tiny_net" in listed.stdout
    loaded = run(["-c", "import bnnzoo; print(bnnzoo.load('tiny_net').output_shape)"], tmp_path)
    assert "(None, 10)" in loaded.stdout, loaded.stderr


COMMANDS = sorted(
    {
        line
        for page in PAGES
        for language in ("bash", "sh")
        for block in blocks(page, language)
        for line in block.text.splitlines()
        if line.startswith("bnnzoo ")
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_understood(line):
    group: click.Command = cli.command
    arguments = shlex.split(line.partition(" | ")[0], comments=True)[1:]
    while isinstance(group, click.Group):
        name, command, arguments = group.resolve_command(click.Context(group), arguments)
        group = command
    assert group.make_context(name, arguments).command is group


# Tables ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated():
    """The files that `scripts/make_models_page.py` writes."""
    script = ROOT / "scripts" / "make_models_page.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.files()


def test_generated_pages_are_what_their_script_writes(generated):
    cards = {path for path in generated if path.parent.name == "models"}
    assert cards == set((ROOT / "docs" / "models").glob("*.md"))
    for path, text in generated.items():
        assert path.read_text() == text, "run: python scripts/make_models_page.py"


def test_every_set_of_weights_has_a_card_with_its_figures(generated):
    for name, record in manifest.load().weights.items():
        text = generated[ROOT / "docs" / "models" / f"{name}.md"]
        assert all(f"| {metric.top1:.2f} |" in text for metric in record.metrics)
        assert all(metric.command in text for metric in record.metrics if metric.command)
        assert all(file.sha256 in text for file in record.files)
        assert f"| Licence | `{record.licence}` |" in text


def test_confusion_matrices_have_the_accuracy_of_the_packed_file():
    own = {n: r for n, r in manifest.load().weights.items() if r.training is not None}
    for name, record in own.items():
        path = ROOT / "docs" / "models" / f"{name}.confusion.csv"
        _, *rows = csv.reader(path.read_text().splitlines())
        matrix = np.array([row[1:] for row in rows], dtype=int)
        (metric,) = (m for m in record.metrics if "--runtime packed" in m.command)
        assert matrix.sum() == metric.n
        assert 100 * matrix.trace() / metric.n == pytest.approx(metric.top1)
        assert path.with_name(f"{name}.svg").exists()


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_option_of_a_command_is_explained(name):
    text = section("command_line.md", name)
    command = cli.command.get_command(click.Context(cli.command), name)
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for inner in commands:
        options = [p for p in inner.params if isinstance(p, click.Option)]
        assert not [o.opts[-1] for o in options if o.opts[-1] not in text + common_options()]


def common_options() -> str:
    """What stands above the first command, for all of them."""
    return PAGES["command_line.md"].partition("\n## ")[0]


def test_every_environment_variable_is_explained():
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r"(?<!_)BNNZOO_[A-Z_]+", source)) <= set(first_column(PAGES["index.md"]))


def test_the_exit_codes_are_those_of_the_help():
    table = dict(re.findall(r"^\| (\d+) \| ([^:|]+)", PAGES["command_line.md"], re.MULTILINE))
    listed = dict(re.findall(r"(\d+) ([^,.]+)", cli.EXIT_CODES))
    assert {code: text.strip() for code, text in table.items()} == listed


def test_every_architecture_has_a_reference():
    files = {path.stem for path in (PACKAGE / "architectures").glob("*.py")}
    papers = files - {"__init__", "arguments", "assembly", "blocks", "catalog", "channels_last"}
    named = re.findall(
        r"^::: bnnzoo\.architectures\.(\w+)$", page_of("architectures"), re.MULTILINE
    )
    assert sorted(named) == sorted(papers)


def test_every_building_block_has_a_reference():
    public = set(importlib.import_module("bnnzoo.nn").__all__) - {"quantizers"}
    named = re.findall(r"^::: bnnzoo\.nn\.(\w+)$", page_of("nn"), re.MULTILINE)
    assert public == set(named)


def page_of(name: str) -> str:
    return PAGES[f"reference/{name}.md"]


# Weights -----------------------------------------------------------------------------------------


def test_the_example_record_is_valid():
    record, golden = (json.loads(block.text) for block in blocks("adding_weights.md", "json"))
    value = {"schema": manifest.SCHEMA, "weights": record}
    jsonschema.validate(value, SCHEMA)
    assert list(manifest.parse(value).weights) == list(record)
    jsonschema.validate(golden, {**SCHEMA["$defs"]["golden"], "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize("kind", ["record", "training", "file", "metric", "golden"])
def test_every_field_of_the_manifest_is_explained(kind):
    fields = set(SCHEMA["$defs"][kind]["properties"])
    explained = set(re.findall(r"`(\w+)`", PAGES["adding_weights.md"]))
    assert not fields - explained
