"""A network that another one would be packed as is refused, and so are other test images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bnnzoo import manifest
from bnnzoo.errors import ConversionError, DataError
from bnnzoo.publishing import packing, publish
from bnnzoo.publishing.finished_run import open_finished_run
from bnnzoo.publishing.packing import pack
from tests.publishing.conftest import contents, edit_json

convert = packing.convert


def test_an_argument_that_the_builder_does_not_know_is_refused(tree, run):
    edit_json(run / "recipe.json", lambda value: value["arguments"].update(width=8))
    with pytest.raises(ConversionError, match=r"what binarynet_mlp builds with .*'width': 8.*got"):
        publish(run)


def test_a_file_with_another_accuracy_is_refused(tree, finished, monkeypatch):
    def convert_something_else(network, path, **options):
        kernel = network.get_layer("logits").kernel
        before = np.array(kernel)
        kernel.assign(-before)
        try:
            return convert(network, path, **options)
        finally:
            kernel.assign(before)

    monkeypatch.setattr(packing, "convert", convert_something_else)
    before = contents(tree)
    with pytest.raises(ConversionError, match=r"must be the same to 0\.1 point, got .*float32"):
        publish(finished, weights_dtype="float32")
    assert contents(tree) == before


class Report:
    """What `same_accuracy` reads of a report."""

    def __init__(self, n: int, hits: int) -> None:
        self.correct = hits, n


@pytest.mark.parametrize("roles, worse", [(["packed"], "packed"), (["full", "packed"], "in Keras")])
def test_float32_is_taken_where_float16_costs_accuracy(
    tree, finished, monkeypatch, tmp_path, roles, worse
):
    asked = []

    def convert_and_tell(*args, weights_dtype, **options):
        asked.append(weights_dtype)
        return convert(*args, weights_dtype=weights_dtype, **{**options, "check": 0})

    def evaluate_worse_in_float16(what, subject, source, progress):
        return Report(96, 80 if "float16" in what and what.endswith(worse) else 90)

    monkeypatch.setattr(packing, "convert", convert_and_tell)
    monkeypatch.setattr(packing, "_evaluate", evaluate_worse_in_float16)
    monkeypatch.setattr(packing, "golden_logits", lambda network, packed: {})
    run = open_finished_run(finished)
    record = manifest.load().weights["binarynet.fashion_mnist_small"]
    record = replace(record, architecture="binarynet_mlp", arguments={"width": 16})
    network = run.network()
    result = pack(
        run,
        network,
        record,
        roles=roles,
        weights_dtypes=("float16", "float32"),
        check_size=lambda role, size: None,
        progress=None,
    )
    assert asked == ["float16", "float32"]
    assert list(result.contents) == roles
    if "full" in roles:
        (tmp_path / "full.weights.h5").write_bytes(result.contents["full"])
        trained = network.get_weights()
        network.set_weights([np.zeros_like(array) for array in trained])
        network.load_weights(tmp_path / "full.weights.h5")
        for ours, theirs in zip(network.get_weights(), trained, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_fewer_test_images_than_the_run_was_measured_on_are_refused(
    tree, finished, images, tmp_path, monkeypatch
):
    with np.load(images / "mnist.npz") as arrays:
        np.savez(tmp_path / "mnist.npz", **{key: arrays[key][:48] for key in arrays.files})
    monkeypatch.setenv("BNNZOO_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"must have the 96 images .* got 48"):
        publish(finished)
