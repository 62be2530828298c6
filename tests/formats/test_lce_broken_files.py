"""Files with one error are refused with a ModelFormatError that names it."""

from __future__ import annotations

import collections
import dataclasses
import struct
import time
import tracemalloc
import warnings

import numpy as np
import pytest

from bnnzoo.errors import MissingDependencyError, ModelFormatError
from bnnzoo.formats import lce
from bnnzoo.formats.lce.model_file import OperatorEntry, TensorEntry
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.lce.schema import schema
from bnnzoo.formats.lce.serializing import serialize
from tests.conftest import DATA
from tests.formats.lce_files import ABSENT, WORDS, FileBuilder
from tests.formats.lce_mutations import mutated
from tests.formats.test_fuzz import RUNTIME, fuzz_packed

try:
    schema()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

__all__ = ["fuzz_packed"]  # a fixture
TOY = DATA / "lce" / "toy.tflite"
MAP = (1, 4, 3, 2)


def toy() -> bytearray:
    return bytearray(TOY.read_bytes())


def with_word(place: int, value: int) -> bytes:
    data = toy()
    struct.pack_into("<I", data, place, value)
    return bytes(data)


def vector_of(name: str) -> int:
    """Returns the position of the length of a vector, from the generated accessors."""
    model = schema().Model.GetRootAs(TOY.read_bytes(), 0)
    table = {"buffers": 12, "subgraphs": 8, "operator codes": 6}[name]
    return int(model._tab.Vector(model._tab.Offset(table))) - 4


CONTAINER = {
    "empty": (lambda: b"", "must have 'TFL3'"),
    "another format": (lambda: b"PK" + bytes(100), "It is not a TensorFlow Lite file"),
    "cut": (lambda: bytes(toy()[: len(toy()) // 2]), "points outside the file|bytes"),
    "cut behind the identifier": (lambda: bytes(toy()[:8]), "points outside the file"),
    "root beyond the end": (lambda: with_word(0, 2**31), "points outside the file"),
    "two networks": (lambda: with_word(vector_of("subgraphs"), 2), "must have one network, got 2"),
    "4 billion codes": (lambda: with_word(vector_of("operator codes"), 2**32 - 1),
                        "at most 1024 operator codes, got 4294967295"),
    "no buffers": (lambda: with_word(vector_of("buffers"), 0), "there is no buffer 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINER)
def test_a_broken_container(name):
    make, message = CONTAINER[name]
    with pytest.raises(ModelFormatError, match=message) as error:
        lce.from_bytes(make())
    assert "\n" not in str(error.value)


def relu(b, *, shape=MAP, dtype="FLOAT32", inputs=(0,)):
    return b.add("RELU", inputs, shape, dtype)


def one(**changes):
    """A file of one operator, with other plain data around it."""

    def build():
        b = FileBuilder(MAP)
        return b.bytes(relu(b), **changes)

    return build


def with_input(shape=MAP, dtype="FLOAT32"):
    def build():
        b = FileBuilder(MAP)
        b.tensors[0] = TensorEntry("images", dtype, shape)
        return b.bytes(relu(b))

    return build


def of(kind, *inputs, shape=MAP, dtype="FLOAT32", **options):
    """A file of one operator with constants."""

    def build():
        b = FileBuilder(MAP)
        places = [i if isinstance(i, int) else b.constant(i) for i in inputs]
        return b.bytes(b.add(kind, places, shape, dtype, **options))

    return build


CONV = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
KERNEL = np.ones((2, 1, 1, 2), np.float32)
BCONV = {"channels_in": 2, "dilation_height_factor": 1, "dilation_width_factor": 1,
         "fused_activation_function": 0, "pad_values": 0, "padding": 0, "stride_height": 1,
         "stride_width": 1}  # fmt: skip
WEIGHTS = np.ones((2, 3, 3, 1), np.int32)


def bconv(*more, dtype="FLOAT32", kernel=WEIGHTS, shape=MAP, **changes):
    def build():
        b = FileBuilder(MAP)
        bits = b.add("LceQuantize", [0], (1, 4, 3, 1), WORDS)
        inputs = [bits, b.constant(kernel)]
        inputs += [i if isinstance(i, int) else b.constant(i) for i in more]
        return b.bytes(b.add("LceBconv2d", inputs, shape, dtype, **{**BCONV, **changes}))

    return build


TWO = np.ones(2, np.float32)
COUNTS = np.ones(2, np.int32)
THRESHOLD = (ABSENT, ABSENT, COUNTS)
NAN = np.float32([1, np.nan])


def of_unknown_kind():
    b = FileBuilder(MAP)
    b.add("RELU", [0], MAP)
    data = b.bytes(1)
    model = schema().ModelT.InitFromObj(schema().Model.GetRootAs(data, 0))
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 44  # RNN's
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


NETWORKS = {
    "int8": (with_input(dtype="INT8"), "its inputs must be float32, quantized numbers or words"),
    "a batch of 32 becomes one": (with_input((32, 4, 3, 2)), "quantized \\(32, 4, 3, 2\\)"),
    "an empty map": (with_input((1, 0, 3, 2)), "empty axes, got shape \\(1, 0, 3, 2\\)"),
    "an empty batch": (with_input((0, 4, 3, 2)), "empty axes, got shape \\(0, 4, 3, 2\\)"),
    "no input": (one(inputs=()), "must have 1 to 64 inputs, got 0"),
    "one input twice": (one(inputs=(0, 0)), "its inputs must be distinct, got tensor 0 twice"),
    "no output": (one(outputs=()), "must have 1 to 64 outputs, got 0"),
    "the output is not computed": (one(outputs=(7,)), "output 7 must be float32"),
    "another operator": (of_unknown_kind, "unsupported operators: 'UNIDIRECTIONAL_SEQUENCE_LSTM'"),
    "the result has another shape": (of("RELU", 0, shape=(1, 4, 3, 3)),
                                     "must be FLOAT32 or quantized \\(1, 4,"),
    "the result has another type": (of("RELU", 0, dtype=WORDS), "its result must be FLOAT32 or"),
    "too many inputs": (of("RELU", 0, 0), "must have 1 to 1 inputs, got 2"),
    "an input that is not there": (of("RELU", 9), "input 0 must be computed before it"),
    "stride 0": (of("CONV_2D", 0, KERNEL, **{**CONV, "strideH": 0}), "strideH must be 1 to"),
    "negative dilation": (of("CONV_2D", 0, KERNEL, **{**CONV, "dilationWFactor": -1}),
                          "dilationWFactor must be 1"),
    "padding 3": (of("CONV_2D", 0, KERNEL, **{**CONV, "padding": 3}), "padding must be 0 to 1"),
    "a kernel of three axes": (of("CONV_2D", 0, KERNEL[0], **CONV), "a kernel with 4 axes"),
    "a kernel that is NaN": (of("CONV_2D", 0, KERNEL * NAN, **CONV), "input 1 must be finite"),
    "a kernel of other channels": (of("CONV_2D", 0, np.ones((2, 1, 1, 5), np.float32), **CONV),
                                   "must fit 2 input channels"),
    "a bias of three": (of("CONV_2D", 0, KERNEL, np.ones(3, np.float32), **CONV),
                        "input 2 must have 2 numbers"),
    "TanH as activation": (of("ADD", 0, 0, fusedActivationFunction=4), "must be none, ReLU"),
    "a constant of more pixels": (of("ADD", 0, np.ones((5, 3, 2), np.float32)),
                             "one number per channel"),
    "constants alone": (of("TANH", np.float32([1])), "inputs must depend on the network's input"),
    "a text for a number": (of("LceBMaxPool2d", 0, filter_height=1, filter_width=1, padding=0,
                               stride_height=1, stride_width="one"),
                            "must have a number as 'stride_width'"),
    "a softmax of another beta": (of("SOFTMAX", 0, beta=2.0), "beta must be 1, got 2.0"),
    "a mean of channels": (of("MEAN", 0, np.int32([3]), shape=(1, 4, 3)),
                           "must be height and width"),
    "an axis beyond": (of("CONCATENATION", 0, axis=9), "axis must be -4 to 3, got 9"),
    "joined along the batch": (of("CONCATENATION", 0, 0, axis=0, shape=(2, 4, 3, 2)),
                               "axis must not be the batch"),
    "a slice beyond": (of("SLICE", 0, np.int32([0, 3, 0, 0]), np.int32([1, 2, 3, 2]),
                          shape=(1, 2, 3, 2)), "must be inside"),
    "a padded batch": (of("PAD", 0, np.int32([[1, 0]] + [[0, 0]] * 3), shape=(2, 4, 3, 2)),
                       "pad height, width and channels only"),
    "thousands of channels": (of("PAD", 0, np.int32([[0, 0]] * 3 + [[0, 4096]]),
                                 shape=(1, 4, 3, 4098)), "add at most 2042 channels, got"),
    "a step of 2": (of("STRIDED_SLICE", 0, np.int32([0] * 4), np.int32([1, 4, 3, 2]),
                       np.int32([1, 2, 1, 1]), shape=(1, 2, 3, 2)), "steps must be 1"),
    "an axis dropped": (of("STRIDED_SLICE", 0, np.int32([0] * 4), np.int32([1, 4, 3, 2]),
                           np.int32([1] * 4), shrinkAxisMask=2, shape=(1, 3, 2)),
                        "shrinkAxisMask must be 0 to 0, got 2"),
    "an uneven split": (of("SPLIT", np.int32(2), 0, numSplits=2, shape=(1, 4, 1, 2)),
                        "must divide 3 into 2 results"),
    "the batch transposed": (of("TRANSPOSE", 0, np.int32([1, 0, 2, 3]), shape=(4, 1, 3, 2)),
                             "must keep the batch"),
    "reshaped to more": (of("RESHAPE", 0, np.int32([1, 25]), shape=(1, 25)), "elements"),
    "resized to nothing": (of("RESIZE_BILINEAR", 0, np.int32([0, 3]), halfPixelCenters=True,
                              shape=(1, 0, 3, 2)), "must have at least 1 pixel, got"),
    "resized from corners": (of("RESIZE_BILINEAR", 0, np.int32([8, 6]), shape=(1, 8, 6, 2)),
                             "must have half-pixel centres"),
    "resized without centres": (of("RESIZE_NEAREST_NEIGHBOR", 0, np.int32([6, 6]),
                                   shape=(1, 6, 6, 2)), "the nearest pixels for 4 to 6"),
    "bits returned": (of("LceQuantize", 0, shape=(1, 4, 3, 1), dtype=WORDS),
                      "output 1 must be float32"),
    "words of other channels": (bconv(TWO, TWO, ABSENT, channels_in=33), "channels_in must be 2"),
    "unused bits": (bconv(TWO, TWO, ABSENT, kernel=WEIGHTS * 4),
                    "unused bits of the kernel must be 0"),
    "no multiplier": (bconv(ABSENT, TWO, ABSENT), "input 2 must be a constant"),
    "no thresholds": (bconv(TWO, TWO, ABSENT, dtype=WORDS, shape=(1, 4, 3, 1), pad_values=1),
                      "input 4 must be a constant"),
    "bits in a border of zeros": (bconv(*THRESHOLD, dtype=WORDS, shape=(1, 4, 3, 1)),
                                  "must not have zero padding"),
    "bits of an activation": (bconv(*THRESHOLD, dtype=WORDS, shape=(1, 4, 3, 1), pad_values=1,
                                    fused_activation_function=4), "must be 0 to 3, got 4"),
    "a border of 2": (bconv(TWO, TWO, ABSENT, pad_values=2), "pad_values must be 0 to 1"),
    "real numbers as bits": (of("LceBconv2d", 0, WEIGHTS, TWO, TWO, ABSENT, **BCONV),
                             "input 0 must be bits"),
    "facts that are no JSON": (one(metadata={"bnnzoo_info": b"{"}), "bnnzoo_info"),
    "facts that are no text": (one(metadata={"bnnzoo_info": b"\xff"}), "is not UTF-8"),
    "labels for others": (one(metadata={"bnnzoo_info": b'{"name": "a", "labels": ["b"]}'}),
                          "must have 2 labels, got 1"),
}  # fmt: skip


def test_a_constant_must_have_the_bytes_of_its_shape():
    file = parse(TOY.read_bytes())
    index = next(i for i, entry in enumerate(file.tensors) if entry.values is not None)
    entry = dataclasses.replace(file.tensors[index], shape=(2**31 - 1,) * 4)
    tensors = (*file.tensors[:index], entry, *file.tensors[index + 1 :])
    with pytest.raises(ModelFormatError, match=f"must have {4 * (2**31 - 1) ** 4} bytes"):
        lce.from_bytes(serialize(dataclasses.replace(file, tensors=tensors)))


@pytest.mark.parametrize("name", NETWORKS)
def test_invalid_networks_are_refused(name):
    make, message = NETWORKS[name]
    with pytest.raises(ModelFormatError, match=message) as error:
        lce.from_bytes(make())
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_unpacking_a_constant_repeatedly_is_refused():
    """A small file must not become a large network: each computed constant is counted."""
    b = FileBuilder(MAP)
    kernel = b.constant(np.linspace(-1, 1, 4096, dtype=np.float32))
    for _ in range(100):
        b.add("ABS", [kernel], (4096,))
    with pytest.raises(ModelFormatError, match="must not become far larger than the file"):
        lce.from_bytes(b.bytes(relu(b)))


def test_many_references_to_one_entry_are_refused_quickly():
    """Vectors of offsets may refer to the same table a million times."""
    data = toy()
    model = schema().Model.GetRootAs(bytes(data), 0)
    graph = model.Subgraphs(0)
    place = int(graph._tab.Vector(graph._tab.Offset(4))) - 4
    data += bytes(2**20)
    struct.pack_into("<I", data, place, 2**16 + 1)
    begin = time.monotonic()
    with pytest.raises(ModelFormatError, match="at most 65536 tensors, got 65537"):
        lce.from_bytes(bytes(data))
    assert time.monotonic() - begin < 5


def test_a_small_file_takes_little_memory():
    data = TOY.read_bytes()
    lce.from_bytes(data)
    tracemalloc.start()
    try:
        for case in range(1, 200, 2):
            with_edit, _ = mutated(5, case)
            try:
                lce.from_bytes(with_edit)
            except ModelFormatError:
                continue
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * len(data)


def test_inconsistent_plain_data_is_refused():
    file = parse(TOY.read_bytes())
    wrong = dataclasses.replace(file.operators[0], inputs=(len(file.tensors) + 3,))
    data = serialize(dataclasses.replace(file, operators=(wrong, *file.operators[1:])))
    with pytest.raises(ModelFormatError, match="operator 0 \\('CONV_2D'\\)"):
        lce.from_bytes(data)
    assert isinstance(file.operators[0], OperatorEntry)


def test_mutated_files_are_refused_or_run(fuzz_packed):
    """A short run of `scripts/fuzz_packed.py --format lce`."""
    stages = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(300):
            outcome = fuzz_packed.examine(1, case, runtime=RUNTIME, format="lce")
            assert outcome.problem is None, outcome
            stages[outcome.stage] += 1
    assert stages["container"] > 60
    assert stages["validation"] > 80
    assert sum(stages[stage] for stage in ("engine", "predict", "result", "reference")) > 30
