"""Segmentation is measured by pixel: counts, intersections over unions, intervals by image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.data.masks import read_mask
from bnnzoo.data.palette import mask_png
from bnnzoo.data.source import IGNORED
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.evaluation.classifiers import open_classifier
from bnnzoo.evaluation.prediction import predict
from bnnzoo.evaluation.segmentation import SegmentationReport, pixel_counts, ratio_interval
from bnnzoo.model_spec import ModelSpec

SHAPE = (12, 16, 3)
NAMES = ("red", "green", "blue", "unused")


def colour_network() -> keras.Model:
    """Classifies each pixel by its strongest colour; exact in every runtime."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 1, name="logits")(inputs)
    model = keras.Model(inputs, keras.layers.Activation("softmax")(x), name="colours")
    kernel = np.concatenate([4 * np.eye(3), np.zeros((3, 1))], axis=1)[None, None]
    model.get_layer("logits").set_weights([kernel, np.array([0, 0, 0, -99])])
    model.model_spec = ModelSpec("colours", SHAPE, 4, None, None, "scale_01", NAMES, "segmentation")
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos of coloured rectangles, with masks that are wrong in some pixels."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for i in range(5):
        truth = rng.integers(0, 3, SHAPE[:2]).astype(np.uint8)
        pixels = np.full(SHAPE, 20, np.uint8)
        pixels[np.arange(12)[:, None], np.arange(16), truth] = 200
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        mask = truth.copy()
        mask[rng.random(SHAPE[:2]) < 0.1 * i] = 1
        mask[:, 0] = IGNORED
        (root / "masks" / f"{i}.png").write_bytes(mask_png(mask))
    return root


@pytest.fixture(scope="module")
def spec(folder: Path) -> str:
    return f"folder:{folder}/images,{folder}/masks"


@pytest.fixture(scope="module")
def truth(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The masks, and what the network predicts."""
    masks, images = [], []
    for i in range(5):
        masks.append(read_mask(folder / "masks" / f"{i}.png"))
        with Image.open(folder / "images" / f"{i}.png") as image:
            images.append(np.asarray(image))
    return np.stack(masks), np.stack(images).argmax(axis=-1)


def ious(masks: np.ndarray, found: np.ndarray) -> list[float]:
    """Sets of pixels, as the definition has them."""
    inside = masks != IGNORED
    return [
        100 * (inside & (masks == c) & (found == c)).sum()
        / (inside & ((masks == c) | (found == c))).sum()
        for c in range(3)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def report(spec: str) -> SegmentationReport:
    made = bnnzoo.evaluate(colour_network(), spec, batch_size=2)
    assert isinstance(made, SegmentationReport)
    return made


def test_metrics_are_those_of_sets_of_pixels(
    report: SegmentationReport, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    masks, found = truth
    expected = ious(masks, found)
    assert report.iou[:3] == pytest.approx(expected) and report.iou[3] is None
    assert report.mean_iou == pytest.approx(np.mean(expected))
    inside = masks != IGNORED
    assert report.pixel_accuracy == pytest.approx(100 * (masks == found)[inside].mean())
    assert report.correct == ((masks == found)[inside].sum(), inside.sum())
    matrix = report.confusion_matrix()
    for label in range(4):
        for guess in range(4):
            assert matrix[label, guess] == (inside & (masks == label) & (found == guess)).sum()
    assert report.n == 5 and report.class_names == NAMES


def test_the_loss_is_the_mean_over_images_of_that_of_their_pixels(
    report: SegmentationReport, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    """softmax of 4 x / 255 and 0: the logits of a bright colour are 3.137, of a dark one 0.314."""
    masks, found = truth
    high, low, never = (np.exp(4 * v / 255) for v in (200, 20, 0))
    total = high + 2 * low + np.exp(-99) * never
    losses = -np.log(np.where(masks == found, high, low) / total)
    inside = masks != IGNORED
    expected = np.mean([loss[part].mean() for loss, part in zip(losses, inside, strict=True)])
    assert report.loss == pytest.approx(expected, rel=1e-5)


def test_the_interval_of_a_ratio_is_that_of_a_linear_sum() -> None:
    """Restated for one class: Cochran's variance of a ratio of sums."""
    rng = np.random.default_rng(1)
    wholes = rng.integers(50, 100, (40, 1))
    parts = rng.binomial(wholes, 0.7)
    ratio = parts.sum() / wholes.sum()
    residuals = parts[:, 0] - ratio * wholes[:, 0]
    error = np.sqrt((residuals**2).sum() / 39 / 40) / wholes.mean()
    expected = (100 * (ratio - 1.959964 * error), 100 * (ratio + 1.959964 * error))
    assert ratio_interval(parts, wholes) == pytest.approx(expected, rel=1e-6)
    assert ratio_interval(parts[:1], wholes[:1]) is None


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 2,000 samples of 50 images, 95 % of intervals have the ratio of all images."""
    rng = np.random.default_rng(2)
    quality = rng.beta(6, 3, 20_000)
    wholes = rng.integers(100, 2000, (20_000, 3))
    parts = rng.binomial(wholes, quality[:, None])
    expected = 100 * (parts.sum(axis=0) / wholes.sum(axis=0)).mean()
    covered = 0
    for _ in range(2000):
        chosen = rng.choice(20_000, 50, replace=False)
        low, high = ratio_interval(parts[chosen], wholes[chosen]) or (0.0, 0.0)
        covered += low <= expected <= high
    # 1.96 is the quantile of many images; three standard deviations of the count are 1.5 %.
    assert 0.92 < covered / 2000 < 0.965


def test_an_image_without_a_class_changes_nothing() -> None:
    scores = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
    masks = np.zeros((2, 3, 4), np.int64)
    masks[1] = IGNORED
    counts = pixel_counts(("a", "b"), masks, scores, "probabilities")
    assert counts.labelled.sum() == counts.predicted.sum() == counts.matrix.sum() == 12
    assert counts.losses is not None and counts.losses[1] == 0


def test_json_has_the_keys_that_scripts_rely_on(report: SegmentationReport) -> None:
    result = json.loads(json.dumps(report.to_dict(per_class=True)))
    assert {"model", "dataset", "n", "mean_iou", "pixel_accuracy", "loss", "runtime"} <= set(result)
    assert [row["name"] for row in result["per_class"]] == ["red", "green", "blue"]
    low, high = result["mean_iou_interval"]
    assert low < result["mean_iou"] < high
    lines = [json.loads(line) for line in report.samples()]
    assert [line["id"] for line in lines] == [f"{i}.png" for i in range(5)]
    assert lines[0] == {"id": "0.png", "pixels": 180, "pixel_accuracy": 100.0}


def test_keras_and_the_packed_file_measure_the_same(
    report: SegmentationReport, spec: str, tmp_path: Path
) -> None:
    path = tmp_path / "colours.safetensors"
    made = bnnzoo.convert(colour_network(), path, data=spec)
    assert made.data.metric == "mean IoU"
    assert made.data.origin == made.data.packed == report.mean_iou
    assert made.top1_agreement == 1 and made.data.agreement is None
    assert "mean IoU" in str(made)
    packed = bnnzoo.evaluate(path, spec)
    assert packed.runtime == "packed" and packed.iou == report.iou
    assert bnnzoo.evaluate(colour_network(), spec, runtime="packed").iou == report.iou


def test_the_command_measures_and_writes(
    report: SegmentationReport, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "colours.keras"
    colour_network().save(path)  # without a spec: a plain Keras model
    options = ["--data", spec, "--preprocessing", "scale_01"]
    assert main(["evaluate", str(path), *options]) == 2
    assert "Or is its task segmentation?" in capsys.readouterr().err
    options += ["--task", "segmentation", "--per-class"]
    matrix = ["--confusion-matrix", str(tmp_path / "matrix.csv")]
    assert main(["evaluate", str(path), *options, *matrix]) == 0
    shown = capsys.readouterr().out
    assert f"{report.mean_iou:.2f} %" in shown and "IoU %" in shown and "pixel accuracy" in shown
    assert (tmp_path / "matrix.csv").read_text().startswith(r"true\predicted")
    assert main(["evaluate", str(path), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_iou"] == round(report.mean_iou, 4)


WRONG: dict[str, tuple[Callable[[str], None], type[Exception], str]] = {
    "no masks": (
        lambda spec: bnnzoo.evaluate(colour_network(), "sample:fashion_mnist"),
        DataError, "must have masks, as folder:IMAGES,MASKS",
    ),
    "masks for a classifier": (
        lambda spec: bnnzoo.evaluate("binarynet.fashion_mnist_small", spec),
        DataError, "must have a label per image, because its task is classification",
    ),
    "another task": (
        lambda spec: open_classifier(colour_network(), task="classification"),
        ArgumentError, "Or is its task segmentation?",
    ),
    "no such task": (
        lambda spec: open_classifier(colour_network(), task="detection"),
        ArgumentError, "task must be one of",
    ),
    "a smaller output": (
        lambda spec: open_classifier(
            keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3)]), task="segmentation"
        ),
        ArgumentError, r"\(h, w, c\) to \(h, w, classes\), got \(12, 16, 3\) to \(10, 14, 2\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_task_or_data_is_named(name: str, spec: str) -> None:
    call, error, match = WRONG[name]
    with pytest.raises(error, match=match):
        call(spec)


def test_masks_are_predicted_in_the_size_of_the_image(
    folder: Path, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    (same,) = predict(colour_network(), [folder / "images" / "0.png"])
    np.testing.assert_array_equal(same.mask, truth[1][0])


def test_pixels_that_preprocessing_cuts_off_have_no_class(folder: Path, tmp_path: Path) -> None:
    wide = np.zeros((24, 64, 3), np.uint8)
    wide[..., 0] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (found,) = predict(colour_network(), [tmp_path / "wide.png"])
    assert found.mask.shape == (24, 64)
    assert (found.mask[:, 16:48] == 0).all()
    assert (found.mask[:, :16] == IGNORED).all() and (found.mask[:, 48:] == IGNORED).all()


def test_the_command_writes_colour_masks(
    folder: Path, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "colours.safetensors"
    bnnzoo.convert(colour_network(), path)
    images = [str(folder / "images" / f"{i}.png") for i in range(2)]
    command = ["predict", str(path), *images]
    assert main(command) == 2
    assert "--out must be given for segmentation only" in capsys.readouterr().err
    command += ["--out", str(tmp_path / "found" / "masks")]
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(read_mask(Path(row["mask"])), truth[1][i])
        assert sum(share["share"] for share in row["classes"]) == pytest.approx(1, abs=1e-5)
    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert "red" in capsys.readouterr().out
    both = ["predict", str(path), images[0], images[0], "--out", str(tmp_path / "again")]
    Path(tmp_path / "other").mkdir()
    (tmp_path / "other" / "0.png").write_bytes(Path(images[0]).read_bytes())
    both[3] = str(tmp_path / "other" / "0.png")
    assert main(both) == 2
    assert "Images must have different names" in capsys.readouterr().err
