"""`bnnzoo publish` and what other commands tell of its result: streams and exit codes."""

# ruff: noqa: F811 (fixtures are imported, and are arguments)
from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bnnzoo.cli.main import main
from bnnzoo.publishing import packing, publication
from tests.publishing.conftest import (  # noqa: F401 (fixtures)
    RECIPE,
    contents,
    edit_json,
    finished,
    images,
    quick,
    run,
    tree,
)


def test_what_is_published_is_told_and_listed(tree, finished, quick, capsys):
    assert main(["publish", str(finished), "--note", "Bands.", "--hardware", "a test"]) == 0
    captured = capsys.readouterr()
    told = [line.split()[0] for line in captured.out.splitlines() if line.strip()]
    assert told.count("Wrote") == 3 and told[-1] == "Next:"
    assert "2 epochs" in captured.out and "a test" in captured.out
    assert "(n = 96)" in captured.out and "batch_size=16" in captured.out

    assert main(["recipes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[RECIPE]["weights"] == RECIPE and rows[RECIPE]["n"] == 96
    assert rows[RECIPE]["changed"]["epochs"] == 2
    assert rows["binarynet.cifar10"]["top1"] is rows["binarynet.cifar10"]["weights"] is None
    assert main(["recipes"]) == 0
    assert f"{RECIPE} with batch_size=16" in capsys.readouterr().out

    assert main(["info", RECIPE]) == 0
    shown = capsys.readouterr().out
    assert "notes  Bands." in shown and "on a test" in shown and "log.csv" in shown
    assert main(["list", "binarynet_mlp", "--pretrained"]) == 0
    assert "(measured)" in capsys.readouterr().out


def test_weights_of_the_recipe_as_it_is_come_first(tree, finished, quick, capsys):
    assert main(["publish", str(finished)]) == 0
    assert main(["publish", str(finished), "--tag", "mnist_real"]) == 0
    path = tree / "weights_manifest.json"
    edit_json(path, lambda v: v["weights"][f"{RECIPE}_real"].pop("settings"))
    capsys.readouterr()
    assert main(["recipes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[RECIPE]["weights"], rows[RECIPE]["changed"]) == (f"{RECIPE}_real", {})


def test_a_dry_run_has_the_record_as_json(tree, finished, quick, capsys):
    before = contents(tree)
    assert main(["publish", str(finished), "--dry-run", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["files"] == [] and value["record"]["files"][0]["bytes"] > 1000
    assert value["name"] == RECIPE and value["weights_dtype"] is None
    assert main(["publish", str(finished), "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("Nothing was written (dry run).\n")
    assert contents(tree) == before


def unfinished(run):
    (run / "report.json").unlink()


def changed_weights(run):
    edit_json(run / "report.json", lambda v: v["evaluation"].update(weights_sha256="0" * 64))


def other_network(run):
    edit_json(run / "recipe.json", lambda value: value["arguments"].update(width=8))


def other_images(run):
    edit_json(run / "report.json", lambda v: v["evaluation"].update(n=10_000))


# What is wrong with the run -> exit code, and what the one line says.
REFUSED = {
    unfinished: (2, "must be a finished run"),
    changed_weights: (4, "must hold the final weights of the run"),
    other_images: (5, "must have the 10,000 images that the run was measured on, got 96"),
    other_network: (6, "A record stores only the arguments of a builder."),
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_what_is_refused_is_one_line_and_leaves_nothing(spoil, tree, run, capsys):
    spoil(run)
    before = contents(tree)
    code, message = REFUSED[spoil]
    assert main(["publish", str(run)]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert message in captured.err
    assert contents(tree) == before


def test_measurements_are_told_on_standard_error(tree, finished, capsys, monkeypatch):
    def pack(run, network, record, *, progress, **options):
        for done in (32, 64, 96):
            progress("the file packed", done, 96)
        raise packing.ConversionError("Enough.")

    monkeypatch.setattr(publication, "rebuild", lambda network, record, run: network)
    monkeypatch.setattr(publication, "pack", pack)
    assert main(["publish", str(finished)]) == 6
    captured = capsys.readouterr()
    assert captured.err == "Measuring the file packed: 96 images\nError: Enough.\n"


@pytest.mark.parametrize("arguments", [[], ["--weights-dtype", "float8"], ["--help"]], ids=str)
def test_usage(arguments, capsys):
    assert main(["publish", *arguments]) == (0 if "--help" in arguments else 2)
    assert "RUN_DIR" in capsys.readouterr()[0 if "--help" in arguments else 1]


def test_without_keras_the_extra_is_named(finished):
    code = "import sys; sys.modules['keras'] = None; from bnnzoo.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "publish", str(finished)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install '.[" in done.stderr and done.stderr.count("\n") == 1
