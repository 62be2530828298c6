"""Mutations of valid `.onnx` files.

Case i of a run depends only on `np.random.default_rng([run, i])`. A third of the
files have changed bytes, the others a changed message.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from bnnzoo.formats import Network, qonnx
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.qonnx.folding import FOLD
from bnnzoo.formats.qonnx.reading_operators import READ
from tests.conftest import DATA
from tests.formats.exact_networks import NETWORKS
from tests.formats.mutations import (
    INTEGERS,
    REALS,
    NothingToChangeError,
    cut,
    flip_bits,
    insert,
    near,
    pick,
    remove,
)
from tests.formats.onnx_cases import CASES, model_of

Rng = np.random.Generator
Model = onnx.ModelProto


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Returns files of exporters, of the writer, and of each operator."""
    exported = [path.read_bytes() for path in sorted((DATA / "onnx").glob("*.onnx"))]
    written = [
        qonnx.write(Network(graph, NetworkInfo(name), {})).files[""]
        for name, graph in NETWORKS.items()
    ]
    operators = [model_of(case).SerializeToString() for case in CASES.values()]
    return (*exported, *written, *operators)


# Raw: bytes that know nothing of the format ----------------------------------------------------


def varint(rng: Rng, data: bytearray) -> bytes:
    """Replaces a length or a count with a limit."""
    place = int(rng.integers(len(data)))
    data[place : place + 1] = pick(rng, [b"\x00", b"\x01", b"\x7f", b"\xff\x01", b"\xff" * 9])
    return data


RAW = [flip_bits, flip_bits, cut, remove, insert, varint, varint]

# Structured: right as a message ----------------------------------------------------------------


def _a_node(rng: Rng, model: Model) -> Any:
    return pick(rng, model.graph.node)


def attribute(rng: Rng, model: Model) -> None:
    """Changes a setting."""
    entry = pick(rng, _a_node(rng, model).attribute)
    if entry.type == AttributeProto.INT:
        entry.i = int(near(rng, int(entry.i)))
    elif entry.type == AttributeProto.INTS:
        values = near(rng, list(entry.ints))
        values = values[:-1] if rng.random() < 0.15 else values
        entry.ints[:] = [int(n) for n in values]
    elif entry.type == AttributeProto.FLOAT:
        entry.f = float(pick(rng, REALS))
    elif entry.type == AttributeProto.TENSOR:
        entry.t.CopyFrom(_changed(rng, entry.t))
    else:
        entry.s = pick(rng, [b"", b"NOTSET", b"SAME_UPPER", b"\xff\xfe", b"linear", b"constant"])


def new_attribute(rng: Rng, model: Model) -> None:
    """Adds a setting that the operator may or may not have."""
    name = pick(rng, ["axis", "axes", "pads", "strides", "group", "perm", "to", "alpha", "value",
                      "keepdims", "ceil_mode", "kernel_shape", "allowzero", "transA"])  # fmt: skip
    value = pick(rng, [0, 1, -1, 3, [0], [1, 1], [0, 0, 1, 1], 0.5, "x", list(range(9))])
    node = _a_node(rng, model)
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def less_attribute(rng: Rng, model: Model) -> None:
    node = _a_node(rng, model)
    del node.attribute[int(rng.integers(max(1, len(node.attribute)))) :]


def kind(rng: Rng, model: Model) -> None:
    """Replaces an operator with another one."""
    node = _a_node(rng, model)
    node.op_type = pick(rng, sorted({*READ, *FOLD, "If", "Loop", "LRN"}))
    node.domain = pick(rng, ["", node.domain, "qonnx.custom_op.general", "com.microsoft"])


def operands(rng: Rng, model: Model) -> None:
    node, names = _a_node(rng, model), _names(model)
    field = node.output if rng.random() < 0.2 else node.input
    choice = rng.random()
    if choice < 0.6 and field:
        field[int(rng.integers(len(field)))] = pick(rng, [*names, ""])
    elif choice < 0.8:
        field.append(pick(rng, [*names, "other"]))
    elif field:
        del field[-1]


def _names(model: Model) -> list[str]:
    graph = model.graph
    return [*(i.name for i in graph.input), *(t.name for t in graph.initializer),
            *(name for node in graph.node for name in node.output)]  # fmt: skip


def order(rng: Rng, model: Model) -> None:
    nodes = list(model.graph.node)
    if not nodes:
        raise NothingToChangeError
    node = nodes.pop(int(rng.integers(len(nodes))))
    if rng.random() < 0.5:
        nodes.insert(int(rng.integers(len(nodes) + 1)), node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def ends(rng: Rng, model: Model) -> None:
    """Changes the shape or type of an input, or the outputs of the network."""
    if rng.random() < 0.3:
        pick(rng, model.graph.output).name = pick(rng, _names(model))
        return
    tensor = pick(rng, model.graph.input).type.tensor_type
    if rng.random() < 0.2:
        tensor.elem_type = int(rng.integers(0, 24))
        return
    axis = pick(rng, tensor.shape.dim)
    if rng.random() < 0.2:
        axis.dim_param = "m"
    elif rng.random() < 0.2:
        tensor.shape.dim.add().dim_value = 1
    else:
        axis.dim_value = int(near(rng, int(axis.dim_value)))


def constant(rng: Rng, model: Model) -> None:
    """Changes the values, shape or type of a constant, with or without its bytes."""
    tensor = pick(rng, model.graph.initializer)
    tensor.CopyFrom(_changed(rng, tensor))


def _changed(rng: Rng, tensor: TensorProto) -> TensorProto:
    choice = rng.random()
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (KeyError, TypeError, ValueError, onnx.checker.ValidationError) as error:
        raise NothingToChangeError from error  # changed before
    if choice < 0.2:
        lie = TensorProto()
        lie.CopyFrom(tensor)
        lie.dims[:] = [max(-3, min(int(n), 2**40)) for n in near(rng, list(tensor.dims))]
        return lie
    if choice < 0.3:
        lie = TensorProto()
        lie.CopyFrom(tensor)
        lie.data_type = int(rng.integers(0, 24))
        return lie
    if choice < 0.35:
        lie = TensorProto()
        lie.CopyFrom(tensor)
        lie.data_location = TensorProto.EXTERNAL
        lie.external_data.add(key="location", value="/etc/passwd")
        return lie
    if choice < 0.6:
        shape = [max(0, min(int(n), 300)) for n in near(rng, list(array.shape))]
        shape = shape[:-1] if rng.random() < 0.2 else shape
        if np.prod(shape, dtype=object) > 100_000:
            raise NothingToChangeError
        return numpy_helper.from_array(np.resize(array, shape), tensor.name)
    if array.size == 0:
        raise NothingToChangeError
    choices = REALS if array.dtype.kind == "f" else (*INTEGERS, -(2**31), 2**31 - 1)
    with np.errstate(all="ignore"):
        value = np.asarray(pick(rng, choices)).astype(array.dtype, casting="unsafe")
    array.flat[int(rng.integers(array.size))] = value
    return numpy_helper.from_array(array, tensor.name)


def versions(rng: Rng, model: Model) -> None:
    pick(rng, model.opset_import).version = int(rng.integers(-1, 30))


def facts(rng: Rng, model: Model) -> None:
    entry = model.metadata_props.add()
    entry.key = pick(rng, ["name", "labels", "output_names", "versions", "licence", "tag"])
    entry.value = pick(rng, ["", "{}", '["a"]', "[[[[", "\u001b[31m", '{"a": 1}', "null"])
    model.producer_name = pick(rng, ["bnnzoo", model.producer_name])


STRUCTURED = [
    *[attribute] * 3, new_attribute, less_attribute, *[kind] * 2, *[operands] * 2, order,
    *[ends] * 2, *[constant] * 3, versions, facts,
]  # fmt: skip


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng = np.random.default_rng([run, case])
    data = seeds()[int(rng.integers(len(seeds())))]
    if case % 3 == 0:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(data))), edit.__name__
    model = onnx.load_from_string(data)
    edits = [pick(rng, STRUCTURED) for _ in range(int(rng.choice([1, 1, 2])))]
    for structured in edits:
        try:
            structured(rng, model)
        except NothingToChangeError:
            continue
    return model.SerializeToString(), "+".join(structured.__name__ for structured in edits)
