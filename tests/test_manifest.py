"""The shipped manifest fits its schema; the parser refuses every way in which one can be wrong."""

from __future__ import annotations

import ast
import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest

from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ManifestError
from tests.conftest import DATA

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "weights_manifest.schema.json").read_text())
SHIPPED = json.loads((ROOT / "weights_manifest.json").read_text())

VALID = {
    "schema": 1,
    "weights": {
        "net.tag": {
            "architecture": "net",
            "tag": "tag",
            "default": True,
            "files": [
                {
                    "role": "full",
                    "url": ["https://example.org/net.h5"],
                    "sha256": "0" * 64,
                    "bytes": 1234,
                    "format": "keras_h5",
                }
            ],
            "num_classes": 10,
            "labels": "mnist",
            "preprocessing": "scale_pm1",
            "metrics": [
                {
                    "dataset": "mnist:test",
                    "n": 10000,
                    "top1": 98.5,
                    "origin": "measured",
                    "by": "bnnzoo",
                    "command": "bnnzoo evaluate net --data keras:mnist",
                    "versions": {"keras": "3.15.1"},
                    "date": "2026-01-31",
                }
            ],
            "licence": "Apache-2.0",
            "source": "examples/train.py",
            "paper": "https://arxiv.org/abs/1602.02830",
            "settings": {"epochs": 3},
            "training": {
                "epochs": 3,
                "seconds": 4.5,
                "hardware": "2 cores",
                "versions": {"keras": "3.15.1"},
                "date": "2026-01-31",
            },
            "log": "pretrained/net.csv",
            "notes": "Few epochs.",
        }
    },
}
RECORD = ("weights", "net.tag")
FILE = (*RECORD, "files", 0)
METRIC = (*RECORD, "metrics", 0)
TRAINING = (*RECORD, "training")

# Fault -> where, what is put there (DELETE removes it), and what the message says.
DELETE = object()
FAULTS = {
    "schema_2": (("schema",), 2, "schema must be 1, got 2"),
    "no_weights": (("weights",), DELETE, "weights is missing"),
    "extra_field": ((*RECORD, "colour"), 3, r"unknown fields \['colour'\]"),
    "other_name": ((*RECORD, "tag"), "other", "must be named net.other"),
    "no_default": ((*RECORD, "default"), False, "net must have one default tag"),
    "page_and_files": ((*RECORD, "page"), "https://example.org", "either files or a page"),
    "role": ((*FILE, "role"), "top", "role must be one of full, notop, packed"),
    "short_sha256": ((*FILE, "sha256"), "abc", "sha256 must be 64 hex digits"),
    "zero_bytes": ((*FILE, "bytes"), 0, "bytes must be a positive integer"),
    "zero_max_bytes": ((*FILE, "max_bytes"), 0, "max_bytes must be a positive integer"),
    "no_bound": ((*FILE, "bytes"), DELETE, "must have bytes, or max_bytes where its size"),
    "neither_place": ((*FILE, "url"), DELETE, "must have either url or path"),
    "climbing_path": ((*FILE, "path"), "../net.h5", "path must be a path inside the package"),
    "absolute_path": ((*FILE, "path"), "/net.h5", "path must be a path inside the package"),
    "url_text": ((*FILE, "url"), "https://example.org/net.h5", "url must be a list"),
    "empty_url": ((*FILE, "url"), [""], "url must be a list of URLs"),
    "fraction_top1": ((*METRIC, "top1"), 101, "top1 must be a percentage"),
    "unproven_metric": ((*METRIC, "command"), DELETE, "must have command, versions and date"),
    "bad_date": ((*METRIC, "date"), "31.1.2026", "date must be a date"),
    "no_licence": ((*RECORD, "licence"), DELETE, "licence is missing"),
    "settings_text": ((*RECORD, "settings"), "epochs=3", "settings must be an object"),
    "training_text": (TRAINING, "an hour", "training must be an object, got 'an hour'"),
    "training_extra": ((*TRAINING, "cost"), 3, r"training has unknown fields \['cost'\]"),
    "no_hardware": ((*TRAINING, "hardware"), DELETE, "hardware is missing"),
    "negative_time": ((*TRAINING, "seconds"), -1, "seconds must be a number of seconds"),
    "climbing_log": ((*RECORD, "log"), "../log.csv", "log must be a path inside the package"),
    "empty_notes": ((*RECORD, "notes"), "", "notes must be a non-empty string"),
    "record_text": (RECORD, "net", "must be an object, got 'net'"),
}


def faulty(place, value):
    broken = copy.deepcopy(VALID)
    target = broken
    for key in place[:-1]:
        target = target[key]
    if value is DELETE:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    return broken


def test_shipped_manifest_fits_its_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(SHIPPED, SCHEMA)
    assert manifest.load() == manifest.parse(SHIPPED)  # the first trusts what the second checks
    assert len(manifest.load().weights) == len(SHIPPED["weights"])


def test_a_bound_of_an_unknown_size_lets_every_float32_weight_through():
    for record in manifest.load().weights.values():
        for file in record.files:
            least = 4 * CATALOG[record.architecture].params
            assert file.bytes or least < file.max_bytes < 3 * least


def test_valid_manifest_is_read_whole():
    jsonschema.validate(VALID, SCHEMA)
    record = manifest.parse(VALID).weights["net.tag"]
    assert record.file("full").url == ("https://example.org/net.h5",)
    assert record.file("notop") is None
    assert record.metrics[0].top1 == 98.5
    assert record.arguments == {} and record.recipe is None
    assert (record.settings, record.training.seconds) == ({"epochs": 3}, 4.5)
    assert (record.log, record.notes) == ("pretrained/net.csv", "Few epochs.")


def test_a_record_without_files_has_a_page():
    value = faulty((*RECORD, "files"), [])
    value["weights"]["net.tag"]["page"] = "https://example.org"
    jsonschema.validate(value, SCHEMA)
    assert manifest.parse(value).weights["net.tag"].page == "https://example.org"


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named(name):
    place, value, message = FAULTS[name]
    with pytest.raises(ManifestError, match=message):
        manifest.parse(faulty(place, value))


# What one record cannot show to a JSON schema: names that must agree, and the one default.
BEYOND_SCHEMA = {"other_name", "no_default"}


@pytest.mark.parametrize("name", sorted(set(FAULTS) - BEYOND_SCHEMA))
def test_schema_refuses_the_same_faults(name):
    place, value, _ = FAULTS[name]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(faulty(place, value), SCHEMA)


def test_missing_and_broken_files_are_one_error(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        manifest.load(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text('{"schema": 1,')
    with pytest.raises(ManifestError, match="is not JSON: Expecting"):
        manifest.load(tmp_path / "broken.json")


def test_an_edit_is_seen_at_once(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(VALID))
    assert list(manifest.load(path).weights) == ["net.tag"]
    path.write_text(json.dumps({"schema": 1, "weights": {}}))
    assert list(manifest.load(path).weights) == []


def test_every_file_of_larq_zoo_is_listed_with_its_digest():
    rows = [line.split("|") for line in (DATA / "README.md").read_text().splitlines()]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 6 and ".h5" in row[3]]
    published = {
        f"https://github.com/larq/zoo/releases/download/{path}/{file}": sha256
        for _, _, path, file, sha256, _ in rows
    }
    listed = {
        file.url[0]: file.sha256
        for record in manifest.load().weights.values()
        if record.tag == "larq_in1k"
        for file in record.files
    }
    assert len(published) == 28
    assert listed == published


@pytest.mark.parametrize("name", SHIPPED["weights"])
def test_weights_and_their_architecture_cite_the_same_paper(name):
    record = manifest.load().weights[name]
    module = ROOT / "bnnzoo" / "architectures" / f"{CATALOG[record.architecture].module}.py"
    cited = re.findall(r"https://[^\s,;)]+", ast.get_docstring(ast.parse(module.read_text())))
    assert record.paper in [url.rstrip(".") for url in cited]
