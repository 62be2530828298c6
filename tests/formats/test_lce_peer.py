"""Larq Compute Engine's interpreter runs what is written; files of its converter are read.

Needs the peer's Python in BNNZOO_LCE_PYTHON; `scripts/test_lce.sh` makes it and runs this file.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.errors import ConversionError
from bnnzoo.formats import Network, lce, packed
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import passes
from tests.conftest import DATA
from tests.formats.lce_networks import CASES, images, network, random_network
from tests.formats.lce_peer import PYTHON, Peer
from tests.formats.lce_values import assert_layers_agree, grids, native, reference

if PYTHON is None:
    pytest.skip(
        "needs Larq Compute Engine's interpreter: run scripts/test_lce.sh", allow_module_level=True
    )
pytest.importorskip("keras")

import bnnzoo
from bnnzoo.keras_bridge.from_keras import trace
from tests.keras_bridge import keras_cases
from tests.keras_bridge.keras_networks import random_images, seed_weights

ROOT = Path(__file__).parents[2]
ZOO = [name for name in bnnzoo.list_models() if name != "dorefanet"]
# Files of others: published ones, where they are, and those in the folders that the variable names.
FOLDERS = [ROOT.parent / "shared" / "data" / "lce_tflite"]
FOLDERS += [Path(name) for name in os.environ.get("BNNZOO_LCE_FILES", "").split(":") if name]
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.tflite"))


@pytest.fixture(scope="session")
def peer():
    peer = Peer()
    yield peer
    peer.close()


def assert_written_agrees(peer, graph, x) -> bytes:
    """Writes a graph; checks the interpreter's values against it, and against what is read."""
    data = lce.write(Network(graph, NetworkInfo("test"), x[:1])).files[""]
    theirs = peer.values(data, x)
    assert_layers_agree(graph, theirs)
    again, _ = lce.from_bytes(data)
    for run in (reference, native):
        assert_layers_agree(again, theirs, run)
    return data


@pytest.mark.parametrize("name", ZOO)
def test_every_architecture(peer, name):
    model = seed_weights(bnnzoo.load(name))
    assert_written_agrees(peer, trace(model).graph, random_images(model, 1))


@pytest.mark.parametrize("name", CASES)
def test_small_networks(peer, name):
    graph = network(name)
    data = assert_written_agrees(peer, graph, images(graph))
    with np.load(DATA / "lce" / "written.npz") as golden:
        np.testing.assert_array_equal(peer.run(data, images(graph))[0], golden[name])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", keras_cases.CASES)
def test_every_layer(peer, name):
    model = keras_cases.model_of(name)
    try:
        assert_written_agrees(peer, trace(model).graph, random_images(model, 2))
    except ConversionError as error:
        assert "only signs can be packed" in str(error)


def test_random_graphs(peer, monkeypatch):
    monkeypatch.setattr("tests.graph.graphs.GraphBuilder.in_8_bits", False)
    checked = 0
    for seed in range(200):
        graph = random_network(seed)
        if graph is not None:
            try:
                assert_written_agrees(peer, graph, images(graph))
            except ConversionError as error:
                assert "must be that of 'same' or 'valid'" in str(error)
            else:
                checked += 1
    assert checked > 50


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_files_of_others(peer, path):
    """Layer by layer, and whole through a packed file; random networks may flip signs there."""
    data = path.read_bytes()
    graph, info = lce.from_bytes(data)
    x = np.random.RandomState(5).standard_normal((1, *graph.input_shape)).astype(np.float32)
    theirs, steps = peer.values(data, x), grids(parse(data))
    stored, _ = passes.apply(graph, passes.STORED)
    file = packed.from_bytes(packed.to_bytes(stored, info))
    for run in (reference, native):
        assert_layers_agree(file.graph, theirs, run, steps)
