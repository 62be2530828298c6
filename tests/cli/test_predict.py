"""Claim: `bnnzoo predict` prints the best classes of image files, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.cli.main import main
from bnnzoo.data import labels
from tests.evaluation.centroid_network import centroid_scores, sample, save_centroid_network


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The saved model, then two images."""
    folder = tmp_path_factory.mktemp("predict")
    paths = [str(save_centroid_network(folder))]
    for i in range(2):
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(sample()[0][i]).save(paths[-1])
    return paths


def test_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *files, "--preprocessing", "scale_pm1", "--json", "--top", "2"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["file"] for result in results] == files[1:]
    for result, scores in zip(results, centroid_scores(), strict=False):
        best = np.argsort(-scores)[:2]
        assert [p["class_index"] for p in result["predictions"]] == best.tolist()
        assert result["predictions"][0]["name"] == f"class {best[0]}"
        assert result["predictions"][0]["score"] > result["predictions"][1]["score"]


def test_table(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *files, "--preprocessing", "scale_pm1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(files[1] in line for line in lines) == 5
    assert sum(files[2] in line for line in lines) == 5


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        ([], 2, "has no preprocessing. Choose one with"),
        (["--preprocessing", "scale_pm1", "gone.png"], 5, "There is no image gone.png"),
        (["--preprocessing", "scale_pm1", "--top", "0"], 2, "0 is not in the range x>=1"),
    ],
    ids=["preprocessing", "image", "top"],
)
def test_errors(
    files: list[str],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    match: str,
) -> None:
    assert main(["predict", *files, *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert match in captured.err


def test_images_must_be_given(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(Path(files[0]))]) == 2
    assert "Missing argument" in capsys.readouterr().err


def test_names_of_the_classes(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = ["--preprocessing", "mean=0.5:std=0.5"]
    assert main(["predict", *files, *scale, "--labels", "fashion_mnist"]) == 0
    assert labels.names("fashion_mnist")[centroid_scores()[0].argmax()] in capsys.readouterr().out
    (tmp_path / "names.txt").write_text("\n".join(f"kind {i}" for i in range(10)))
    assert main(["predict", *files, *scale, "--labels", str(tmp_path / "names.txt")]) == 0
    assert f"kind {centroid_scores()[0].argmax()}" in capsys.readouterr().out
    assert main(["predict", *files, *scale, "--labels", "imagenet1k"]) == 2
    assert "labels must name the 10 classes of centroids.keras, got 1000" in capsys.readouterr().err
    assert main(["predict", *files, *scale, "--labels", "gone.txt"]) == 5
    assert "--labels must be an id such as imagenet1k, or FILE" in capsys.readouterr().err
