"""The networks of the zoo as C: all can be written; those for small images are compiled and run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import bnnzoo
from bnnzoo.formats.c_source.lowering import prepare
from bnnzoo.formats.c_source.selftest import self_test
from bnnzoo.formats.c_source.source import Source
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.tolerance import errors
from bnnzoo.keras_bridge.from_keras import trace
from tests.architectures.models import swept
from tests.formats.c_source.programs import COMPILERS, build, needs_compiler, network
from tests.keras_bridge.keras_networks import random_images, seed_weights

PAGE = Path(__file__).parents[3] / "docs" / "microcontrollers.md"
# Of the table of sizes: name, image, bytes of binary kernels, of other parameters, of the arena.
ROWS = re.findall(
    r"^\| `([\w.]+)` \| ([\d x]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$",
    PAGE.read_text(),
    re.MULTILINE,
)
SMALL = ("birealnet20", "binarynet", "binarynet_mlp", "xnornet_vgg")


def source(graph):
    return Source(network(graph, np.zeros((1, *graph.input_shape))), prepare(graph))


def source_of(name):
    """An architecture for its usual images, or a trained network, and its Keras model."""
    pretrained = "." in name
    model = bnnzoo.load(name, pretrained=pretrained)
    return source(trace(model if pretrained else seed_weights(model)).graph), model


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row[0], marks=[pytest.mark.long] * ("." not in row[0])) for row in ROWS],
)
def test_the_table_of_sizes(row):
    made, _ = source_of(row[0])
    constants = made.lowered[1].constants
    sizes = (constants.bytes(bits=True), constants.bytes(bits=False), made.arena_bytes)
    assert " x ".join(map(str, made.graph.input_shape)) == row[1]
    assert [f"{size:,}" for size in sizes] == [*row[2:]]


def test_the_table_of_sizes_is_there():
    assert {row[0] for row in ROWS} >= {"binarynet.fashion_mnist_small", *SMALL}


@pytest.mark.parametrize("name", swept())
def test_every_architecture_can_be_written(name, traced):
    made = source(traced(name).graph)
    assert "static const call calls[]" in made.model() and "_run(" in made.header()


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", SMALL)
def test_networks_for_small_images_run(name, tmp_path):
    """On random weights and images; where a sign is in doubt, all after it is."""
    made, model = source_of(name)
    x = random_images(model, 8)
    graph = made.graph
    test = self_test(network(graph, x[:1]), graph)
    program = build(tmp_path, [network(graph, x[:1])], COMPILERS[0], ["-O2"])
    if not test.doubtful:
        program.self_test(0)
    values = run(graph, x)
    lost = errors(graph, values)
    (output,) = graph.outputs
    (found,) = program.run(0, x)
    right = np.all(np.abs(found - values[output]) <= lost[output], axis=1)
    assert right.sum() >= 4
