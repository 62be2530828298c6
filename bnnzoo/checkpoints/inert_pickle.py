"""Reads a pickle without calling any function that it names.

`pickletools` decodes the opcodes, and a small stack machine executes them on plain values. Memory
and time are proportional to the size of the pickle: no opcode copies what others have built, and
nothing traverses nested values.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

from bnnzoo.checkpoints.allowed_names import Function, Other, look_up, set_item
from bnnzoo.checkpoints.tensors import described
from bnnzoo.errors import WeightsError, first_line

__all__ = ["read_pickle"]

_MAX_INTEGER_BITS = 128
_MAX_MEMO_INDEX = 2**32
_DAMAGED = "The file is damaged; download it again."


def read_pickle(file: BytesIO, persistent: Callable[[Any], Any]) -> Any:
    """Reads one pickle, and leaves `file` positioned at its end.

    Args:
        file: Positioned at the beginning of a pickle.
        persistent: Returns the value of a persistent id.

    Returns:
        Numbers, strings, bytes, lists, tuples and dictionaries of these, `StoredTensor`, `Other`,
        and what `persistent` returns. Sets become lists.

    Raises:
        WeightsError: The pickle is damaged, or uses a name that tensors do not need.
    """
    machine = _Machine(persistent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools warns about escapes in strings
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.step(opcode.name, argument)
    except (IndexError, KeyError) as error:
        raise WeightsError(f"its pickle uses a value before creating it. {_DAMAGED}") from error
    except ValueError as error:  # raised by pickletools
        raise WeightsError(f"its pickle is broken: {first_line(error)}. {_DAMAGED}") from error
    raise WeightsError(f"its pickle has no STOP opcode. {_DAMAGED}")


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack below each mark
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Executes an opcode."""
        if name in _VALUES:
            self._push(argument)
        elif name in _NEW:
            self.stack.append(_NEW[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise WeightsError(
                f"its pickle uses the opcode {name}, which tensors do not need. Do not trust this "
                "file."
            )

    def _push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
            raise WeightsError(
                f"an integer must have at most {_MAX_INTEGER_BITS} bits, got one of "
                f"{value.bit_length()}. {_DAMAGED}"
            )
        self.stack.append(value)

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        """Pops and returns the values since the last mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def _pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _drop_since_mark(self, _: Any) -> None:
        self._since_mark()

    def _put(self, index: Any) -> None:
        index = len(self.memo) if index is None else index
        if index >= _MAX_MEMO_INDEX:  # the hashes of larger numbers can be made to collide
            raise WeightsError(f"an index of the memo must be below 2^32, got more. {_DAMAGED}")
        self.memo[index] = self.stack[-1]

    def _get(self, index: Any) -> None:
        self.stack.append(self.memo[index])

    def _tuple(self, length: int) -> None:
        values = [self.stack.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(values)))

    def _tuple_since_mark(self, _: Any) -> None:
        values = tuple(self._since_mark())
        self.stack.append(values)

    def _list_since_mark(self, _: Any) -> None:
        values = self._since_mark()
        self.stack.append(values)

    def _dictionary_since_mark(self, _: Any) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._set_items(values)

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise WeightsError(
                f"its pickle appends to {described(target)}, which is not a list. {_DAMAGED}"
            )
        target.extend(values)

    def _append(self, _: Any) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if len(values) % 2 or not isinstance(target, (dict, Other)):
            raise WeightsError(
                f"its pickle must set pairs of key and value in a dictionary, got "
                f"{described(target)}. {_DAMAGED}"
            )
        if isinstance(target, dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                set_item(target, key, value)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _setitems(self, _: Any) -> None:
        self._set_items(self._since_mark())

    def _global(self, name: str) -> None:
        self.stack.append(look_up(name.replace(" ", ".", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise WeightsError(f"a name must be a string, got {described(name)}. {_DAMAGED}")
        self._global(f"{module} {name}")

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Function):
            raise WeightsError(
                f"its pickle calls {described(function)}, which is not a function. {_DAMAGED}"
            )
        self.stack.append(function(arguments))

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self._call(function, arguments)

    def _new_with_keywords(self, _: Any) -> None:
        if self.stack.pop() != {}:
            raise WeightsError(f"a call must have no keyword arguments. {_DAMAGED}")
        self._reduce(None)

    def _instance(self, name: str) -> None:
        arguments = tuple(self._since_mark())
        self._global(name)
        self._call(self.stack.pop(), arguments)

    def _object(self, _: Any) -> None:
        function, *arguments = self._since_mark() or [None]
        self._call(function, tuple(arguments))

    def _build(self, _: Any) -> None:
        """Drops attributes, such as the `_metadata` of a state dict."""
        self.stack.pop()
        if not isinstance(self.stack[-1], (dict, Other)):
            raise WeightsError(
                f"its pickle sets attributes of {described(self.stack[-1])}. {_DAMAGED}"
            )

    def _persistent(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


# Opcodes that push their argument.
_VALUES = frozenset(
    (
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
        "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    )
)  # fmt: skip
# Opcodes that push a new value.
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._drop_since_mark,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "PUT": _Machine._put,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "TUPLE": _Machine._tuple_since_mark,
    "LIST": _Machine._list_since_mark,
    "FROZENSET": _Machine._list_since_mark,
    "DICT": _Machine._dictionary_since_mark,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._appends,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._reduce,
    "NEWOBJ_EX": _Machine._new_with_keywords,
    "INST": _Machine._instance,
    "OBJ": _Machine._object,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
}
