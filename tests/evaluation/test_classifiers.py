"""Claim: a model is opened with the right provenance, preprocessing and reading of its outputs."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import manifest, runtime
from bnnzoo.architectures.assembly import assemble
from bnnzoo.conversion import convert
from bnnzoo.errors import (
    ArgumentError,
    BnnZooError,
    DataError,
    UnknownModelError,
    WeightsError,
)
from bnnzoo.evaluation.classifiers import open_classifier
from bnnzoo.formats import packed
from bnnzoo.model_spec import ModelSpec
from tests.evaluation.centroid_network import centroid_network, save_centroid_network


def classifier(*last: keras.layers.Layer) -> keras.Model:
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3), *last]
    return keras.Sequential(layers)


@pytest.mark.parametrize(
    ("last", "outputs"),
    [
        ([], "logits"),
        ([keras.layers.Activation("softmax")], "probabilities"),
        ([keras.layers.Softmax()], "probabilities"),
        ([keras.layers.Dense(3, activation="softmax")], "probabilities"),
        ([keras.layers.Softmax(), keras.layers.Activation("linear")], "probabilities"),
        ([keras.layers.Softmax(), keras.layers.Reshape((3,))], "probabilities"),
        ([keras.layers.Softmax(), keras.layers.Dense(3)], "logits"),
        ([keras.layers.BatchNormalization()], "logits"),
        ([keras.layers.Activation("linear", dtype="float32")], "logits"),
        ([keras.layers.Activation("sigmoid")], None),
    ],
    ids=[
        *("dense", "activation", "softmax", "dense softmax", "linear after", "reshape after"),
        *("dense after", "batch norm", "linear", "sigmoid"),
    ],
)
def test_outputs_are_read_off_the_last_layer(
    last: list[keras.layers.Layer], outputs: str | None
) -> None:
    assert open_classifier(classifier(*last), preprocessing="raw").outputs == outputs


def test_outputs_of_nested_and_functional_models() -> None:
    inner = classifier(keras.layers.Softmax())
    inputs = keras.Input((4, 4, 1))
    outer = keras.Model(inputs, inner(inputs))
    assert open_classifier(outer, preprocessing="raw").outputs == "probabilities"
    logits = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    assert open_classifier(logits, preprocessing="raw").outputs == "logits"
    softmax = keras.Model(inputs, keras.ops.softmax(logits(inputs)))
    assert open_classifier(softmax, preprocessing="raw").outputs == "probabilities"


def one_output(activation: str | None) -> keras.Model:
    """Bright images are class 1."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation=activation),
        ]
    )
    model.layers[-1].set_weights([np.array([[20.0]]), np.array([-10.0])])
    return model


@pytest.mark.parametrize("runtime", ["keras", "packed"])
def test_one_sigmoid_output_is_a_classifier_of_two(tmp_path: Path, runtime: str) -> None:
    model: object = one_output("sigmoid")
    if runtime == "packed":
        convert(one_output("sigmoid"), tmp_path / "net.safetensors")
        model = tmp_path / "net.safetensors"
    levels = np.array([10, 100, 160, 240], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (4, 4, 4, 1))
    classifier = open_classifier(model, preprocessing="scale_01", runtime=runtime)
    p = 1 / (1 + np.exp(10 - 20 * (levels / 255)))
    scores = classifier.run(classifier.preprocessing(np.array(images)))
    np.testing.assert_allclose(scores, np.stack([1 - p, p], axis=1), atol=1e-5)
    assert (classifier.num_classes, classifier.outputs) == (2, "probabilities")
    report = bnnzoo.evaluate(
        model, (np.array(images), [0, 1, 1, 1]), preprocessing="scale_01", runtime=runtime
    )
    assert report.top1 == 75
    assert report.loss == pytest.approx(-np.log([1 - p[0], p[1], p[2], p[3]]).mean(), rel=1e-4)


@pytest.mark.parametrize("activation", [None, "tanh"])
def test_one_output_of_another_kind_is_refused(activation: str | None) -> None:
    with pytest.raises(ArgumentError, match=r"a single sigmoid output, got a single output"):
        open_classifier(one_output(activation), preprocessing="scale_01")


@pytest.mark.parametrize("runtime", ["keras", "packed"])
def test_a_network_of_vectors_takes_images_row_by_row(tmp_path: Path, runtime: str) -> None:
    """Class k is that of the brightest of 6 pixels, read along the rows of 2 x 3."""
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, use_bias=False)])
    network.layers[-1].set_weights([np.eye(6)])
    model: object = network
    if runtime == "packed":
        convert(network, tmp_path / "net.safetensors")
        model = tmp_path / "net.safetensors"
    images = np.eye(6).reshape(6, 2, 3, 1).astype(np.uint8)
    how = {"preprocessing": "raw", "runtime": runtime}
    assert bnnzoo.evaluate(model, (images, range(6)), **how).top1 == 100
    with pytest.raises(DataError, match=r"must have 6 values, got 12 in \(2, 6, 1\). Use other"):
        bnnzoo.evaluate(model, (images.repeat(2, axis=2), range(6)), **how)


def zoo_model(**changes: object) -> keras.Model:
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(inputs)
    model = assemble(inputs, keras.layers.Dense(10)(x), stages=[x], name="net")
    facts = {"tag": "best", "weights_sha256": "abc", "preprocessing": "scale_pm1"}
    model.model_spec = ModelSpec(
        name="net", input_shape=(28, 28, 1), num_classes=10, **(facts | changes)
    )
    return model


def test_a_name_stands_for_the_weights_of_its_record() -> None:
    record = manifest.load().weights["binarynet.fashion_mnist_small"]
    classifier = open_classifier(record.name)
    assert (classifier.name, classifier.tag) == ("binarynet", "fashion_mnist_small")
    assert classifier.weights_sha256 == record.files[0].sha256


def test_a_model_in_memory_knows_its_data_but_may_have_been_trained() -> None:
    classifier = open_classifier(zoo_model(labels="fashion_mnist"))
    assert (classifier.name, classifier.tag, classifier.weights_sha256) == ("net", None, None)
    assert classifier.preprocessing.id == "scale_pm1"
    assert classifier.preprocessing.size == (28, 28)
    assert classifier.class_names is not None
    assert classifier.class_names[9] == "Ankle boot"


def test_a_loaded_model_keeps_its_provenance_until_it_is_trained(tmp_path: Path) -> None:
    record = manifest.load().weights["binarynet.fashion_mnist_small"]
    model = bnnzoo.load(record.name, pretrained=True)
    convert(model, tmp_path / "loaded.safetensors", check=0)
    info = packed.read(tmp_path / "loaded.safetensors")[1]
    found = open_classifier(model)
    for known in (found, info):
        assert (known.tag, known.weights_sha256) == (record.tag, record.files[0].sha256)
    assert info.licence == record.licence

    weights = model.get_weights()
    weights[0][0, 0, 0, 0] = np.nextafter(weights[0][0, 0, 0, 0], 2)
    model.set_weights(weights)
    convert(model, tmp_path / "trained.safetensors", check=0)
    info = packed.read(tmp_path / "trained.safetensors")[1]
    for known in (open_classifier(model), info):
        assert (known.tag, known.weights_sha256) == (None, None)
    assert info.licence is None


def test_a_new_head_has_no_provenance() -> None:
    model = bnnzoo.load("binarynet.fashion_mnist_small", pretrained=True, num_classes=3)
    assert open_classifier(model).tag is None


def test_labels_of_another_number_of_classes_are_left_out() -> None:
    assert open_classifier(zoo_model(labels="cifar100")).class_names is None


def test_chosen_preprocessing_wins() -> None:
    assert open_classifier(zoo_model(), preprocessing="raw").preprocessing.id == "raw"


def test_a_file_has_its_own_digest_and_no_tag(tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    zoo_model().save(path)
    classifier = open_classifier(path)
    assert (classifier.name, classifier.tag) == ("mine.keras", None)
    assert classifier.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert classifier.preprocessing.id == "scale_pm1"


@pytest.fixture
def swapped_when_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A file that another process replaces while Keras opens it; and the digest that it had."""
    path, load_model = tmp_path / "mine.keras", keras.models.load_model
    zoo_model().save(path)

    def load_and_swap(*args: object, **kwargs: object) -> keras.Model:
        path.write_bytes(b"other")
        return load_model(*args, **kwargs)

    monkeypatch.setattr(keras.models, "load_model", load_and_swap)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_is_of_what_was_opened(swapped_when_opened: tuple[Path, str]) -> None:
    path, digest = swapped_when_opened
    assert open_classifier(path).weights_sha256 == digest


def test_the_digest_that_is_packed_is_of_what_was_opened(
    swapped_when_opened: tuple[Path, str], tmp_path: Path
) -> None:
    path, digest = swapped_when_opened
    convert(path, tmp_path / "mine.safetensors", check=0)
    assert runtime.load(tmp_path / "mine.safetensors").info.weights_sha256 == digest


def test_a_foreign_file_needs_a_preprocessing(tmp_path: Path) -> None:
    path = save_centroid_network(tmp_path)
    match = r"centroids.keras has no preprocessing.* --preprocessing: larq_in1k, .*scale_pm1, scale"
    with pytest.raises(ArgumentError, match=match):
        open_classifier(str(path))
    assert open_classifier(str(path), preprocessing="scale_pm1").num_classes == 10


@pytest.mark.parametrize("name", ["model.pb", "model.tflite"])
def test_other_files_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"must end in \.keras, \.h5 or \.safetensors, got "):
        open_classifier(name)


@pytest.mark.parametrize("content", [None, b"", b"no zip"], ids=["missing", "empty", "text"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"broken\.keras"):
        open_classifier(path, preprocessing="raw")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "lambda.keras"
    classifier(keras.layers.Lambda(lambda x: x)).save(path)
    with pytest.raises(WeightsError, match=r"lambda\.keras"):
        open_classifier(path, preprocessing="raw")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match=r"Did you mean 'birealnet18'"):
        open_classifier("birealnet-18")


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential([keras.Input((8, 3)), keras.layers.Dense(3)]),
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]),
        "not a model",
    ],
    ids=["sequences", "feature map", "no name"],
)
def test_only_classifiers_of_images_are_taken(model: object) -> None:
    with pytest.raises(BnnZooError, match=r"\(h, w, c\) or \(k,\) to \(cl|Unknown model"):
        open_classifier(model, preprocessing="raw")


def test_scorer_pads_the_last_batch_so_that_shapes_stay() -> None:
    classifier = open_classifier(centroid_network(), preprocessing="scale_pm1")
    shapes = []

    def run(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return np.asarray(classifier.run(x))

    recording = dataclasses.replace(classifier, run=run)
    images = np.linspace(-1, 1, 5 * 784, dtype=np.float32).reshape(5, 28, 28, 1)
    score = recording.scorer(4)
    scores = np.concatenate([score(images[:4]), score(images[4:])])
    assert shapes == [(4, 28, 28, 1)] * 2
    np.testing.assert_allclose(scores, classifier.run(images), rtol=1e-5)


def test_scores_that_are_not_finite_are_an_error() -> None:
    model = centroid_network()
    model.layers[-1].bias.assign(np.full(10, np.nan))
    score = open_classifier(model, preprocessing="scale_pm1").scorer(2)
    with pytest.raises(BnnZooError, match="not finite.* trained with preprocessing 'scale_pm1'"):
        score(np.zeros((2, 28, 28, 1), dtype=np.float32))
