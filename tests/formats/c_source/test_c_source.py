"""Whole networks as C: what is written, that it needs nothing, and that it computes the network."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import bnnzoo
from bnnzoo.data import open_source, preprocessing
from bnnzoo.errors import ConversionError
from bnnzoo.formats import FORMATS, Network, packed
from bnnzoo.formats.c_source import source, write
from bnnzoo.formats.c_source.lowering import lower, prepare
from bnnzoo.formats.c_source.selftest import doubts, self_test
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.packing import quantize
from bnnzoo.graph.passes.zero_padding import zero_padding
from bnnzoo.graph.tolerance import errors
from bnnzoo.keras_bridge.from_keras import trace
from tests.formats.c_source.programs import (
    COMPILERS,
    SANITIZERS,
    build,
    compile_c,
    needs_compiler,
    network,
    prefix_of,
    shared,
    write_files,
)
from tests.formats.c_source.test_text import HOSTILE
from tests.graph.graphs import GraphBuilder

PRETRAINED = Path(bnnzoo.__file__).parent / "pretrained"
OWN = ("binarynet.fashion_mnist_small", "binarynet_mlp.mnist")
SHIPPED = tuple(sorted(path.stem for path in PRETRAINED.glob("*.safetensors")))
ORIGINS = ("packed", "keras")
HALF = (127.5,)


@pytest.fixture(scope="module")
def images():
    """20 images from all over the sample."""
    return [image for image, _, _ in open_source("sample:fashion_mnist")][::100]


def pixels_for(graph, images):
    """The images in the network's shape, uint8."""
    fitted = preprocessing.get("raw", graph.input_shape)(images)
    return fitted.round().astype(np.uint8)


def own_network(name, origin, images):
    """A network of this project, from its packed file or from Keras."""
    if origin == "packed":
        file = packed.from_bytes((PRETRAINED / f"{name}.safetensors").read_bytes())
        graph, info = file.graph, file.info
    else:
        graph, info = trace(bnnzoo.load(name, pretrained=True)).graph, NetworkInfo(name)
    sample = scaled(pixels_for(graph, images[:1]))
    return Network(graph, info, sample, HALF, HALF)


def scaled(pixels):
    return (pixels.astype(np.float32) - 127.5) / 127.5


# Each compiler has both of the small networks, and each of these both origins.
OWN_CASES = [
    *[(OWN[0], "packed"), (OWN[0], "keras"), (OWN[1], "keras"), (OWN[1], "packed")],
    *((name, "packed") for name in SHIPPED if name not in OWN),
]


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_own_networks(compiler, images, tmp_path):
    """20 real images, as pixels and as numbers; every sign counts."""
    networks = [own_network(*case, images) for case in shared(OWN_CASES, compiler)]
    program = build(tmp_path, networks, compiler)
    for index, net in enumerate(networks):
        pixels = pixels_for(net.graph, images)
        x = scaled(pixels)
        graph = prepare(net.graph)
        (output,) = graph.outputs
        values = run(graph, x)
        lost = errors(graph, values)
        # Where no sum is within rounding of its threshold, float32 flips no sign.
        sure = doubts(graph, values, lost) == 0
        # Real shortcuts and shifts leave a few of their thousands of signs there in most images.
        if net.info.name not in ("birealnet20", "reactnet_cifar"):
            assert sure.sum() > 15
            program.self_test(index)
        (found,) = program.run(index, x)
        np.testing.assert_array_equal(found[:5], program.run(index, pixels[:5])[0])
        np.testing.assert_array_equal(found.argmax(1), values[output].argmax(1))
        right = np.all(np.abs(found - values[output]) <= lost[output], axis=1)
        assert right[sure].all() and right.sum() > 15


def test_packed_and_keras_give_the_same_weights(images):
    """The arrays may have other names; what they hold is what the network is."""
    for name in OWN:
        sources = [
            write(own_network(name, origin, images)).files["model.c"].decode() for origin in ORIGINS
        ]
        words = [re.findall(r"0x[0-9a-f]{8}", text) for text in sources]
        assert words[0] == words[1]


# What a network costs -----------------------------------------------------------------------------


def test_bytes_of_the_compact_network(images):
    """Bits of the kernels in whole words per filter; maps of signs; nothing for zero padding."""
    net = own_network(OWN[0], "packed", images)
    written = write(net)
    filters = {24: (9, 216), 48: (216, 432), 96: (432, 864), 192: (864, 192), 10: (192,)}
    kernels = sum(4 * n * -(-K // 32) for n, Ks in filters.items() for K in Ks)
    thresholds = 4 * (24 * 2 + 48 * 2 + 96 * 2 + 192 * 2)
    assert written.bytes == {
        "binary kernels": kernels,
        "other parameters": thresholds + 4 * 2 * 10,
        # The image as numbers, the first map of signs, a window of 9 numbers and the row behind.
    }
    first = 28 * 28 * 4 * 2
    assert first < written.ram_bytes < first + 100
    assert f"_ARENA_BYTES {written.ram_bytes} " in written.files["model.h"].decode()


def test_kernels_in_8_bits_stay_in_8_bits(rng):
    builder = GraphBuilder(rng, (1, 1, 64))
    kernel = {"kernel": quantize(builder.reals(10, 1, 1, 64))}
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    value = builder.affine(builder.add("conv2d", "images", tensors=kernel, **window))
    other = write(network(builder.graph(value))).bytes["other parameters"]
    assert 10 * 64 < other <= 10 * 64 + 4 * 10 * 3  # scales of filters, scale and bias behind


@pytest.mark.parametrize("name", OWN)
def test_inner_layers_are_integers(name, images):
    """Between the first layer and the last one, no call reads or writes a real number."""
    text = write(own_network(name, "packed", images)).files["model.c"].decode()
    table = text[text.index("static const call calls") :]
    calls = re.findall(r"/\* (.+): (.+) -> (.+) \*/\n    \{(\w+)", table)
    inner = [call for call in calls if call[1].endswith("signs") and call[2].endswith("signs")]
    assert [call[3] for call in calls if call not in inner] == [
        "conv2d", "bconv2d", "affine", "softmax",
    ]  # fmt: skip
    assert len(inner) == len(calls) - 4 >= 2


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", OWN)
def test_nothing_but_string_h_and_math_h(name, compiler, images, tmp_path):
    write_files(tmp_path, write(own_network(name, "packed", images)).files)
    compile_c(compiler, ["-O2", "-c", str(tmp_path / "model.c"), "-o", str(tmp_path / "model.o")])
    if shutil.which("nm") is None:
        pytest.skip("there is no nm here")
    listed = subprocess.run(
        ["nm", "-u", "-P", str(tmp_path / "model.o")], capture_output=True, text=True, check=True
    )
    symbols = {line.split()[0] for line in listed.stdout.splitlines()}
    # The second comes with the compiler, as `__aeabi_` functions do elsewhere.
    assert symbols <= {"memcpy", "memset", "expf"} | {"__popcountdi2", "__popcountsi2"}


@needs_compiler
def test_a_table_counts_bits_where_no_builtin_does(images, tmp_path):
    net = own_network(OWN[0], "packed", images)
    program = build(tmp_path, [net], COMPILERS[0], [*SANITIZERS, "-DNET_0_POPCOUNT_TABLE"])
    program.self_test(0)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ here")
def test_the_header_is_one_of_cpp_too(images, tmp_path):
    write_files(tmp_path, write(own_network(OWN[0], "packed", images)).files)
    (tmp_path / "main.cc").write_text('#include "model.h"\n#include "model.h"\n')
    command = ["g++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([*command, str(tmp_path / "main.cc")], check=True)


def test_the_same_network_gives_the_same_bytes(images):
    files = [write(own_network(OWN[0], "packed", images)).files for _ in range(2)]
    assert files[0] == files[1]


# The self-test ------------------------------------------------------------------------------------


@needs_compiler
def test_the_self_test_fails_for_a_wrong_weight(images, tmp_path):
    written = write(own_network(OWN[0], "packed", images))
    model = written.files["model.c"].decode()
    begin = model.rindex("static const uint32_t kernel")  # of the last layer
    word = re.search(r"0x[0-9a-f]{8}", model[begin:])[0]
    wrong = model[:begin] + model[begin:].replace(word, f"0x{int(word, 16) ^ 1:08x}", 1)
    for text, status in ((model, 0), (wrong, 1)):
        write_files(tmp_path, {**written.files, "model.c": text.encode()})
        sources = [str(tmp_path / name) for name in ("model.c", "selftest.c")]
        main = f"-D{prefix_of(written).upper()}_SELF_TEST_MAIN"
        compile_c(COMPILERS[0], [main, *sources, "-o", str(tmp_path / "test"), "-lm"])
        assert subprocess.run([str(tmp_path / "test")]).returncode == status


def test_the_self_test_avoids_numbers_next_to_a_threshold():
    builder = GraphBuilder(np.random.default_rng(1), (4, 4, 3))
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    kernel = {"kernel": np.full((2, 1, 1, 3), 1.1, np.float32)}
    value = builder.add("conv2d", "images", tensors=kernel, **window)
    limits = {"threshold": np.full(2, 3.3), "direction": np.ones(2, np.int8)}
    bits = builder.add("sign", value, tensors=limits)
    graph = builder.graph(builder.add("dequantize", bits))
    found = self_test(network(graph, np.ones((1, 4, 4, 3))), graph)
    assert found.doubtful == 0 and found.inputs["images"][0] == np.float32(63 / 64)
    # A kernel of nothing is next to its threshold in every shade.
    limits["threshold"][:] = 0
    zeros = dataclasses.replace(
        graph, tensors={**graph.tensors, f"{value}/kernel": 0 * kernel["kernel"]}
    )
    doubtful = network(zeros, np.ones((1, 4, 4, 3)))
    assert self_test(doubtful, zeros).doubtful == 32
    assert any("32 values" in note for note in write(doubtful).notes)


# What is given ------------------------------------------------------------------------------------


def small_graph(shape=(4, 5, 3), classes=3):
    builder = GraphBuilder(np.random.default_rng(2), shape)
    value = builder.batch_norm(builder.conv(builder.add("sign", "images"), binary=True))
    value = builder.dense(builder.add("global_avg_pool2d", value), classes, binary=False)
    return builder.graph(builder.affine(value))


SCALINGS = {
    "per channel": ((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), True),
    "one for all": ((127.5,), (127.5,), True),
    "mean alone": ((0.0,), None, False),
    "of other channels": ((1.0, 2.0), (1.0, 2.0), False),
}


@needs_compiler
@pytest.mark.parametrize(("mean", "std", "known"), SCALINGS.values(), ids=SCALINGS)
def test_pixels(mean, std, known, rng, tmp_path):
    net = network(small_graph(), pixel_mean=mean, pixel_std=std)
    assert (b"_run_pixels(" in write(net).files["model.h"]) == known
    if not known:
        return
    program = build(tmp_path, [net], COMPILERS[0])
    pixels = rng.integers(0, 256, (3, 4, 5, 3), np.uint8)
    x = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(program.run(0, pixels), program.run(0, x))


def test_vectors_are_no_pixels():
    builder = GraphBuilder(np.random.default_rng(2), (3,))
    net = network(builder.graph(builder.affine("images")), pixel_mean=(0.0,), pixel_std=(1.0,))
    assert b"_run_pixels(" not in write(net).files["model.h"]


def renamed(graph, name):
    """The graph with other names of nodes."""
    names = {node.name: f"{name}{i}" for i, node in enumerate(graph.nodes)}
    nodes = tuple(
        dataclasses.replace(
            node,
            name=names[node.name],
            inputs=tuple(names.get(value, value) for value in node.inputs),
        )
        for node in graph.nodes
    )
    return dataclasses.replace(graph, nodes=nodes, outputs=tuple(names[n] for n in graph.outputs))


_PRINT_LABELS = """\
#include <stdio.h>
#include "model.h"

int main(void)
{{
    int i;

    for (i = 0; i < {count}; i++)
        fwrite({prefix}_labels[i], 1, {size}, stdout);
    return 0;
}}
"""


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_names_of_files_do_not_become_c(compiler, tmp_path):
    texts = [text for text in HOSTILE if "\x00" not in text]
    graph = small_graph(classes=len(texts))
    for index, text in enumerate(texts):
        info = NetworkInfo(text, tag=text, licence=text, preprocessing=text, labels=tuple(texts))
        written = write(network(renamed(graph, text), info=info))
        write_files(tmp_path / str(index), written.files)
        sources = [str(tmp_path / str(index) / name) for name in ("model.c", "selftest.c")]
        compile_c(compiler, ["-fsyntax-only", *sources])
        assert all(max(content) < 128 for content in written.files.values())


@needs_compiler
def test_class_names(tmp_path):
    labels = tuple(text[:200].ljust(200, "~") for text in HOSTILE if text.isascii())
    info = NetworkInfo("net", labels=labels)
    written = write(network(small_graph(classes=len(labels)), info=info))
    main = _PRINT_LABELS.format(count=len(labels), prefix=prefix_of(written), size=200)
    write_files(tmp_path, {**written.files, "main.c": main.encode()})
    sources = [str(tmp_path / name) for name in ("model.c", "main.c")]
    compile_c(COMPILERS[0], [*SANITIZERS, *sources, "-o", str(tmp_path / "main"), "-lm"])
    done = subprocess.run([str(tmp_path / "main")], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(labels)


@needs_compiler
def test_a_network_that_computes_nothing(rng, tmp_path):
    builder = GraphBuilder(rng, (2, 3, 1))
    graph = builder.graph(builder.add("reshape", "images", shape=(6,)), "images")
    x = rng.standard_normal((2, 2, 3, 1)).astype(np.float32)
    for got in build(tmp_path, [network(graph)], COMPILERS[0]).run(0, x):
        np.testing.assert_array_equal(got, x.reshape(2, 6))


def test_sums_that_are_an_output_are_kept(rng):
    builder = GraphBuilder(rng, (3, 3, 2))
    sums = builder.conv(builder.add("sign", "images"), binary=True)
    signs = builder.add("dequantize", builder.add("sign", sums))
    calls, _ = lower(prepare(builder.graph(sums, signs)))
    assert sums in [call.writes for call in calls]


# What cannot be written ---------------------------------------------------------------------------


def test_an_output_of_bits_is_named():
    builder = GraphBuilder(np.random.default_rng(2), (4, 4, 3))
    graph = builder.graph(builder.add("sign", "images"))
    with pytest.raises(ConversionError, match="Output 'n0_sign' must be real numbers, got bits"):
        write(network(graph))


def test_a_correction_is_named():
    builder = GraphBuilder(np.random.default_rng(2), (4, 4, 3))
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
    kernel = {"kernel": builder.signs(2, 3, 3, 3)}
    bits = builder.add("sign", "images")
    graph = builder.graph(builder.add("bconv2d", bits, tensors=kernel, pad_value=0, **window))
    with pytest.raises(ConversionError, match="node 'n1_bconv2d'.* the graph before"):
        write(network(zero_padding(graph)))


def test_an_arena_that_is_too_large_is_told(monkeypatch):
    monkeypatch.setattr(source, "_MAX_BYTES", 100)
    with pytest.raises(ConversionError, match="less than 2 GiB of memory.* smaller images"):
        write(network(small_graph()))


def test_the_table_of_formats_has_it():
    (row,) = (row for row in FORMATS if row.module == write.__module__)
    assert (row.name, row.suffix, row.is_read) == ("c", "", False)
