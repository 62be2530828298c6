"""A zoo of one small network, with a manifest and a cache of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import manifest, weights

SHAPE = (16, 16, 3)


def small_net(**arguments):
    return bnnzoo.builder("binarynet")(input_shape=SHAPE, width=2, **arguments)


def record_of(path: Path, **changes) -> dict:
    return {
        "architecture": "binarynet",
        "tag": "small",
        "default": True,
        "arguments": {"input_shape": list(SHAPE), "width": 2},
        "files": [
            {
                "role": "full",
                "url": [f"https://example.org/{path.name}"],
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "format": "keras_h5",
            }
        ],
        "num_classes": 10,
        "labels": "cifar10",
        "preprocessing": "scale_pm1",
        "metrics": [],
        "licence": "Apache-2.0",
        "source": "tests",
        "paper": "https://arxiv.org/abs/1602.02830",
        **changes,
    }


@pytest.fixture
def trained(tmp_path, monkeypatch, rng):
    """A network with known weights: `binarynet.small` of a manifest of its own, in the cache."""
    model = small_net()
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    path = tmp_path / "binarynet_small.weights.h5"
    model.save_weights(path)
    records = tmp_path / "manifest.json"
    records.write_text(json.dumps({"schema": 1, "weights": {"binarynet.small": record_of(path)}}))
    monkeypatch.setattr(manifest, "manifest_path", lambda: records)
    monkeypatch.setenv("BNNZOO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    file = manifest.load(records).weights["binarynet.small"].files[0]
    cached = weights.cache_path(file, name="binarynet.small")
    cached.parent.mkdir()
    shutil.copy(path, cached)
    return model
