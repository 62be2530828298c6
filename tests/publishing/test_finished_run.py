"""A run that is not what it says is refused, each with its reason."""

from __future__ import annotations

import hashlib
import json

import keras
import numpy as np
import pytest

from bnnzoo.errors import ArgumentError, BnnZooError, WeightsError
from bnnzoo.publishing.finished_run import open_finished_run
from tests.publishing.conftest import RECIPE, contents, edit_json


def without_report(run):
    (run / "report.json").unlink()


def without_model(run):
    (run / "model.keras").unlink()


def without_recipe(run):
    (run / "recipe.json").unlink()


def recipe_cut(run):
    (run / "recipe.json").write_text('{"name": ')


def recipe_of_another_version(run):
    edit_json(run / "recipe.json", lambda value: value.update(more=1))


def own_recipe(run):
    edit_json(run / "recipe.json", lambda value: value.update(name="binarynet_mlp.mnst"))


def other_phases(run):
    edit_json(run / "recipe.json", lambda value: value.update(phases=2 * value["phases"]))


def own_data(run):
    edit_json(run / "recipe.json", lambda value: value.update(test_data="tiny.npz:test"))


def log_of_another_run(run):
    lines = (run / "log.csv").read_text().splitlines(keepends=True)
    (run / "log.csv").write_text("".join(lines[:-1]))


def report_without_evaluation(run):
    edit_json(run / "report.json", lambda value: value.update(evaluation=[1]))


def report_without_a_digest(run):
    edit_json(run / "report.json", lambda value: value["evaluation"].pop("weights_sha256"))


def date_as_a_number(run):
    edit_json(run / "report.json", lambda value: value["evaluation"].update(date=2026))


def start_as_a_number(run):
    (run / "environment.json").write_text("[5]")


def start_after_words(run):
    edit_json(run / "environment.json", lambda value: value[0].update(after_epoch="one"))


def recipe_of_numbers(run):
    edit_json(run / "recipe.json", lambda value: value.update(test_data=5))


def epochs_in_words(run):
    edit_json(run / "recipe.json", lambda value: value["phases"][0].update(epochs="two"))


def log_of_other_bytes(run):
    (run / "log.csv").write_bytes(b"\xff\xfe\0")


FAULTS = {
    without_report: (ArgumentError, rf"finished run, got 2 of 2 epochs.*train {RECIPE} --out"),
    without_model: (ArgumentError, r"must be a finished run"),
    without_recipe: (ArgumentError, r"must be the folder of a run, got none"),
    recipe_cut: (BnnZooError, r"recipe\.json cannot be read"),
    recipe_of_another_version: (BnnZooError, r"is not a recipe: it has unknown fields \['more'\]"),
    recipe_of_numbers: (BnnZooError, r"is not a recipe: test_data must be a string, got 5"),
    epochs_in_words: (
        BnnZooError,
        r"is not a recipe: phases\[0\]\.epochs must be an int",
    ),
    own_recipe: (ArgumentError, rf"Unknown recipe .* Did you mean '{RECIPE}'"),
    other_phases: (ArgumentError, r"phases of .* must be 1, got 2"),
    own_data: (ArgumentError, r"test_data must be keras:NAME or tfds:NAME, got 'tiny"),
    log_of_another_run: (WeightsError, r"must have the 2 epochs of the recipe, got 1 and 2"),
    log_of_other_bytes: (WeightsError, r"log\.csv cannot be read: 'utf-8' codec"),
    report_without_evaluation: (WeightsError, r"must have evaluation as dict, got \[1\]\. It was"),
    report_without_a_digest: (WeightsError, r"must have weights_sha256 as str, got None"),
    date_as_a_number: (WeightsError, r"report\.json must have date as str, got 2026"),
    start_as_a_number: (WeightsError, r"environment\.json must have devices as list, got None"),
    start_after_words: (WeightsError, r"must have after_epoch as int or null, got 'one'"),
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_run_that_may_not_be_published(spoil, run):
    spoil(run)
    error, message = FAULTS[spoil]
    with pytest.raises(error, match=message):
        open_finished_run(run)


def other_weights(run):
    network = keras.models.load_model(run / "model.keras")
    variable = network.get_layer("logits_bn").beta
    variable.assign_add(np.full(variable.shape, 1e-3, "float32"))
    network.save(run / "model.keras")


def test_other_weights_than_those_of_the_run_are_refused(run):
    assert open_finished_run(run).network().name == "binarynet_mlp"
    other_weights(run)
    with pytest.raises(WeightsError, match=r"must hold the final weights of the run.*--resume"):
        open_finished_run(run).network()


def test_classes_without_names_are_refused(run):
    network = keras.models.load_model(run / "model.keras")
    spec = network.model_spec.to_dict()
    network.model_spec = type(network.model_spec).from_dict({**spec, "labels": None})
    network.save(run / "model.keras")
    digest = hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    edit_json(run / "report.json", lambda v: v["evaluation"].update(weights_sha256=digest))
    with pytest.raises(ArgumentError, match=r"Class names of keras:mnist:train must be known"):
        open_finished_run(run).network()


def test_hardware_is_that_of_every_start(run):
    found = open_finished_run(run)
    assert "core" in found.training(None).hardware
    starts = json.loads((run / "environment.json").read_text())
    older = {key: value for key, value in starts[0].items() if key != "hardware"}
    only_measured = {**starts[0], "hardware": "a laptop", "after_epoch": found.report["epochs"]}
    only_measured["versions"] = {"backend": "another"}
    starts = [{**older, "devices": ["cuda:0"]}, *starts * 2, only_measured]
    (run / "environment.json").write_text(json.dumps(starts))
    found = open_finished_run(run)
    assert found.training(None).hardware == f"cuda:0, then {starts[1]['hardware']}"
    assert found.training("an H100").hardware == "an H100"
    assert found.training(None).versions == starts[1]["versions"]
    (run / "environment.json").write_text(json.dumps([only_measured]))
    with pytest.raises(WeightsError, match="must have the start that trained, got none"):
        open_finished_run(run).training(None)


def test_nothing_is_written_into_the_run(run):
    before = contents(run)
    open_finished_run(run).network()
    assert contents(run) == before
