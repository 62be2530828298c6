"""Pickles that run code or take memory when Python opens them: here they do neither."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import io
import pickle
import struct
import time
import tracemalloc

import pytest

from bnnzoo.checkpoints import allowed_names
from bnnzoo.checkpoints.allowed_names import Function, Other, look_up
from bnnzoo.checkpoints.inert_pickle import read_pickle
from bnnzoo.checkpoints.tensors import DTYPES, Storage
from bnnzoo.errors import WeightsError
from tests.checkpoints.files import call, counts, dictionary, integer, named, sequence, text, whole

HERE = __name__
RAN: list[tuple] = []
STORAGE = Storage(DTYPES["float32"], 6, lambda: memoryview(bytes(24)))


def run(*arguments):
    RAN.append(arguments)
    return {}


class Trap:
    """Runs code however an instance of it is made."""

    def __new__(cls, *arguments, **keywords):
        run("new")
        return super().__new__(cls)

    def __setstate__(self, state):
        run("setstate")

    def __setitem__(self, key, value):
        run("setitem")

    def append(self, value):
        run("append")


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()
    copyreg.add_extension(HERE, "run", 240)
    yield
    copyreg.remove_extension(HERE, "run", 240)


def read(content: bytes, protocol: int = 2):
    return read_pickle(io.BytesIO(whole(content, protocol)), lambda id: STORAGE)


def refused(content: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


# Code ---------------------------------------------------------------------------------------------

TRAP = named(f"{HERE}.Trap")
RUN = named(f"{HERE}.run")
TWO_STRINGS = text(HERE) + text("run") + b"\x93"  # STACK_GLOBAL
CODE = {
    "reduce": RUN + b"(tR",
    "stack_global": TWO_STRINGS + b"(tR",
    "inst": f"(i{HERE}\nrun\n".encode(),
    "obj": b"(" + RUN + b"K\1o",
    "newobj": TRAP + b")\x81",
    "newobj_ex": TRAP + b")}\x92",
    "build_setstate": TRAP + b")\x81}b",
    "setitem": TRAP + b")\x81K\1K\1s",
    "append": TRAP + b")\x81K\1a",
    "extension_1": b"\x82\xf0(tR",
    "extension_2": b"\x83\xf0\0(tR",
    "extension_4": b"\x84\xf0\0\0\0(tR",
    "memo": RUN + b"q\0" + b"0" + b"h\0(tR",
    "duplicated": RUN + b"2(tR0",
    "inside_of_a_dictionary": b"}" + text("a") + RUN + b"(tRs",
    "as_an_argument": b"(" + RUN + b"(tRl",
    "dropped": RUN + b"(tR0N",
    "after_a_mark": b"(" + RUN + b"(tR1N",
    "getattr": call("builtins.getattr", TRAP, text("append")) + sequence(b"N", b"N") + b"R",
    "dotted": text(HERE) + text("Trap.__new__") + b"\x93" + sequence(TRAP) + b"R",
    "of_collections": text("collections") + text("abc.sys.modules.keys") + b"\x93)R",
    "import": call("builtins.__import__", text("antigravity_of_nobody")),
}


@pytest.mark.parametrize("name", CODE)
def test_nothing_is_run(name):
    try:
        pickle.loads(whole(CODE[name], 4))
    except (ImportError, AttributeError, TypeError, KeyError):
        assert name in ("import", "of_collections")
    else:
        assert RAN, "this pickle does nothing"
    RAN.clear()
    refused(
        CODE[name], r"the name `.*`, which dense tensors of real|the opcode EXT\d, which tensors"
    )
    assert not RAN


KNOWN = {
    "system": named("os.system"),
    "posix": named("posix.system"),
    "eval": named("builtins.eval"),
    "python_2": named("__builtin__.apply"),
    "nested_pickle": named("torch.storage._load_from_bytes"),
    "import_of_torch": named("torch.hub.load"),
    "sparse": named("torch._utils._rebuild_sparse_tensor"),
    "of_numpy": named("numpy.core.multiarray._reconstruct"),
    "of_a_known_module": named("collections.namedtuple"),
    "blank": b"ccollections OrderedDict\n\n",
    "blank_in_name": b"ctorch\nSize system\n",
    "line": text("os") + text("sys\ntem\x1b[31m") + b"\x93",
    "long": named("os." + "x" * 10**5),
    "empty": b"c\n\n",
    "module": named("torch.nn.modules.linear.Linear"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_other_names_are_refused(name):
    refused(KNOWN[name], "^it uses the name `.*`, which dense tensors of real .* need. Nothing")


@pytest.mark.parametrize("name", sorted(allowed_names._NAMES))
def test_names_are_replaced_by_our_own_functions(name):
    found = look_up(name)
    assert type(found).__module__.startswith("bnnzoo.checkpoints")
    if isinstance(found, Function):
        assert found.build.__module__ == "bnnzoo.checkpoints.allowed_names"


def test_the_function_that_builds_a_tensor_must_be_our_own():
    attributed = named("torch._tensor._rebuild_from_type_v2")
    tensor = counts(1), counts(1)
    arguments = sequence(b"NQ", integer(0), *tensor)
    known = named("torch._utils._rebuild_tensor_v2")
    made = read(attributed + sequence(known, named("torch.Tensor"), arguments, b"}") + b"R")
    assert made.shape == (1,)
    for function in (RUN[:0] + b"N", text("os.system"), named("torch.float32"), attributed):
        refused(
            attributed + sequence(function, b"N", sequence(*[b"N"] * 4), b"N") + b"R",
            "a tensor must be built by a function",
        )


WRONG = {
    "string_called": (text("os.system") + b"(tR", "calls 'os.system', which is not a function"),
    "type_called": (named("torch.float32") + b"(tR", "calls a Dtype, which is not a function"),
    "result_called": (call("torch.Size", b")") + b"(tR", "calls a tuple"),
    "list_of_arguments": (named("torch.Size") + b"]R", "with a tuple of at most 16 arguments"),
    "too_many_arguments": (call("torch.Size", *[b"N"] * 17), "at most 16 arguments, got a tuple"),
    "too_few_arguments": (call("torch._utils._rebuild_tensor"), "cannot be called with the 0 giv"),
    "keywords": (named("torch.Size") + b")}U\1xK\1s\x92", "must have no keyword arguments"),
    "attributes_of_a_list": (b"]}b", "sets attributes of a list"),
    "attributes_of_a_function": (named("torch.Size") + b"}b", "sets attributes of a Function"),
    "item_of_a_list": (b"]K\0K\1s", "must set pairs of key and value in a dictionary, got a list"),
    "half_an_item": (b"}(K\0u", "must set pairs of key and value in a dictionary"),
    "append_to_a_tuple": (b")K\1a", "appends to a tuple, which is not a list"),
    "name_of_numbers": (b"K\1K\2\x93", "a name must be a string, got 2"),
    "text_id": (b"P1\n", "uses the opcode PERSID"),
    "buffer": (b"\x97", "uses the opcode NEXT_BUFFER"),
    "bytearray": (b"\x96" + bytes(8), "uses the opcode BYTEARRAY8"),
    "empty_stack": (b"", "uses a value before creating it"),
    "below_a_mark": (b"K\1(R", "uses a value before creating it"),
    "no_mark": (b"t", "uses a value before creating it"),
    "no_memo": (b"h\1", "uses a value before creating it"),
    "unknown_opcode": (b"\xff", "its pickle is broken: at position 2, opcode b'"),
    "text": (b"X\4\0\0\0\xff\xff\xff\xff", "its pickle is broken: 'utf-8' codec"),
    "dtype": (
        call("torch._utils._rebuild_tensor_v3", b"NQ", b"K\0", counts(1), counts(1), *[b"N"] * 3),
        "the type of a tensor must be a torch.dtype, got None",
    ),
    "pairs": (call("collections.OrderedDict", b"(K\1l"), "must be a list of two values, got 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_pickles_are_refused(name):
    refused(*WRONG[name])


def test_plain_values_are_read_as_python_reads_them():
    value = {
        "ints": [0, 1, -1, 255, 256, 2**31, -(2**40)],
        "floats": (0.5, -1e300),
        "strings": ["", "ä", "x" * 300],
        "others": (None, True, False, b"\0\xff"),
        "nested": [{}, [], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {3: {"a": (None,)}}],
        "shared": [[1]] * 3,
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol < 3:
            value["others"] = (None, True, False)
        data = pickle.dumps(value, protocol)
        assert read_pickle(io.BytesIO(data), lambda id: None) == value
    ordered = collections.OrderedDict(b=1, a=2)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_pickle(io.BytesIO(pickle.dumps(ordered, protocol)), id) == {"b": 1, "a": 2}


def test_sets_become_lists():
    data = pickle.dumps([{3}, frozenset((4,))], 4)
    assert read_pickle(io.BytesIO(data), lambda id: None) == [[3], [4]]


def test_items_of_python_2_are_read():
    pairs = b"](]" + text("a") + b"aK\1a]" + text("b") + b"aK\2ae"
    assert read(call("collections.OrderedDict", pairs)) == {"a": 1, "b": 2}
    # Items are moved, not copied, because a long list that is passed many times would take forever.
    twice = sequence(*[call("collections.OrderedDict", b"h\0")] * 2)
    assert read(pairs + b"q\0" + b"0" + twice) == ({"a": 1, "b": 2}, {})


def test_the_file_is_left_at_the_end_of_the_pickle():
    file = io.BytesIO(whole(b"K\1") + whole(b"K\2") + b"rest")
    assert [read_pickle(file, id) for _ in range(2)] == [1, 2]
    assert file.read() == b"rest"


# Memory and time ----------------------------------------------------------------------------------


def growing(levels: int) -> bytes:
    """A tuple that contains another one twice, which contains another one twice, and so on."""
    return b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(levels))


BOMBS = {
    "laughs": growing(250),
    "laughs_as_an_argument": call("torch.Size", growing(250)),
    "laughs_as_a_state": b"}" + growing(250) + b"b",
    "long_tuple_many_times": b"(" + b"N" * 10**5 + b"tq\0" + (b"(h\0t0" * 10**4),
    "long_dictionary_many_times": dictionary({str(i): b"N" for i in range(10**4)})
    + b"q\0"
    + (named("torch.Size") + b"h\0\x85R0") * 10**4,
    "list_in_itself": b"]q\0" + b"h\0a" * 10**5,
    "dictionary_in_itself": b"}q\0" + (text("a") + b"h\0s") * 10**5,
    "deep_tuples": b")" + b"\x85" * 10**5,
    "deep_lists": b"]" * 10**5 + b"a" * (10**5 - 1),
    "deep_dictionaries": b"}" + b"}(K\0" * 10**5 + b"N" + b"u" * 10**5,
    "marks": b"(" * 10**5 + b"1" * 10**5 + b"N",
    "memo": b"".join(b"Nr" + struct.pack("<I", 2**32 - 1 - i) for i in range(10**5)),
    "equal_hashes": b"}(" + b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(8)) + b"u",
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_and_time_are_proportional_to_the_bytes(name):
    data = whole(BOMBS[name])
    tracemalloc.start()
    begin = time.process_time()
    with contextlib.suppress(WeightsError):
        read_pickle(io.BytesIO(data), lambda id: STORAGE)
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 30  # under tracemalloc; without it, at most 2
    assert peak < 2**20 + 300 * len(data)


REFUSED_BOMBS = {
    "laughs_as_a_key": (
        b"}" + growing(250) + b"Ns",
        "a key must be a string or an integer, got a tu",
    ),
    "equal_hashes": (
        b"}" + integer((2**61 - 1) * 2**9) + b"Ns",
        "a key must be a string or an integer",
    ),
    "long": (b"\x8b" + struct.pack("<i", 10**6) + b"\1" * 10**6, "must have at most 128 bits, got"),
    "digits": (b"L" + b"9" * 10**5 + b"L\n", "its pickle is broken: .*4300"),
    "declared": (b"\x8b" + struct.pack("<i", 2**31 - 1), "its pickle is broken: not enough data"),
    "negative": (b"\x8b" + struct.pack("<i", -1), "its pickle is broken"),
    "declared_text": (b"\x8d" + struct.pack("<Q", 2**62), "its pickle is broken"),
    "declared_bytes": (b"\x8e" + struct.pack("<Q", 2**63), "its pickle is broken"),
    "deep_calls": (
        named("torch._tensor._rebuild_from_type_v2") * 10**4 + b"))" + b"\x86" * 10**4 + b"R",
        "built by a function|cannot be called|not a function",
    ),
    "equal_hashes_in_the_memo": (
        b"".join(b"Np%d\n" % (i * (2**61 - 1)) for i in range(1, 10**5)),
        r"an index of the memo must be below 2\^32",
    ),
    "in_a_message": (growing(250) + b"(tR", "calls a tuple, which is not a function"),
}


@pytest.mark.parametrize("name", REFUSED_BOMBS)
def test_bombs_are_refused(name):
    begin = time.process_time()
    refused(*REFUSED_BOMBS[name])
    assert time.process_time() - begin < 5


def test_other_objects_keep_only_their_kind():
    namespace = call("argparse.Namespace") + b"}" + text("a") + growing(100) + b"sb"
    assert isinstance(read(namespace), Other)
    assert vars(read(namespace)) == {"kind": "argparse.Namespace"}
