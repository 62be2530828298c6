"""Workers of Ray and Dask classify images as one process does, each with its own network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo import runtime
from bnnzoo.evaluation.merging import merge_reports

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


def test_a_slurm_array_evaluates_all_shards(tmp_path):
    """The job of the page, with a shell in the place of SLURM's tasks."""
    page = (ROOT / "docs" / "clusters.md").read_text()
    job = page.split('title="evaluate.sbatch"\n')[1].split("```")[0]
    assert "--array=0-7" in job and "$I/8" in job
    job = job.replace("birealnet18 --data photos", f"{SHIPPED} --data sample:fashion_mnist")
    job = job.replace("exec bnnzoo", f"exec {sys.executable} -m bnnzoo").replace("/8", "/2")
    parts = []
    for i in range(2):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(i), "SLURM_CPUS_PER_TASK": "1"}
        subprocess.run(["sh", "-c", job], cwd=tmp_path, env=environment, check=True)
        parts.append(json.loads((tmp_path / f"part-{i}.json").read_text()))
    merged = merge_reports(parts)
    assert (merged["n"], merged["partial"]) == (2000, False)
