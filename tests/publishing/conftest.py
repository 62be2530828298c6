"""A source tree to publish in, small images under the name of MNIST, and a run that has finished.

The tree has the real manifest without weights of that network; what is published there is loaded
from there.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bnnzoo import manifest, training, weights
from bnnzoo.publishing import packing, publication
from bnnzoo.training.recipes.settings import apply_settings

ROOT = Path(__file__).parents[2]
RECIPE = "binarynet_mlp.mnist"
SETTINGS = ["epochs=2", "batch_size=16", "arguments.width=16"]


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder with 96 digits that are a bright band each, as `mnist.npz`."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    arrays = {}
    for split in ("train", "test"):
        y = np.arange(96) % 10
        x = rng.integers(0, 100, (96, 28, 28))
        for image, label in zip(x, y, strict=True):
            image[2 * label : 2 * label + 6] += 150
        arrays |= {f"x_{split}": x.astype(np.uint8), f"y_{split}": y}
    np.savez(folder / "mnist.npz", **arrays)
    return folder


@pytest.fixture(scope="session")
def finished(images, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNNZOO_DATA_DIR", str(images))
        training.train(apply_settings(training.recipe(RECIPE), SETTINGS), folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def tree(tmp_path, images, monkeypatch):
    """A source tree of bnnzoo with nothing but the manifest, where nothing of MNIST is yet."""
    root = tmp_path / "tree"
    (root / "bnnzoo" / "pretrained").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    shutil.copy(ROOT / "weights_manifest.json", root)
    edit_json(root / "weights_manifest.json", _remove_mnist)
    monkeypatch.setattr(manifest, "manifest_path", lambda: root / "weights_manifest.json")
    monkeypatch.setattr(weights, "__file__", str(root / "bnnzoo" / "weights.py"))
    monkeypatch.setenv("BNNZOO_DATA_DIR", str(images))
    return root


@pytest.fixture
def quick(monkeypatch):
    """Packs the run once for all tests that are about something else."""
    monkeypatch.setattr(publication, "rebuild", _rebuild_once)
    monkeypatch.setattr(publication, "pack", _pack_once)


_PACKED: list[packing.Packed] = []


def _rebuild_once(network, record, run):
    return network if _PACKED else packing.rebuild(network, record, run)


def _pack_once(run, network, record, *, roles, check_size, **options):
    assert roles == ("packed",)
    if not _PACKED:
        unlimited = {"check_size": lambda role, size: None, "roles": roles}
        _PACKED.append(packing.pack(run, network, record, **unlimited, **options))
    check_size("packed", len(_PACKED[0].contents["packed"]))
    return _PACKED[0]


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a tree."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _remove_mnist(value):
    weights = value["weights"]
    value["weights"] = {name: weights[name] for name in weights if not name.startswith(RECIPE)}


def edit_json(path: Path, change) -> None:
    """Changes the value of a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
