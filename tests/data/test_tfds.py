"""Claim: data sets of TensorFlow Datasets are read in order, and what is missing is said."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bnnzoo.data import open_source
from bnnzoo.data.tfds import split_spec
from bnnzoo.errors import DataError, MissingDependencyError

ROOT = Path(__file__).parents[2]
INSTALLED = importlib.util.find_spec("tensorflow_datasets") is not None
needs_tfds = pytest.mark.skipif(not INSTALLED, reason="tensorflow_datasets is not installed")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mnist", ("mnist", None)),
        ("mnist:train", ("mnist", "train")),
        ("mnist:test[:10%]", ("mnist", "test[:10%]")),
        ("mnist:3.0.1", ("mnist:3.0.1", None)),
        ("mnist:3.*.*:test[5:7]", ("mnist:3.*.*", "test[5:7]")),
        ("imagenet_v2/matched-frequency:test", ("imagenet_v2/matched-frequency", "test")),
    ],
)
def test_split_spec(spec: str, expected: tuple[str, str | None]) -> None:
    assert split_spec(spec) == expected


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[tfds\]'"):
        open_source("tfds:mnist")


SPECS = {
    "tfds:tiny_images": 4,
    "tfds:tiny_images:train": 4,
    "tfds:tiny_images:train[:5]": 4,
    "tfds:tiny_images:1.0.0:test": 4,
    "tfds:tiny_images:nowhere": 4,
    "tfds:tiny_images:test": 3,
    "tfds:tiny_arrays:test": 4,
    "tfds:no_such_data_set": 4,
    "tfds:mnist": 4,
}
# The library itself writes data sets whose pixels are their number, with labels 0 to 3. In a
# process of its own, since the library reads TFDS_DATA_DIR and warns when it is imported.
WRITE = """
import os
import numpy as np, tensorflow_datasets as tfds

def examples(n):
    return [(i, {"image": np.full((4, 4, 1), i, "uint8"), "label": i % 4}) for i in range(n)]

for name, file_format in (("tiny_images", "tfrecord"), ("tiny_arrays", "array_record")):
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name, version="1.0.0", data_dir=os.environ["TFDS_DATA_DIR"],
        features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "label": tfds.features.ClassLabel(names=["a", "b", "c", "d"]),
        }),
        split_datasets={"train": examples(12), "test": examples(6)},
        file_format=file_format,
    )
"""
# Every spec is read twice, and from its end too, without TensorFlow.
READ = """
import json, sys
from bnnzoo.data import open_source
from bnnzoo.errors import BnnZooError

def read(spec, num_classes):
    try:
        source = open_source(spec, num_classes=num_classes)
        rows = [(int(image[0, 0, 0]), label, id) for image, label, id in source]
        again = [source.items[i] for i in reversed(range(len(source.items)))][::-1]
        assert [(int(item.read()[0, 0, 0]), item.label, item.id) for item in again] == rows
        return [source.name, len(source), source.class_names, rows]
    except BnnZooError as error:
        return [type(error).__name__, str(error)]

specs = json.loads(sys.argv[1])
results = [{spec: read(spec, n) for spec, n in specs.items()} for _ in range(2)]
assert "tensorflow" not in sys.modules
with open(sys.argv[2], "w") as file:
    json.dump(results, file)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tfds")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TFDS_DATA_DIR": str(folder),
        "BNNZOO_OFFLINE": "1",
    }
    output = folder / "results.json"
    for script in (WRITE, READ):
        command = [sys.executable, "-c", script, json.dumps(SPECS), str(output)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(output.read_text())
    return found


@needs_tfds
def test_default_split_in_an_order_that_stays(runs: list[dict[str, Any]]) -> None:
    name, length, classes, rows = runs[0]["tfds:tiny_images"]
    assert (name, length, classes) == ("tfds:tiny_images:test", 6, ["a", "b", "c", "d"])
    assert sorted(row[0] for row in rows) == list(range(6))
    assert all(value % 4 == label for value, label, _ in rows)
    assert [row[2] for row in rows] == [f"tiny_images:test/{i}" for i in range(6)]
    assert runs[1] == runs[0]


@needs_tfds
def test_another_file_format(runs: list[dict[str, Any]]) -> None:
    name, length, classes, rows = runs[0]["tfds:tiny_arrays:test"]
    assert (name, length, classes) == ("tfds:tiny_arrays:test", 6, ["a", "b", "c", "d"])
    assert sorted(row[0] for row in rows) == list(range(6))
    assert all(value % 4 == label for value, label, _ in rows)


@needs_tfds
@pytest.mark.parametrize(("split", "n"), [("train", 12), ("train[:5]", 5), ("1.0.0:test", 6)])
def test_splits(runs: list[dict[str, Any]], split: str, n: int) -> None:
    _, length, _, rows = runs[0][f"tfds:tiny_images:{split}"]
    assert length == len(rows) == n


@needs_tfds
@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("tfds:tiny_images:nowhere", "has no split 'nowhere'. It has: "),
        ("tfds:tiny_images:test", "class index must be from 0 to 2, got 3"),
        ("tfds:no_such_data_set", "tfds:no_such_data_set is not a data set"),
        ("tfds:mnist", "BNNZOO_OFFLINE is set"),
    ],
)
def test_errors(runs: list[dict[str, Any]], spec: str, part: str) -> None:
    kind, message = runs[0][spec]
    assert kind == DataError.__name__
    assert part in message
    assert "\n" not in message
