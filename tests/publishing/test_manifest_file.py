"""Records are written as they are read."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bnnzoo import manifest
from bnnzoo.errors import ManifestError
from bnnzoo.publishing.manifest_file import record_to_dict, with_record
from tests.publishing.conftest import ROOT

PATH = ROOT / "weights_manifest.json"
SHIPPED = json.loads(PATH.read_text())["weights"]
OWN = "binarynet.fashion_mnist"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_record_that_was_read_is_written_as_it_was(name):
    written = record_to_dict(manifest.load(PATH).weights[name])
    assert json.loads(json.dumps(written)) == SHIPPED[name]


def test_every_field_is_written():
    record = manifest.load(PATH).weights[OWN]
    run = manifest.TrainingRun(3, 4.5, "a test", {"bnnzoo": "0.1.0"}, "2026-01-31")
    full = dataclasses.replace(
        record, settings={"epochs": 3}, training=run, notes="Few epochs.", default=False
    )
    written = json.loads(json.dumps(record_to_dict(full)))
    read = manifest.parse({"schema": 1, "weights": {OWN: {**written, "default": True}}})
    assert read.weights[OWN] == dataclasses.replace(full, default=True)


def test_the_manifest_stays_as_it_is_but_for_the_record():
    record = manifest.load(PATH).weights[OWN]
    assert with_record(PATH, record) == PATH.read_text()
    other = dataclasses.replace(record, tag="cifar10")
    value = json.loads(with_record(PATH, other))["weights"]
    assert list(value) == sorted([*SHIPPED, "binarynet.cifar10"])
    assert value["binarynet.cifar10"]["default"] and not value[OWN]["default"]
    assert {n: v for n, v in value.items() if "binarynet." not in n} == {
        n: v for n, v in SHIPPED.items() if "binarynet." not in n
    }


def test_a_record_that_breaks_the_schema_is_not_written():
    record = manifest.load(PATH).weights[OWN]
    with pytest.raises(ManifestError, match="default tag"):
        with_record(PATH, dataclasses.replace(record, default=False))
