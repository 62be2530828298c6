"""The names that a pickle may use, and the functions that replace them.

A pickle calls functions by name. Each name in the table below is replaced by a function of this
module that builds plain values, so a pickle can never call the function that PyTorch would call.
All other names are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bnnzoo.checkpoints.tensors import (
    BYTES,
    DTYPES,
    STORAGES,
    Dtype,
    StoredTensor,
    described,
    stored_tensor,
)
from bnnzoo.errors import WeightsError

__all__ = ["Function", "NameRefusedError", "Other", "look_up", "set_item"]

_MAX_ARGUMENTS = 16
# Larger integers can be chosen so that their hashes collide, which makes a dictionary quadratic.
_MAX_KEY = 2**64


class NameRefusedError(WeightsError):
    """A pickle uses a name that is not in the table."""


class Other:
    """An object that is not a tensor. Only its kind is kept."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Function:
    """A function that a pickle may call."""

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name = name
        self.build = build

    def __call__(self, arguments: Any) -> Any:
        """Builds a value from a tuple of arguments."""
        if not isinstance(arguments, tuple) or len(arguments) > _MAX_ARGUMENTS:
            raise WeightsError(
                f"{self.name} must be called with a tuple of at most {_MAX_ARGUMENTS} arguments, "
                f"got {described(arguments)}."
            )
        try:
            return self.build(*arguments)
        except TypeError as error:
            raise WeightsError(
                f"{self.name} cannot be called with the {len(arguments)} given arguments."
            ) from error


def look_up(name: str) -> Any:
    """Returns the replacement for a name, `module.name`.

    Raises:
        NameRefusedError: The name is not in the table.
    """
    if name not in _NAMES:
        raise NameRefusedError(
            f"it uses the name `{name[:120]}`, which dense tensors of real numbers do not need. "
            "Nothing was executed."
        )
    return _NAMES[name]


def set_item(target: dict[Any, Any], key: Any, value: Any) -> None:
    """Sets an item of a dictionary. Refuses tuples as keys: hashing nested ones takes forever."""
    is_integer = isinstance(key, int) and abs(key) < _MAX_KEY
    if not is_integer and not isinstance(key, (str, type(None))):
        raise WeightsError(f"a key must be a string or an integer, got {described(key)}.")
    target[key] = value


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    return stored_tensor(storage, offset, shape, strides)


def _typed_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _grad: Any,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> StoredTensor:
    if not isinstance(dtype, Dtype):
        raise WeightsError(f"the type of a tensor must be a torch.dtype, got {described(dtype)}.")
    return stored_tensor(storage, offset, shape, strides, dtype)


def _first(value: Any, *_: Any) -> Any:
    """Returns the tensor of a parameter, or the tuple of a `torch.Size`."""
    return value


def _attributed(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """Returns a tensor without the attributes that Python code added to it."""
    if not isinstance(function, Function) or function.build is _attributed:
        raise WeightsError(f"a tensor must be built by a function, got {described(function)}.")
    return function(arguments)


def _dictionary(items: Any = (), *_: Any) -> dict[Any, Any]:
    """Returns a dictionary. Python 2 pickled the items of an `OrderedDict` as a list of lists."""
    result: dict[Any, Any] = {}
    if isinstance(items, list):
        moved, items[:] = tuple(items), ()  # so that a list is not copied again at every use
        for item in moved:
            if not isinstance(item, list) or len(item) != 2:
                raise WeightsError(f"an item must be a list of two values, got {described(item)}.")
            set_item(result, *item)
    return result


def _other(name: str) -> Callable[..., Any]:
    return lambda *_: Other(name)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _attributed,
    "torch.nn.parameter.Parameter": _first,
    "torch.Size": _first,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.dict": _dictionary,
    "__builtin__.dict": _dictionary,
    # Other values that training loops store with the weights.
    **{
        name: _other(name)
        for name in (
            "_codecs.encode",
            "argparse.Namespace",
            "builtins.list",
            "__builtin__.list",
            "builtins.set",
            "__builtin__.set",
            "collections.Counter",
            "numpy._core.multiarray.scalar",
            "numpy.core.multiarray.scalar",
            "numpy.dtype",
            "torch.device",
        )
    },
}
_NAMES: dict[str, Any] = {
    **{name: Function(name, build) for name, build in _FUNCTIONS.items()},
    **{f"torch.{name}": DTYPES[dtype] for name, dtype in STORAGES.items()},
    **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
    "torch.storage.UntypedStorage": BYTES,
    "torch.Tensor": Other("torch.Tensor"),
}
