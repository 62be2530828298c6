"""Claim: `bnnzoo evaluate` measures a saved model on real data and writes what it is asked for."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.evaluation.measure import evaluate
from tests.evaluation.centroid_network import centroid_scores, sample, save_centroid_network

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_centroid_network(tmp_path_factory.mktemp("model")))


@pytest.fixture
def arguments(model: str) -> list[str]:
    options = ["--data", "sample:fashion_mnist", "--preprocessing", "scale_pm1"]
    return ["evaluate", model, *options, "--batch-size", "200"]


def right() -> np.ndarray:
    return np.argmax(centroid_scores(), axis=1) == sample()[1]


def run(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Runs the command in a process, and returns what it prints as JSON, and writes."""
    result = subprocess.run(
        [sys.executable, "-m", "bnnzoo", *arguments, "--json", "-o", folder / "result.json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    assert value == json.loads((folder / "result.json").read_text())
    assert value["command"].startswith("bnnzoo evaluate ")
    assert value["command"].endswith(f"--json -o {folder}/result.json")
    assert "images/s" not in result.stderr, "a progress bar without a terminal"
    return value


def test_a_process_from_end_to_end(tmp_path: Path) -> None:
    packed = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet_mlp.mnist.safetensors"
    value = run(["evaluate", str(packed), "--data", "sample:fashion_mnist"], tmp_path)
    assert (value["runtime"], value["dataset"]) == ("packed", "sample:fashion_mnist")
    assert value["data"] == "sample:fashion_mnist"
    assert (value["n"], value["partial"]) == (2000, False)
    assert value["top1"] == evaluate(packed, "sample:fashion_mnist").top1


@pytest.mark.slow
def test_a_process_with_keras_prints_json_alone(arguments: list[str], tmp_path: Path) -> None:
    value = run(arguments, tmp_path)
    assert (value["runtime"], value["model"]) == ("keras", "centroids.keras")
    assert value["top1"] == 100 * right().mean()


def test_table_for_people(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--limit", "500", "--per-class"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    facts = {line[0]: line[1:] for line in lines}
    assert facts["model"] == ["centroids.keras"]
    assert facts["data"] == ["set", "sample:fashion_mnist", "(n", "=", "500,", "partial)"]
    assert facts["top-1"][:2] == [f"{100 * right()[:500].mean():.2f}", "%"]
    assert facts["9"][:2] == ["Ankle", "boot"]


def test_files_are_written(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {
        option: tmp_path / name
        for option, name in [
            ("--output", "r.json"),
            ("--log-samples", "s.jsonl"),
            ("--confusion-matrix", "c.csv"),
        ]
    }
    options = [part for option, path in paths.items() for part in (option, str(path))]
    assert main([*arguments, "--per-class", *options]) == 0
    result = json.loads(paths["--output"].read_text())
    matrix = [row[1:] for row in csv.reader(paths["--confusion-matrix"].read_text().splitlines())][
        1:
    ]
    assert sum(int(matrix[i][i]) for i in range(10)) == right().sum()
    assert sum(row["n"] * row["top1"] for row in result["per_class"]) / 100 == right().sum()
    samples = [json.loads(line) for line in paths["--log-samples"].read_text().splitlines()]
    assert len(samples) == 2000
    assert [row["top5"][0] == row["label"] for row in samples] == right().tolist()
    assert samples[0]["id"] == "fashion_mnist:test/0"
    assert sum(samples[0]["scores"]) <= 1.0001

    capsys.readouterr()
    before = paths["--output"].read_bytes()
    assert main([*arguments, *options]) == 2
    assert "r.json already exists. Use --force" in capsys.readouterr().err
    assert paths["--output"].read_bytes() == before
    assert main([*arguments, *options, "--limit", "1", "--force"]) == 0
    assert json.loads(paths["--output"].read_text())["n"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "r.json", "s.jsonl"]


@pytest.mark.parametrize("option", ["--output", "--log-samples", "--confusion-matrix"])
def test_files_that_exist_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    arguments = ["evaluate", "gone.keras", "--data", "sample:fashion_mnist", option, str(taken)]
    assert main(arguments) == 2
    assert "taken.csv already exists. Use --force" in capsys.readouterr().err
    assert taken.read_text() == "mine"


def test_files_that_are_the_same_by_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    options = ["-o", str(tmp_path / "a.json"), "--log-samples", str(tmp_path / "link.json")]
    assert main(["evaluate", "gone.keras", "--data", "sample:fashion_mnist", *options]) == 2
    assert "must name different files" in capsys.readouterr().err
    options = ["-o", "/dev/null", "--log-samples", "/dev/null"]
    assert main(["evaluate", "gone.keras", "--data", "sample:fashion_mnist", *options]) == 4


@pytest.mark.parametrize("place", ["model", "data", "table"])
def test_what_is_read_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    files = {"model": tmp_path / "net.safetensors", "data": tmp_path / "d.npz"}
    files["table"] = tmp_path / "labels.csv"
    for file in files.values():
        file.write_text("mine")
    data = str(tmp_path) if place == "table" else f"{files['data']}:test"
    command = ["evaluate", str(files["model"]), "--data", data, "--force"]
    assert main([*command, "-o", str(files[place])]) == 2
    assert "is an input of this command. Choose another path" in capsys.readouterr().err
    assert [file.read_text() for file in files.values()] == ["mine"] * 3


def test_confusion_picture(arguments: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main([*arguments, "--confusion-matrix", str(tmp_path / "c.png")]) == 0
    with Image.open(tmp_path / "c.png") as image:
        assert image.format == "PNG"


def image_folder(root: Path) -> Path:
    """The first 30 images of the sample as PNG files, a folder per class number."""
    images, truth = sample()
    for i in range(30):
        path = root / str(truth[i]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(path)
    return root


def test_skip_bad_reports_on_standard_error(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = image_folder(tmp_path / "images")
    broken = root / str(sample()[1][4]) / "4.png"
    broken.write_bytes(broken.read_bytes()[:80])
    options = ["evaluate", model, "--data", str(root), "--preprocessing", "scale_pm1"]
    assert main(options) == 5
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {broken} is not a readable image")
    assert error.count("\n") == 1
    assert main([*options, "--skip-bad", "--json"]) == 0
    captured = capsys.readouterr()
    assert f"Skipped {broken} is not a readable image" in captured.err
    result = json.loads(captured.out)
    assert (result["n"], result["partial"]) == (29, True)
    assert [entry["id"] for entry in result["skipped"]] == [f"{broken.parent.name}/4.png"]


@pytest.mark.parametrize(
    ("extra", "code", "match"),
    [
        (["--preprocessing", "scale"], 2, "Unknown preprocessing 'scale'"),
        (["--confusion-matrix", "c.txt"], 2, "must end in .csv or .png, got c.txt"),
        (["-o", "no/where.json"], 2, "the folder no does not exist"),
        (["--batch-size", "0"], 2, "0 is not in the range x>=1"),
        (["--labels", "labels.csv"], 2, "--labels must not be given for sample:fashion_mnist"),
        (["--data", "nowhere"], 5, "There is no folder or file nowhere"),
    ],
    ids=["preprocessing", "suffix", "folder", "batch", "labels", "data"],
)
def test_wrong_options(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    code: int,
    match: str,
) -> None:
    assert main([*arguments, *extra]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert match in captured.err


@pytest.mark.parametrize(
    ("name", "code", "match"),
    [
        ("birealnet-18", 3, "Did you mean 'birealnet18'"),
        ("gone.keras", 4, "There is no file gone.keras"),
        ("birealnet34", 3, "has no pretrained weights"),
    ],
)
def test_models_that_cannot_be_had(
    capsys: pytest.CaptureFixture[str], name: str, code: int, match: str
) -> None:
    assert main(["evaluate", name, "--data", "sample:fashion_mnist"]) == code
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (["--data", "nowhere"], 5, "There is no folder or file nowhere"),
        (["--data", "gone.npz:train"], 5, "There is no file gone.npz"),
        (["--data", "keras:mnits"], 2, "Did you mean 'keras:mnist'"),
        (["--data", "sample:mnist"], 2, "Available: sample:fashion_mnist"),
        (["--data", ""], 2, "--data must name a data set, got ''"),
        (["--data", ".", "-o", "r", "--log-samples", "./r"], 2, "must name different files"),
        (["--data", "sample"], 5, "There is no folder or file sample"),
        (["--data", ".", "--labels", "gone.csv"], 5, "There is no file gone.csv"),
        (["--data", ".", "--class-map", "gone.json"], 5, "There is no file gone.json"),
        (
            ["--data", ".", "--labels", "a.csv", "--class-map", "b.csv"],
            2,
            "must not be given with --labels",
        ),
        (["--data", "keras:mnist", "--preprocessing", "scale_pm"], 2, "Did you mean 'scale_pm1'"),
    ],
    ids=[
        *("folder", "npz", "keras", "sample", "empty", "files", "no colon", "labels", "map"),
        *("both", "preprocessing"),
    ],
)
def test_data_and_options_are_checked_before_a_model_is_fetched(
    capsys: pytest.CaptureFixture[str], options: list[str], code: int, match: str
) -> None:
    assert main(["evaluate", "gone.keras", *options]) == code
    assert match in capsys.readouterr().err


def test_a_missing_extra_is_told_before_a_model_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    options = ["--data", "sample:fashion_mnist", "--confusion-matrix", str(tmp_path / "c.png")]
    assert main(["evaluate", "gone.keras", *options]) == 1
    assert "pip install '.[plots]'" in capsys.readouterr().err


@pytest.mark.slow
def test_random_weights_run_over_photos(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole path of ImageNet: 24 of the 1,300 photos, labels from their CSV."""
    table = SHARED / "imagenet_val1300_labels.csv"
    if not table.is_file():
        pytest.skip(f"{table} is not there: the photos are not part of the repository")
    photos = str(SHARED / "imagenet_val1300")
    options = ["--data", photos, "--labels", str(table), "--limit", "24", "--batch-size", "8"]
    assert main(["evaluate", "quicknet_small", "--random-weights", *options, "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["n"], result["partial"], result["random_weights"]) == (24, True, True)
    assert (result["dataset"], result["preprocessing"]) == ("folder:imagenet_val1300", "larq_in1k")
    assert "The weights are random" in captured.err


@pytest.mark.long
def test_random_weights_run_over_all_1300_photos(capsys: pytest.CaptureFixture[str]) -> None:
    table = SHARED / "imagenet_val1300_labels.csv"
    if not table.is_file():
        pytest.skip(f"{table} is not there: the photos are not part of the repository")
    photos = str(SHARED / "imagenet_val1300")
    options = ["--data", photos, "--labels", str(table), "--random-weights", "--json"]
    assert main(["evaluate", "birealnet18", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["partial"]) == (1300, False)
