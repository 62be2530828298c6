"""Workers of Ray and Dask classify images as one process does, each with its own network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo import runtime

SHIPPED = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet.fashion_mnist_small.safetensors"
ROOT = Path(__file__).parents[2]
COUNT = 100


@pytest.fixture(scope="module")
def network():
    return runtime.load(SHIPPED, threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    source = bnnzoo.data.open_source("sample:fashion_mnist")
    for i, (image, _, _) in zip(range(COUNT), source, strict=False):
        Image.fromarray(np.squeeze(image)).save(folder / f"{i:03}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def expected(network, files):
    scores = network.predict([np.asarray(Image.open(file)) for file in files])
    names = [network.labels[index] for index in scores.argmax(axis=1)]
    return dict(zip(files, zip(names, scores.max(axis=1), strict=True), strict=True))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers import bnnzoo from where this process does."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


@pytest.mark.slow
def test_ray(files, expected, tmp_path):
    pytest.importorskip("ray")
    parquet = pytest.importorskip("pyarrow.parquet")
    script = ROOT / "examples" / "ray_inference.py"
    command = [sys.executable, script, SHIPPED, *files, "--workers", "1", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(tmp_path / "out").to_pylist()
    assert {row["path"]: (row["class"], row["score"]) for row in rows} == expected


@pytest.mark.slow
def test_dask(example, network, files, expected):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        rows = example("dask_inference").classify(client, network, files)
    assert [row[0] for row in rows] == files
    assert {path: (name, score) for path, name, score in rows} == expected
