"""A file is converted without Keras, and compared with what the reference makes of it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bnnzoo
from bnnzoo import weights
from bnnzoo.errors import ConversionError, ModelFormatError
from bnnzoo.formats import packed
from bnnzoo.graph.interpreter import run

SMALL = "binarynet.fashion_mnist_small"


@pytest.fixture(scope="module")
def small() -> Path:
    """The packed file that is shipped."""
    file = bnnzoo.info(SMALL).weights[0].file("packed")
    assert file is not None
    return weights.fetch(file, name=SMALL)


def test_a_packed_file_stays_the_same(small: Path, tmp_path: Path) -> None:
    report = bnnzoo.convert(small, tmp_path / "again.safetensors", check=2)
    (graph, info), (again, same) = packed.read(small), packed.read(tmp_path / "again.safetensors")
    assert (again.nodes, same) == (graph.nodes, info)
    assert (report.origin, report.check.failure) == ("the file", None)
    assert report.check.numbers > 1e5
    assert report.sizes.origin == small.stat().st_size
    assert [la.kind for la in report.layers if not la.binary] == ["conv2d"]
    x = np.random.default_rng(3).standard_normal((2, *graph.input_shape))
    name = graph.outputs[0]
    np.testing.assert_array_equal(run(again, x)[name], run(graph, x)[name])


def test_keras_is_not_needed(small: Path, tmp_path: Path) -> None:
    code = (
        "import bnnzoo, sys; bnnzoo.convert(sys.argv[1], sys.argv[2], check=1);"
        "sys.exit('keras' in sys.modules)"
    )
    out = tmp_path / "again.safetensors"
    assert subprocess.run([sys.executable, "-c", code, small, out], check=False).returncode == 0
    assert out.is_file()


def test_accuracy_is_compared_with_that_of_the_file(small: Path) -> None:
    options = {"data": "sample:fashion_mnist", "limit": 100, "dry_run": True, "check": 1}
    report = bnnzoo.convert(small, None, weights_dtype="int8", **options)
    assert report.data is not None
    assert report.data.origin == report.data.packed > 80
    assert "in the file" in str(report)


def test_a_preprocessing_that_is_chosen_goes_into_the_file(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.safetensors"
    bnnzoo.convert(small, out, check=0, preprocessing="scale_01")
    assert packed.read(out)[1] == dataclasses.replace(
        packed.read(small)[1], preprocessing="scale_01"
    )


def test_a_difference_is_an_error(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = packed.to_bytes

    def altered(graph, info, **options):
        name = next(name for name in graph.tensors if name.endswith("/bias"))
        tensors = {**graph.tensors, name: graph.tensors[name] + 1}
        return right(dataclasses.replace(graph, tensors=tensors), info, **options)

    monkeypatch.setattr(packed, "to_bytes", altered)
    with pytest.raises(ConversionError, match="of the file differs from the reference interpreter"):
        bnnzoo.convert(small, tmp_path / "again.safetensors", check=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "match"),
    [(None, r"There is no file .*net\.safetensors"), (b"x" * 40, r"net\.safetensors: ")],
    ids=["missing", "broken"],
)
def test_a_file_that_cannot_be_read(content: bytes | None, match: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=match):
        bnnzoo.convert(path, tmp_path / "out.safetensors")
