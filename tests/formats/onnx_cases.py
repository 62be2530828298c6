"""Small networks with the operators of ONNX in the forms that exporters write.

A case has an opset, the shape of its input, nodes in the text form of `onnx.parser`, and constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

MAP = (3, 6, 5)  # channels, rows, columns
RNG = np.random.default_rng(2)


def reals(*shape: int) -> np.ndarray:
    """Returns eighths."""
    return (RNG.integers(-16, 17, shape) / 8).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """A network: nodes from `x` to `y`."""

    text: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[Any, ...] = ("n", *MAP)
    opset: int = 13


def model_of(case: Case, outputs: Sequence[str] = ("y",)) -> onnx.ModelProto:
    """Returns the model of a case."""
    shape = ",".join(map(str, case.shape))
    results = ",".join(f"float {name}" for name in outputs)
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {case.opset}, "qonnx.custom_op.general" : 1]>'
        f"net (float[{shape}] x) => ({results}) {{ {case.text} }}"
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in case.constants.items()
    )
    return model


NORM = {"g": reals(3), "b": reals(3), "m": reals(3), "v": np.abs(reals(3)) + 1}
LOOSE = {"w": reals(4, 3, 2, 3)}

CASES = {
    # Convolutions
    "conv": Case("y = Conv(x, w, b)", {**LOOSE, "b": reals(4)}),
    "conv of uneven pads": Case("y = Conv<pads=[1,0,2,3], strides=[2,1]>(x, w)", LOOSE),
    "conv of dilations": Case("y = Conv<dilations=[2,1], kernel_shape=[2,3]>(x, w)", LOOSE),
    "conv of groups": Case("y = Conv<group=3>(x, w)", {"w": reals(6, 1, 3, 3)}),
    "conv same upper": Case('y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', LOOSE),
    "conv same lower": Case('y = Conv<auto_pad="SAME_LOWER", strides=[1,2]>(x, w)', LOOSE),
    "conv valid": Case('y = Conv<auto_pad="VALID">(x, w)', LOOSE),
    "conv transpose": Case(
        "y = ConvTranspose<strides=[2,3], pads=[1,0,0,2], output_padding=[1,0]>(x, w, b)",
        {"w": reals(3, 4, 3, 3), "b": reals(4)},
    ),
    "gemm": Case("y = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, c)",
                 {"w": reals(4, 7), "c": reals(4)}, (1, 7)),
    "gemm of one bias": Case("y = Gemm(x, w, c)", {"w": reals(7, 4), "c": reals(1, 1)}, ("n", 7)),
    "matmul of rows": Case("y = MatMul(x, w)", {"w": reals(5, 4)}, (1, 6, 5)),
    "matmul of columns": Case("t = Transpose<perm=[0,2,1]>(x) y = MatMul(t, w)",
                              {"w": reals(6, 4)}, (1, 6, 5)),
    # Elementwise
    "batch norm": Case("y = BatchNormalization<epsilon=0.001>(x, g, b, m, v)", NORM),
    "batch norm of a row": Case("y = BatchNormalization(x, g, b, m, v)", NORM, (1, 3)),
    "batch norm of a sequence": Case("y = BatchNormalization(x, g, b, m, v)", NORM, (1, 3, 7)),
    "relu": Case("y = Relu(x)"),
    "leaky relu": Case("y = LeakyRelu<alpha=0.25>(x)"),
    "abs": Case("y = Abs(x)"),
    "neg": Case("y = Neg(x)"),
    "prelu": Case("y = PRelu(x, a)", {"a": reals(3, 1, 1)}),
    "prelu of pixels": Case("y = PRelu(x, a)", {"a": reals(1, 6, 5)}),
    "clip": Case("y = Clip(x, l, h)", {"l": np.float32(-0.5), "h": np.float32(1)}),
    "clip above": Case("y = Clip(x, , h)", {"h": np.float32(1)}),
    "clip of attributes": Case("y = Clip<min=0.0, max=6.0>(x)", opset=9),
    "max": Case("y = Max(x, l)", {"l": np.float32(0.5)}),
    "min": Case("y = Min(h, x)", {"h": np.float32([[0.5]])}),
    "sigmoid": Case("y = Sigmoid(x)"),
    "tanh": Case("y = Tanh(x)"),
    "hard sigmoid": Case("y = HardSigmoid<alpha=0.25, beta=0.5>(x)"),
    "hard swish": Case("y = HardSwish(x)", opset=14),
    "softmax of channels": Case("y = Softmax<axis=1>(x)"),
    "softmax of columns": Case("y = Softmax(x)"),
    "softmax of a row": Case("y = Softmax(x)", shape=(1, 7), opset=9),
    "dropout": Case("y = Dropout(x)"),
    "identity": Case("t = Identity(x) y = Add(t, x)"),
    "cast": Case("t = Cast<to=11>(x) u = Relu(t) y = Cast<to=1>(u)"),
    "add of channels": Case("y = Add(c, x)", {"c": reals(3, 1, 1)}),
    "add of columns": Case("y = Add(x, c)", {"c": reals(5)}),
    "add of pixels": Case("y = Add(x, c)", {"c": reals(6, 1)}),
    "add of all": Case("y = Add(x, c)", {"c": reals(1, *MAP)}),
    "sub from": Case("y = Sub(c, x)", {"c": reals(3, 1, 1)}),
    "sub": Case("y = Sub(x, c)", {"c": reals(1, 3, 6, 1)}),
    "mul": Case("y = Mul(x, c)", {"c": reals(1, 3, 1, 1)}),
    "div": Case("y = Div(x, c)", {"c": np.float32([[[2]], [[-4]], [[0.5]]])}),
    "gate": Case("p = GlobalAveragePool(x) s = Sigmoid(p) y = Mul(s, x)"),
    "sum": Case("t = Relu(x) y = Sum(x, t, x)"),
    "sum of ranks": Case("r = ReduceMean<axes=[1,2], keepdims=0>(x) y = Add(r, x)"),
    "difference of values": Case("t = Relu(x) y = Sub(t, x)"),
    "estimator": Case("t = Tanh(x) s = Sign(x) d = Sub(s, t) y = Add(t, d)"),
    # Quantizers and choices
    "sign": Case("y = Sign(x)"),
    "sign of a sign": Case("s = Sign(x) t = Add(s, c) y = Sign(t)", {"c": np.float32(0.1)}),
    "sign of a sign below": Case("s = Sign(x) t = Sub(s, c) y = Sign(t)", {"c": np.float32(0.1)}),
    "convolution of signs": Case("s = Sign(x) y = Conv<pads=[1,1,0,1]>(s, w)",
                                 {"w": np.sign(reals(4, 3, 2, 3) + 1 / 16)}),
    "product of signs": Case("s = Sign(x) f = Flatten(s) y = MatMul(f, w)",
                             {"w": np.sign(reals(90, 4) + 1 / 16)}),
    "where less": Case("c = Less(x, t) y = Where(c, a, b)",
                       {"t": np.float32(0), "a": np.float32(-1), "b": np.float32(1)}),
    "where greater": Case("c = Greater(t, x) y = Where(c, a, b)",
                          {"t": reals(3, 1, 1), "a": np.float32(2), "b": np.float32(1)}),
    "where not less": Case("c = GreaterOrEqual(x, t) y = Where(c, a, b)",
                           {"t": np.float32(0.5), "a": reals(3, 1, 1), "b": reals(1)}),
    "where not": Case("c = LessOrEqual(x, t) n = Not(c) y = Where(n, x, a)",
                      {"t": np.float32(0.5), "a": np.float32(0.25)}),
    "where clips above": Case("c = Greater(x, t) y = Where(c, t, x)", {"t": np.float32(0.5)}),
    "where clips below": Case("c = LessOrEqual(x, t) y = Where(c, t, x)", {"t": np.float32(0.5)}),
    "where of values": Case("t = Relu(x) u = Tanh(x) c = Less(t, u) y = Where(c, x, t)"),
    "cast of a comparison": Case("c = Greater(x, t) y = Cast<to=1>(c)", {"t": np.float32(0)}),
    "masks": Case(
        "c = Less(x, t) n = Not(c) f = Cast<to=1>(c) g = Cast<to=1>(n) "
        "p = Mul(f, a) q = Mul(g, b) y = Add(p, q)",
        {"t": np.float32(0), "a": np.float32(-1), "b": np.float32(1)},
    ),
    "masks that clip": Case(
        "c = Less(x, t) n = Not(c) f = Cast<to=1>(c) g = Cast<to=1>(n) "
        "p = Mul(f, t) q = Mul(x, g) y = Add(q, p)", {"t": np.float32(0.5)},
    ),
    "levels": Case("t = Clip(x, l, h) u = Mul(t, n) r = Round(u) y = Div(r, n)",
                   {"l": np.float32(0), "h": np.float32(1), "n": np.float32(3)}),
    # Shapes
    "flatten": Case("y = Flatten(x)"),
    "flatten all": Case("y = Flatten<axis=0>(x)", shape=(1, *MAP)),
    "reshape": Case("y = Reshape(x, s)", {"s": ints(0, -1)}),
    "reshape to an image": Case("t = Reshape(x, s) y = Conv(t, w)",
                                {"s": ints(1, 3, 4, 5), "w": reals(2, 3, 2, 2)}, (1, 60)),
    "reshape of two axes": Case("y = Reshape(x, s)", {"s": ints(-1, 3, 30)}),
    "shuffle": Case("t = Reshape(x, s) u = Transpose<perm=[0,2,1,3,4]>(t) y = Reshape(u, r)",
                    {"s": ints(-1, 2, 3, 6, 5), "r": ints(-1, 6, 6, 5)}, ("n", 6, 6, 5)),
    "shape of a free batch": Case(
        "s = Shape(x) z = Constant<value_int = 0>() n = Gather(s, z) "
        "u = Unsqueeze(n, o) c = Concat<axis=0>(u, m) y = Reshape(x, c)",
        {"o": ints(0), "m": ints(-1)},
    ),
    "shape of a free batch by slices": Case(
        "s = Shape(x) b = Slice(s, z, o) i = Cast<to=6>(b) j = Cast<to=7>(i) "
        "c = Concat<axis=0>(j, m) y = Reshape(x, c)",
        {"z": ints(0), "o": ints(1), "m": ints(-1)},
    ),
    "channels last": Case("t = Transpose<perm=[0,3,1,2]>(x) u = Conv(t, w) "
                          "y = Transpose<perm=[0,2,3,1]>(u)", LOOSE, ("n", 6, 5, 3)),
    "channels last behind a scale": Case(
        "s = Mul(x, c) t = Transpose<perm=[0,3,1,2]>(s) u = MaxPool<kernel_shape=[2,2]>(t) "
        "y = Transpose<perm=[0,2,3,1]>(u)", {"c": reals(3)}, ("n", 6, 5, 3),
    ),
    "squeeze": Case("p = GlobalMaxPool(x) y = Squeeze(p, a)", {"a": ints(2, 3)}),
    "squeeze by attributes": Case("p = GlobalMaxPool(x) y = Squeeze<axes=[-1,2]>(p)", opset=11),
    "unsqueeze": Case("t = Unsqueeze(x, a) y = Conv(t, w)",
                      {"a": ints(3), "w": reals(4, 3, 2, 1)}, (1, 3, 7)),
    "expand": Case("s = Shape(x) y = Expand(x, s)"),
    "pad": Case("y = Pad(x, p, v)", {"p": ints(0, 0, 1, 0, 0, 0, 2, 3), "v": np.float32(0.5)}),
    "pad of channels": Case("y = Pad(x, p)", {"p": ints(0, 2, 0, 0, 0, 5, 0, 1)}),
    "pad by attributes": Case("y = Pad<pads=[0,0,1,2,0,0,0,1], value=-1.0>(x)", opset=9),
    "pad of axes": Case("y = Pad(x, p, v, a)",
                        {"p": ints(1, 0, 2, 1), "v": np.float32(1), "a": ints(3, 2)}, opset=18),
    "concat": Case("t = Relu(x) y = Concat<axis=1>(x, t, x)"),
    "concat of columns": Case("t = Relu(x) y = Concat<axis=-1>(x, t)"),
    "slice": Case("y = Slice(x, s, e, a)", {"s": ints(1, -4), "e": ints(3, 1000), "a": ints(1, 2)}),
    "slice of steps": Case("y = Slice(x, s, e, a, t)",
                           {"s": ints(0, 1, 0), "e": ints(3, 9, 9), "a": ints(1, 2, 3),
                            "t": ints(2, 2, 3)}),
    "slice by attributes": Case("y = Slice<starts=[1], ends=[3], axes=[3]>(x)", opset=9),
    "split": Case("a, b = Split<axis=1>(x, s) c = Relu(b) y = Concat<axis=1>(c, a)",
                  {"s": ints(1, 2)}),
    "split evenly": Case("a, b, c = Split<axis=2, split=[2,2,2]>(x) d = Add(a, b) y = Add(d, c)",
                         opset=11),
    "gather one": Case("y = Gather<axis=1>(x, i)", {"i": np.int64(-1)}),
    "gather": Case("y = Gather<axis=1>(x, i)", {"i": ints(2, 0, 1, 2)}),
    "tile": Case("y = Tile(x, c)", {"c": ints(1, 2, 1, 3)}),
    "repeat": Case("t = Unsqueeze(x, a) u = Tile(t, c) y = Reshape(u, s)",
                   {"a": ints(3), "c": ints(1, 1, 1, 2, 1), "s": ints(-1, 3, 12, 5)}),
    "upsample": Case('y = Upsample<mode="nearest">(x, s)',
                     {"s": np.float32([1, 1, 2, 3])}, opset=9),
    "resize": Case('y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", '
                   'nearest_mode="floor">(x, , s)', {"s": np.float32([1, 1, 2, 2])}),
    "resize to pixels": Case('y = Resize<mode="nearest">(x, , , s)', {"s": ints(1, 3, 12, 15)},
                             (1, *MAP)),
    "resize linearly": Case('y = Resize<mode="linear">(x, , s)', {"s": np.float32([1, 1, 1.5, 2])}),
    # Pools
    "max pool": Case("y = MaxPool<kernel_shape=[2,3], strides=[2,1], pads=[1,0,0,2]>(x)"),
    "max pool of ceilings": Case("y = MaxPool<kernel_shape=[3,2], strides=[2,2], ceil_mode=1>(x)"),
    "average pool": Case("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x)"),
    "average pool with its border": Case(
        "y = AveragePool<kernel_shape=[3,3], pads=[1,0,1,2], count_include_pad=1>(x)"),
    "global max pool": Case("y = GlobalMaxPool(x)"),
    "reduce mean": Case("y = ReduceMean<axes=[2,3]>(x)"),
    "reduce mean of axes": Case("y = ReduceMean<keepdims=0>(x, a)", {"a": ints(-1, 2)}, opset=18),
    "reduce max": Case("t = Transpose<perm=[0,2,3,1]>(x) y = ReduceMax<axes=[1,2]>(t)"),
    # Kernels that the file computes
    "scaled signs": Case(
        "s = Sign(w) a = Abs(w) m = ReduceMean<axes=[1,2,3]>(a) k = Mul(s, m) "
        "c = Clip(w, l, h) d = Sub(k, c) e = Add(d, c) y = Conv(x, e)",
        {**LOOSE, "l": np.float32(-1), "h": np.float32(1)},
    ),
    "signs by where": Case("c = Less(w, z) s = Where(c, m, p) t = Transpose<perm=[3,2,0,1]>(s) "
                           "y = Conv(x, t)",
                           {"w": reals(2, 3, 3, 4), "z": np.float32(0), "m": np.float32(-1),
                            "p": np.float32(1)}),
    "numbers of a shape": Case(
        "o = ConstantOfShape<value = float[1] {2.0}>(s) e = Expand(c, s) f = Mul(o, e) "
        "y = Add(x, f)", {"s": ints(1, 3, 6, 5), "c": reals(3, 1, 1)},
    ),
    "normed kernel": Case("q = Sqrt(v) d = Div(w, q) r = Reshape(d, s) y = Conv(x, r)",
                          {"v": np.float32([4]), "w": reals(4, 18), "s": ints(4, 3, 2, -1)}),
}  # fmt: skip
