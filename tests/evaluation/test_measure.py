"""Claim: `evaluate` counts what NumPy counts, on every kind of data, and times only the work."""

from __future__ import annotations

import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo.data import labels, open_source, preprocessing
from bnnzoo.data.source import Item, Source
from bnnzoo.errors import ArgumentError, DataError, UnknownModelError
from bnnzoo.model_spec import ModelSpec
from tests.evaluation.centroid_network import (
    SAMPLE,
    centroid_network,
    centroid_scores,
    sample,
    save_centroid_network,
)


def evaluate(data: object = SAMPLE, model: object = None, **options: object):  # type: ignore[no-untyped-def]
    return bnnzoo.evaluate(
        model or centroid_network(),
        data,  # type: ignore[arg-type]
        **({"preprocessing": "scale_pm1"} | options),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_accuracy_and_loss_equal_numpy(activation: str | None) -> None:
    scores, (_, truth) = centroid_scores(), sample()
    order = np.argsort(-scores, axis=1)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    report = evaluate(model=centroid_network(activation), batch_size=300)
    assert report.n == 2000
    assert report.top1 == 100 * (order[:, 0] == truth).mean()
    assert report.top5 == 100 * (order[:, :5] == truth[:, None]).any(axis=1).mean()
    # float32 against float64.
    assert report.loss == pytest.approx(-np.log(shares[np.arange(2000), truth]).mean(), rel=1e-4)
    assert 60 < report.top1 < 80  # a nearest mean is no good network, but no guess either
    np.testing.assert_array_equal(report.predictions.labels, truth)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 5000])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    expected = (np.argsort(-centroid_scores()[:50], axis=1, kind="stable")[:, :5]).tolist()
    report = evaluate(batch_size=batch_size, limit=50)
    assert report.predictions.top_indices.tolist() == expected


def test_equals_keras_evaluate() -> None:
    images, truth = sample()
    model = centroid_network("softmax")
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = (images[..., None] / 127.5 - 1).astype("float32"), truth.astype("int32")
    loss, accuracy = model.evaluate(x, y, verbose=0)
    report = evaluate(model=model)
    assert report.top1 == pytest.approx(100 * accuracy)
    assert report.loss == pytest.approx(loss, rel=1e-5)


def brightness_network() -> keras.Model:
    """Scores class c by -(mean pixel - 10 c)^2, so that an image of value 10 c is class c."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6),
        ]
    )
    c = np.arange(6.0)
    model.set_weights([20 * c[None], -((10 * c) ** 2)])  # 20 c m - 100 c^2
    return model


VALUES = np.array([0, 10, 20, 30, 40, 50, 0, 0, 10, 50])
TRUTH = np.array([0, 1, 2, 3, 4, 5, 1, 5, 1, 0])  # images 6, 7 and 9 are labelled wrongly


def brightness_images() -> np.ndarray:
    return np.repeat(VALUES, 16).reshape(-1, 4, 4).astype(np.uint8)


def test_known_counts() -> None:
    report = evaluate(
        (brightness_images(), TRUTH), brightness_network(), preprocessing="raw", batch_size=4
    )
    assert (report.n, report.top1, report.top5) == (10, 70.0, 80.0)
    matrix = report.confusion_matrix()
    assert matrix.trace() == 7
    assert (matrix[1, 0], matrix[5, 0], matrix[0, 5]) == (1, 1, 1)
    assert report.predictions.ids[:2] == ("arrays/0", "arrays/1")
    assert report.class_names == tuple(f"class {i}" for i in range(6))


def test_a_folder_of_images_equals_the_arrays(tmp_path: Path) -> None:
    images, truth = sample()
    names = [labels.normalise(name) for name in labels.names("fashion_mnist")]
    for i in range(200):
        path = tmp_path / names[truth[i]] / f"{i:04}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(images[i]).save(path)
    report = evaluate(tmp_path, class_map={name: i for i, name in enumerate(names)})
    right = {
        id.split("/")[1]: top[0] == label
        for id, top, label in zip(
            report.predictions.ids,
            report.predictions.top_indices,
            report.predictions.labels,
            strict=True,
        )
    }
    expected = np.argmax(centroid_scores()[:200], axis=1) == truth[:200]
    assert [right[f"{i:04}.png"] for i in range(200)] == expected.tolist()


def test_a_source_with_a_class_map_keeps_its_indices(tmp_path: Path) -> None:
    images, labels_ = sample()
    for name, label in (("Stiefel", 9), ("Hemd", 6)):
        (tmp_path / name).mkdir()
        for i in np.flatnonzero(labels_ == label)[:5]:
            Image.fromarray(images[i]).save(tmp_path / name / f"{i}.png")
    model = centroid_network()
    model.model_spec = ModelSpec("centroids", (28, 28, 1), 10, labels="fashion_mnist")
    source = open_source(tmp_path, class_map={"Stiefel": 9, "Hemd": 6})
    report = evaluate(source, model)
    assert set(report.predictions.labels) == {6, 9}
    with pytest.raises(DataError, match=r"must be those of the model, got 'Hemd'"):
        evaluate(open_source(tmp_path), model)


def test_a_broken_image_is_named_or_skipped(tmp_path: Path) -> None:
    for i, value in enumerate(VALUES[:6]):
        path = tmp_path / str(i) / "a.png"
        path.parent.mkdir()
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)
    (tmp_path / "3" / "a.png").write_bytes(b"\x89PNG broken")
    options = {"model": brightness_network(), "preprocessing": "raw", "batch_size": 1}
    with pytest.raises(DataError, match=r"3/a\.png is not a readable image"):
        evaluate(tmp_path, **options)
    report = evaluate(tmp_path, skip_bad=True, **options)
    assert (report.n, report.top1, report.partial) == (5, 100.0, True)
    assert [skipped.id for skipped in report.skipped] == ["3/a.png"]
    assert not [t for t in threading.enumerate() if t.name.startswith("bnnzoo-data")]


def test_nothing_but_broken_images_is_an_error(tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="has no usable images"):
        evaluate(tmp_path, brightness_network(), preprocessing="raw", skip_bad=True)


@pytest.mark.parametrize(
    ("limit", "n", "partial"),
    [(None, 10, False), (10, 10, False), (99, 10, False), (3, 3, True)],
)
def test_limit_stamps_the_report_partial(limit: int | None, n: int, partial: bool) -> None:
    data = (brightness_images(), TRUTH)
    report = evaluate(data, brightness_network(), preprocessing="raw", limit=limit)
    assert (report.n, report.partial) == (n, partial)


def test_label_out_of_range_is_named_before_any_work() -> None:
    def never() -> np.ndarray:
        raise AssertionError("an image was read")

    source = Source("made", 2, (Item("a", 0, never), Item("b", 6, never)))
    with pytest.raises(DataError, match="b: class index must be from 0 to 5, got 6"):
        evaluate(source, brightness_network(), preprocessing="raw")


def test_progress_counts_to_the_total() -> None:
    calls: list[tuple[int, int]] = []
    evaluate(batch_size=16, limit=40, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(16, 40), (32, 40), (40, 40)]


def test_an_error_of_the_consumer_leaves_no_thread() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(batch_size=8, progress=stop)
    assert not [t for t in threading.enumerate() if t.name.startswith("bnnzoo-data")]


def test_one_shape_of_batch_means_one_compilation() -> None:
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):  # type: ignore[no-untyped-def]
            traces.append(x.shape)  # runs when the model is traced, not when it is called
            return x

    model = keras.Sequential(
        [keras.Input((28, 28, 1)), Counting(), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    traces.clear()
    evaluate(model=model, batch_size=16, limit=40)
    assert len(traces) == (3 + 1 if keras.backend.backend() == "torch" else 1)


def test_versions_and_settings_are_kept(tmp_path: Path) -> None:
    path = save_centroid_network(tmp_path)
    report = evaluate(model=path, limit=4, batch_size=2, command="made by a test")
    result = report.to_dict()
    assert {"bnnzoo", "python", "numpy", "machine", "keras", "backend"} < set(result["versions"])
    assert result["versions"]["isa"] == bnnzoo.runtime.isas()[0]
    assert result["versions"]["backend"] in result["versions"]
    assert (result["model"], result["command"]) == ("centroids.keras", "made by a test")
    assert (result["preprocessing"], result["batch_size"]) == ("scale_pm1", 2)
    assert result["images_per_second"] > 0
    assert report.class_names == labels.names("fashion_mnist")


def test_own_preprocessing_object() -> None:
    shifted = preprocessing.get("scale_pm1", (28, 28, 1))
    assert evaluate(preprocessing=shifted, limit=20).preprocessing == "scale_pm1"


def test_random_weights_are_stamped() -> None:
    data = (np.zeros((2, 32, 32, 3), dtype=np.uint8), np.array([0, 1]))
    report = bnnzoo.evaluate(
        "birealnet20", data, preprocessing="scale_pm1", random_weights=True, batch_size=2
    )
    result = report.to_dict()
    assert (result["model"], result["tag"], result["random_weights"]) == ("birealnet20", None, True)
    assert result["weights_sha256"] is None


def test_a_file_has_no_random_weights(tmp_path: Path) -> None:
    """They would be its trained ones, and be called random."""
    for model in (tmp_path / "net.keras", tmp_path / "net.safetensors", keras.Sequential()):
        with pytest.raises(ArgumentError, match=r"require a name in the zoo, got .*Leave out"):
            bnnzoo.evaluate(model, "sample:fashion_mnist", random_weights=True)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"batch_size": 0}, ArgumentError, "batch_size must be a positive integer, got 0"),
        ({"batch_size": "x"}, ArgumentError, "batch_size must be a positive integer, got 'x'"),
        ({"limit": 0}, ArgumentError, "limit must be a positive integer, got 0"),
        ({"limit": 5.0}, ArgumentError, "limit must be a positive integer, got 5.0"),
        ({"preprocessing": "scale_pm"}, ArgumentError, "Did you mean 'scale_pm1'"),
        ({"preprocessing": None}, ArgumentError, "centroids has no preprocessing"),
        ({"data": "sample:x"}, ArgumentError, "Unknown data set 'sample:x'"),
        ({"data": "no/where"}, DataError, "There is no folder or file no/where"),
        ({"model": "quicknet_smal"}, UnknownModelError, "Did you mean 'quicknet_small'"),
        (
            {"data": (np.zeros((1, 4, 4), np.uint8), [0]), "class_map": {"a": 0}},
            ArgumentError,
            "labels_csv and class_map must be None",
        ),
        (
            {"data": np.zeros((2, 4, 4), np.uint8)},
            ArgumentError,
            r"\(images, labels\), got ndarray",
        ),
    ],
    ids=[
        "batch",
        "text",
        "limit",
        "real",
        "id",
        "none",
        "sample",
        "folder",
        "model",
        "class map",
        "images alone",
    ],
)
def test_wrong_arguments(options: dict[str, object], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        evaluate(**options)
