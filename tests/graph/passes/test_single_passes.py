"""What each pass makes of the pattern that it is for, and what it must leave alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnnzoo.graph import interpreter
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel, PackedSigns, pack, quantize
from bnnzoo.graph.passes.binary_kernels import binary_kernels
from bnnzoo.graph.passes.constant_terms import constant_terms
from bnnzoo.graph.passes.distinct_outputs import distinct_outputs
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused
from bnnzoo.graph.passes.eight_bits import eight_bits
from bnnzoo.graph.passes.flatten_channels_first import flatten_channels_first
from bnnzoo.graph.passes.fold_affine import fold_into_conv, merge_affines
from bnnzoo.graph.passes.fold_batch_norm import fold_batch_norm
from bnnzoo.graph.passes.hoist_elementwise import hoist_elementwise
from bnnzoo.graph.passes.pack_kernels import pack_kernels
from bnnzoo.graph.passes.sign_before_pool import sign_before_pool
from bnnzoo.graph.passes.sign_thresholds import sign_thresholds
from bnnzoo.graph.passes.zero_padding import zero_padding
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
SAME = {**ONE, "padding": (1, 1, 1, 1)}
POOL = {"pool": (2, 2), "strides": (2, 2), "padding": (0, 0, 0, 0)}


@pytest.fixture
def builder(rng):
    return GraphBuilder(rng, (5, 6, 4))


def ops(graph):
    return [node.op for node in graph.nodes]


def affine(builder, value, scale, bias):
    vectors = {"scale": np.float32(scale), "bias": np.float32(bias)}
    return builder.add("affine", value, tensors=vectors)


def binary_conv(builder, value, *, filters=4, pad_value=0, **window):
    kernel = builder.signs(filters, 3, 3, builder.shape(value)[-1])
    bits = builder.add("sign", value)
    window = {**SAME, "pad_value": pad_value, **window}
    return builder.add("bconv2d", bits, tensors={"kernel": kernel}, **window)


def assert_equal(before, after, rng, *, tolerance=0.0):
    x = rng.standard_normal((3, *before.input_shape)).astype(np.float32)
    expected, values = interpreter.run(before, x), interpreter.run(after, x)
    for name in before.outputs:
        np.testing.assert_allclose(values[name], expected[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("copies", [1, 2])
def test_convolutions_of_constants_become_corrections(builder, rng, copies):
    """As in AdaBin; a value may be several inputs of one sum."""
    counts = binary_conv(builder, "images")
    ones = affine(builder, "images", [0.0] * 4, [1.0, 0.5, -1.0, 2.0])
    kernel = builder.signs(4, 3, 3, 4).astype(np.float32)
    constant = builder.add("conv2d", ones, tensors={"kernel": kernel}, **SAME)
    graph = builder.graph(builder.add("add", counts, *[constant] * copies, *["images"] * copies))
    after = constant_terms(graph)
    assert "conv2d" not in ops(after) and "affine" not in ops(after)
    # Admits sums of float32 in another order, which differ by a few units in the last place.
    assert_equal(graph, after, rng, tolerance=1e-5)


def test_an_output_that_is_there_twice_is_copied(builder, rng):
    value = builder.add("tanh", "images")
    builder.add("reshape", value, name=f"{value}:2", shape=(5, 6, 4))
    before = builder.graph("images", value, "images", value)
    after = distinct_outputs(before)
    assert after.outputs == ("images", value, "images:2", f"{value}:3")
    x = rng.standard_normal((3, 5, 6, 4)).astype(np.float32)
    values = interpreter.run(after, x)
    for name, copy in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_array_equal(values[copy], values[name])
    assert distinct_outputs(after) is after


def test_batch_norm_becomes_an_affine(builder, rng):
    graph = builder.graph(builder.batch_norm("images"))
    after = fold_batch_norm(graph)
    assert ops(after) == ["affine"]
    assert_equal(graph, after, rng, tolerance=1e-12)  # float64 rounding
    gamma, variance = (graph.tensors[f"n0_batch_norm/{name}"] for name in ("gamma", "variance"))
    scale = gamma.astype(float) / np.sqrt(variance.astype(float) + 1e-3)
    np.testing.assert_allclose(after.tensors["n0_batch_norm/scale"], scale, rtol=1e-15)


def test_unused_nodes_and_tensors_go(builder):
    kept = builder.affine("images")
    builder.affine(kept)
    after = drop_unused(builder.graph(kept))
    assert [node.name for node in after.nodes] == [kept]
    assert all(name.startswith(kept) for name in after.tensors)


def test_identities_go_but_an_output_keeps_its_name(builder, rng):
    x = builder.add("clip", "images", low=-math.inf, high=math.inf)
    x = builder.add("reshape", x, shape=(30, 4))
    x = builder.add("reshape", x, shape=(5, 6, 4))
    x = builder.affine(x)
    graph = builder.graph(builder.add("pad", x, padding=(0, 0, 0, 0), value=0.0))
    after = drop_identities(graph)
    assert ops(drop_unused(after)) == ["affine", "pad"]
    assert after.outputs == graph.outputs
    assert_equal(graph, after, rng)


def test_kernels_are_packed_eight_to_a_byte(builder):
    graph = builder.graph(binary_conv(builder, "images"))
    (kernel,) = pack_kernels(graph).tensors.values()
    assert isinstance(kernel, PackedSigns)
    assert kernel.bits.shape == (4, math.ceil(3 * 3 * 4 / 8))
    np.testing.assert_array_equal(kernel.unpack(), *graph.tensors.values())


def test_affines_merge_unless_somebody_else_reads(builder, rng):
    first = builder.affine("images")
    second = builder.affine(first)
    graph = builder.graph(second)
    assert ops(merge_affines(graph)) == ["affine"]
    assert_equal(graph, merge_affines(graph), rng, tolerance=1e-12)  # float64 rounding
    both = builder.graph(second, first)
    assert merge_affines(both) is both


@pytest.mark.parametrize("binary", [False, True], ids=["real", "binary"])
def test_the_scale_goes_into_a_real_kernel(builder, rng, binary):
    kernel = builder.signs(4, 3, 3, 4) if binary else builder.reals(4, 3, 3, 4)
    x = builder.add("conv2d", "images", tensors={"kernel": kernel}, **SAME)
    graph = builder.graph(affine(builder, x, [1, 2, -3, 0], [0, 1, 2, 3]))
    after = fold_into_conv(graph)
    assert_equal(graph, after, rng, tolerance=1e-12)  # float64 rounding
    assert set(after.nodes[1].tensors) == ({"scale", "bias"} if binary else {"bias"})


@pytest.mark.parametrize("input_bits", [{}, {"input_bits": 8}], ids=["float32", "8 bits"])
def test_the_scale_goes_beside_levels_that_meet_levels(builder, rng, input_bits):
    kernel = quantize(builder.reals(4, 3, 3, 4))
    x = builder.add("conv2d", "images", tensors={"kernel": kernel}, **SAME, **input_bits)
    graph = builder.graph(affine(builder, x, [1, 2, -3, 0], [0, 1, 2, 3]))
    after = fold_into_conv(graph)
    assert_equal(graph, after, rng, tolerance=1e-12)  # float64 rounding
    folded = after.tensors[after.nodes[0].tensors["kernel"]]
    assert isinstance(folded, Int8Kernel) == bool(input_bits)
    if input_bits:
        assert folded.levels is kernel.levels
        np.testing.assert_array_equal(folded.scale, kernel.scale * np.float64([1, 2, -3, 0]))


# Filters, kernel, strides and what else decides whether an input in 8 bits pays.
FASTER = {
    "stem": ((64, 7, 7, 3), {"strides": (2, 2)}, True),
    "small stem": ((16, 3, 3, 3), {"strides": (2, 2)}, True),
    "fewer filters": ((8, 3, 3, 3), {"strides": (2, 2)}, False),
    "shortcut": ((32, 1, 1, 16), {}, True),
    "narrow shortcut": ((31, 1, 1, 16), {}, False),
    "few products": ((64, 1, 1, 15), {}, False),
    "groups": ((64, 3, 3, 8), {"groups": 2}, False),
    "most products": ((1, 128, 64, 16), {}, True),
    "too many": ((1, 128, 64, 17), {}, False),
}


@pytest.mark.parametrize("name", FASTER)
def test_inputs_are_in_8_bits_where_that_is_faster(rng, name):
    shape, changes, faster = FASTER[name]
    attributes = {**ONE, **changes}
    channels = shape[3] * attributes["groups"]
    builder = GraphBuilder(rng, (max(8, shape[1]), max(8, shape[2]), channels))
    conv = builder.add("conv2d", "images", tensors={"kernel": builder.reals(*shape)}, **attributes)
    graph = builder.graph(conv)
    after = eight_bits(graph)
    assert after.nodes[0].attributes.get("input_bits") == (8 if faster else None)
    assert isinstance(after.tensors[f"{conv}/kernel"], Int8Kernel)
    assert eight_bits(after).nodes == after.nodes and infer_types(after) == infer_types(graph)


def test_what_8_bits_cannot_hold_stays_float32(rng):
    builder = GraphBuilder(rng, (8, 8, 16))
    small = np.full((32, 1, 1, 16), 1e-37)
    x = builder.add("conv2d", "images", tensors={"kernel": small}, **ONE)
    bits = builder.add("sign", x)
    tensors = {"kernel": pack(builder.signs(8, 1, 1, 32))}
    y = builder.add("bconv2d", bits, tensors=tensors, pad_value=1, **ONE)
    graph = builder.graph(y)
    after = eight_bits(graph)
    assert after.nodes == graph.nodes
    assert all(after.tensors[name] is tensor for name, tensor in graph.tensors.items())


def test_elementwise_goes_above_the_reshape_of_a_dense_layer(builder, rng):
    pooled = builder.add("global_avg_pool2d", "images")
    dense = builder.dense(pooled, 7, binary=False)
    norm = builder.batch_norm(dense)
    graph = builder.graph(builder.dense(builder.add("sign", norm), 3, binary=True))
    after = drop_unused(drop_identities(hoist_elementwise(graph)))
    expected = ["global_avg_pool2d", "reshape", "conv2d", "batch_norm", "sign", "bconv2d"]
    assert_equal(graph, after, rng)
    graph = fold_batch_norm(graph)
    after = drop_unused(drop_identities(hoist_elementwise(graph)))
    expected[3] = "affine"
    assert ops(after) == [*expected, "reshape"]
    assert_equal(graph, after, rng)


def test_parameters_per_channel_stay_behind_a_flatten(builder):
    flat = builder.add("reshape", "images", shape=(120,))
    graph = builder.graph(builder.affine(flat))
    assert hoist_elementwise(graph) is graph


def test_thresholds_of_sums_are_integers(builder, rng):
    x = binary_conv(builder, "images")
    x = affine(builder, x, [0.5, -0.5, 0, 0], [1.2, 1.2, -1, 1])
    graph = builder.graph(builder.add("sign", x))
    after = sign_thresholds(graph)
    assert ops(after) == ["sign", "bconv2d", "sign"]
    sign = after.nodes[-1]
    # 0.5 n + 1.2 < 0 is n < -2.4; -0.5 n + 1.2 < 0 is n > 2.4; -1 < 0 always; 1 < 0 never.
    np.testing.assert_array_equal(after.tensor(sign, "threshold"), [-2, 2, math.inf, -math.inf])
    np.testing.assert_array_equal(after.tensor(sign, "direction"), [1, -1, 1, 1])
    assert_equal(graph, after, rng)


def test_a_tie_is_plus_one(builder):
    x = affine(builder, "images", [2, -2, 2, -2], [1, 1, -1, -1])
    graph = builder.graph(builder.add("sign", x))
    after = sign_thresholds(graph)
    turning = np.array([-0.5, 0.5, 0.5, -0.5])
    for offset in (0, 1e-15, -1e-15):
        images = np.broadcast_to(turning + offset, (1, 5, 6, 4))
        (name,) = graph.outputs
        expected = interpreter.run(graph, images)[name]
        np.testing.assert_array_equal(interpreter.run(after, images)[name], expected)
        if offset == 0:
            assert np.all(expected == 1)


def test_a_sign_takes_affine_after_affine(builder, rng):
    x = binary_conv(builder, "images")
    x = affine(builder, x, [0.3, -0.7, 2, 0], [0.11, 0.2, -1, 1])
    x = builder.add("max_pool2d", x, **POOL)
    x = affine(builder, x, [-1.5, -0.2, 0, 1], [0.77, 1.3, -0.5, -3])
    graph = builder.graph(builder.add("sign", x))
    after = sign_thresholds(sign_before_pool(sign_thresholds(graph)))
    assert ops(after) == ["sign", "bconv2d", "sign", "bmax_pool2d"]
    assert_equal(graph, after, rng)


def test_pooling_bits_is_the_minimum_where_gamma_is_negative(builder, rng):
    x = binary_conv(builder, "images", padding=(0, 1, 0, 1))
    x = builder.add("max_pool2d", x, **{**POOL, "pool": (3, 3), "padding": (1, 1, 1, 1)})
    x = affine(builder, x, [1, -1, 0, 0], [0.5, 0.5, -1, 1])
    graph = builder.graph(builder.add("sign", x))
    after = sign_before_pool(sign_thresholds(graph))
    assert ops(after) == ["sign", "bconv2d", "sign", "bmax_pool2d"]
    np.testing.assert_array_equal(after.tensor(after.nodes[-1], "direction"), [1, -1, 1, 1])
    assert_equal(graph, after, rng)


def test_a_pooling_that_others_read_stays(builder):
    x = builder.add("max_pool2d", "images", **POOL)
    graph = builder.graph(builder.add("sign", x), builder.affine(x))
    assert sign_before_pool(graph) is graph


@pytest.mark.parametrize(
    ("window", "classes"),
    [
        pytest.param(SAME, (3, 3), id="3x3"),
        pytest.param({**SAME, "strides": (2, 2), "padding": (0, 1, 0, 1)}, (1, 2), id="stride"),
        pytest.param({**SAME, "dilation": (2, 2), "padding": (2, 2, 2, 2)}, (3, 3), id="dilation"),
        pytest.param({**SAME, "groups": 2}, (3, 3), id="groups"),
        pytest.param(ONE, None, id="valid"),
    ],
)
def test_zero_padding_is_corrected_exactly(builder, rng, window, classes):
    kernel = builder.signs(4, 3, 3, 4 // window["groups"])
    bits = builder.add("sign", "images")
    x = builder.add("bconv2d", bits, tensors={"kernel": kernel}, pad_value=0, **window)
    graph = builder.graph(x)
    after = zero_padding(graph)
    assert after.nodes[-1].attributes["pad_value"] == 1
    correction = after.tensor(after.nodes[-1], "correction")
    assert (None if correction is None else correction.shape[:2]) == classes
    assert_equal(graph, after, rng)


def test_levels_are_padded_with_zero_already(builder):
    levels = builder.add("quantize", "images", bits=2)
    kernel = {"kernel": builder.signs(4, 3, 3, 4)}
    graph = builder.graph(builder.add("bconv2d", levels, tensors=kernel, pad_value=0, **SAME))
    assert zero_padding(graph).nodes[-1].attributes["pad_value"] == 0


def flattened(builder, *, kernels=("binary", "real", "int8")):
    """Dense layers behind a flattened image, with elementwise operations on the way."""
    count = 5 * 6 * 4
    flat = builder.add("reshape", "images", shape=(count,))
    normed = builder.batch_norm(builder.add("prelu", flat, tensors={"alpha": builder.reals(count)}))
    outputs = []
    for kind in kernels:
        x = builder.add("sign", builder.affine(normed)) if kind == "binary" else normed
        row = builder.add("reshape", x, shape=(1, 1, count))
        kernel = (
            builder.signs(3, 1, 1, count) if kind == "binary" else builder.reals(3, 1, 1, count)
        )
        kernel = quantize(kernel) if kind == "int8" else kernel
        op, more = ("bconv2d", {"pad_value": 0}) if kind == "binary" else ("conv2d", {})
        outputs.append(builder.add(op, row, tensors={"kernel": kernel}, **ONE, **more))
    return builder.graph(*outputs)


def test_an_image_is_flattened_channels_first_and_the_weights_move(builder, rng):
    graph = flattened(builder)
    after = flatten_channels_first(graph)
    (permute,) = (node for node in after.nodes if node.op == "permute")
    assert permute.attributes == {"axes": (2, 0, 1)} and permute.inputs == ("images",)
    assert ops(after) == ["permute", *ops(graph)]
    assert_equal(graph, after, rng, tolerance=1e-12)  # float64 sums in another order
    packed = pack_kernels(graph)
    assert_equal(graph, flatten_channels_first(packed), rng, tolerance=1e-12)


@pytest.mark.parametrize("reader", ["output", "slice", "add", "grouped"])
def test_an_image_is_flattened_as_it_is_where_something_else_reads_it(builder, reader):
    flat = builder.add("reshape", "images", shape=(120,))
    dense = builder.dense(flat, 3, binary=False)
    readers = {
        "output": lambda: flat,
        "slice": lambda: builder.add("slice", flat, axis=0, begin=3, size=2),
        "add": lambda: builder.add("add", flat, flat),
        "grouped": lambda: builder.add(
            "conv2d",
            builder.add("reshape", flat, shape=(1, 1, 120)),
            tensors={"kernel": builder.reals(2, 1, 1, 60)},
            **{**ONE, "groups": 2},
        ),
    }
    graph = builder.graph(dense, readers[reader]())
    assert flatten_channels_first(graph) is graph


def test_vectors_and_flat_images_are_left_alone(rng):
    for shape in ((1, 1, 5), (4, 3, 1), (12,)):
        builder = GraphBuilder(rng, shape)
        count = int(np.prod(shape))
        flat = builder.add("reshape", "images", shape=(count,))
        graph = builder.graph(builder.dense(flat, 2, binary=False))
        assert flatten_channels_first(graph) is graph


def test_thresholds_only_where_nothing_else_reads_the_affine(builder, rng):
    x = builder.affine(binary_conv(builder, "images"))
    sign = builder.add("sign", x)
    alone = builder.graph(builder.add("dequantize", sign))
    assert ops(sign_thresholds(alone, shared=False)) == ["sign", "bconv2d", "sign", "dequantize"]
    both = builder.graph(*alone.outputs, x)
    assert sign_thresholds(both, shared=False) is both
    assert sign_thresholds(both) is not both


def test_a_falling_sign_stays_behind_the_pool_where_that_is_asked_for(builder, rng):
    x = builder.add("max_pool2d", binary_conv(builder, "images"), **POOL)
    x = builder.add("sign", affine(builder, x, [0.5, -0.5, 2, 1], [1, 1, 0, 1]))
    graph = sign_thresholds(builder.graph(builder.add("dequantize", x)))
    assert sign_before_pool(graph, falling=False) is graph
    assert ops(sign_before_pool(graph))[-2:] == ["bmax_pool2d", "dequantize"]


# Kernel, and whether signs times a scale per channel is what it is.
SCALED = {
    "signs": (lambda rng, signs: signs * np.float32(1), True),
    "a scale per channel": (lambda rng, signs: signs * np.float32([[[[2]]], [[[0.1]]]]), True),
    "a channel of zeros": (lambda rng, signs: signs * np.float32([[[[2]]], [[[0]]]]), True),
    "one weight unlike": (lambda rng, signs: np.where(np.arange(4) == 2, 1.5, signs), False),
    "int8 signs": (lambda rng, signs: signs, False),
}


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("flat", [False, True], ids=["map", "flattened"])
def test_signs_that_meet_scaled_signs_become_a_binary_convolution(builder, rng, name, flat):
    make, becomes = SCALED[name]
    x = builder.add("dequantize", builder.add("sign", "images"))
    x = builder.add("reshape", x, shape=(5, 6, 4)) if flat else x
    kernel = make(rng, builder.signs(2, 3, 3, 4))
    conv = builder.add("conv2d", x, tensors={"kernel": kernel}, **SAME)
    graph = builder.graph(conv)
    after = binary_kernels(graph)
    assert ("bconv2d" in ops(after)) == becomes and ("dequantize" in ops(after)) != becomes
    assert after.outputs == (conv,)
    assert_equal(graph, after, rng, tolerance=1e-6)  # the scale is float32
