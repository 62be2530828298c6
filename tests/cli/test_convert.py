"""`bnnzoo convert`: what it prints, its files and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import bnnzoo
from bnnzoo import runtime
from bnnzoo.cli.main import main
from bnnzoo.data import open_source
from bnnzoo.formats import FORMATS

SMALL = "binarynet.fashion_mnist_small"


def test_converts_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.safetensors"
    options = ["--check", "1", "--data", "sample:fashion_mnist", "--limit", "50"]
    assert main(["convert", SMALL, str(path), *options]) == 0
    told = capsys.readouterr()
    assert runtime.load(path).info.name == "binarynet"
    assert f"{path.stat().st_size:,}" in told.out
    assert "times smaller" in told.out
    assert "1 of 9 layers compute in real numbers" in told.out
    assert "fold_batch_norm" in told.out
    assert "Checked each layer on" in told.out
    assert "sample:fashion_mnist (n = 50): top-1" in told.out
    assert f"Wrote {path}." in told.out
    assert "Note: stage1_conv1 looks binary but is not: its input is real" in told.err


def test_writes_json_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", SMALL, "--dry-run", "--check", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == SMALL
    assert report["path"] is None
    assert report["sizes"]["total"] < 100_000
    assert not list(tmp_path.iterdir())


def test_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--list-formats"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [row[0] for row in rows if row and row[-1] in ("yes", "no")]
    assert shown == [f.name for f in FORMATS]


def test_measures_on_a_folder_with_labels_in_a_csv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["file,class_index"]
    for i, (image, label, _) in enumerate(open_source("sample:fashion_mnist")):
        if i == 6:
            break
        Image.fromarray(np.squeeze(image)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{label}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows))
    packed = Path(bnnzoo.__file__).parent / "pretrained" / f"{SMALL}.safetensors"
    arguments = ["convert", str(packed), "--dry-run", "--check", "1", "--json"]
    assert main([*arguments, "--data", str(tmp_path), "--labels", str(labels)]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["n"] == 6
    assert main([*arguments, "--labels", str(labels)]) == 2
    assert "require --data" in capsys.readouterr().err


def test_a_dry_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--random-weights", "--dry-run", "--check", "0", "--weights-dtype", "int8"]
    assert main(["convert", "birealnet20", *options]) == 0
    out = capsys.readouterr().out
    assert "Nothing was written (dry run)." in out
    assert "int8" in out


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        ([SMALL], 2, "Missing argument 'OUT'. Pass a path, or --dry-run."),
        ([SMALL, "small.h5"], 2, "path must end in .safetensors"),
        ([SMALL, "there.safetensors"], 2, "already exists. Use --force"),
        (["birealnet34", "a.safetensors"], 3, "has no pretrained weights"),
        (["gone.keras", "a.safetensors"], 4, "gone.keras"),
        (["gelu.keras", "a.safetensors"], 6, "Cannot convert layer 'gelu_3' (Activation)"),
        ([SMALL, "a.safetensors", "--data", "nowhere"], 5, "There is no folder or file nowhere"),
    ],
    ids=["no path", "suffix", "exists", "unknown", "missing", "layer", "data"],
)
def test_exit_codes(
    arguments: list[str],
    code: int,
    match: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").touch()
    if "gelu.keras" in arguments:
        inputs = keras.Input((4, 4, 2))
        outputs = layers.Activation("gelu", name="gelu_3")(inputs)
        keras.Model(inputs, outputs).save("gelu.keras")
    assert main(["convert", *arguments]) == code
    assert match in capsys.readouterr().err
    assert not Path("a.safetensors").exists()


def test_own_names_and_preprocessing_go_into_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    ).save(tmp_path / "net.keras")
    (tmp_path / "names.txt").write_text("ripe\nunripe\n")
    arguments = ["convert", str(tmp_path / "net.keras"), str(tmp_path / "net.safetensors")]
    own = ["--preprocessing", "mean=0.5,0.4,0.3:std=0.2", "--labels", str(tmp_path / "names.txt")]
    assert main([*arguments, *own]) == 0
    model = runtime.load(tmp_path / "net.safetensors")
    assert model.labels == ("ripe", "unripe")
    x = np.full((1, 6, 5, 3), 51, np.uint8)
    expected = np.broadcast_to((0.2 - np.array([0.5, 0.4, 0.3])) / 0.2, x.shape)
    np.testing.assert_allclose(model.preprocess(x), expected, atol=1e-5)
    Image.fromarray(x[0]).save(tmp_path / "a.png")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "net.safetensors"), str(tmp_path / "a.png")]) == 0
    assert {"ripe", "unripe"} <= set(capsys.readouterr().out.split())
    assert main([*arguments, "--force", "--labels", "mnist"]) == 2
    assert "labels must name the classes of one output, got 10 for 1" in capsys.readouterr().err
