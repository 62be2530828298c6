"""Tensors are views that must be within their storage and not larger than it."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.checkpoints.tensors import BYTES, DTYPES, Storage, stored_tensor
from bnnzoo.errors import WeightsError

NUMBERS = np.arange(24, dtype="<f4")
STORAGE = Storage(DTYPES["float32"], 24, lambda: memoryview(NUMBERS.tobytes()))
UNTYPED = Storage(BYTES, 96, lambda: memoryview(NUMBERS.tobytes()))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((), (), 23),
        ((24,), (1,), 0),
        ((2, 3, 4), (12, 4, 1), 0),
        ((4, 3, 2), (1, 4, 12), 0),
        ((2, 2), (2, 8), 13),
        ((1, 1), (10**9, 0), 5),
        ((3, 3), (1, 2), 0),
    ],
)
def test_a_view_follows_its_strides(shape, strides, offset):
    array = stored_tensor(STORAGE, offset, shape, strides).array()
    assert array.shape == shape and array.dtype == np.float32
    for index in np.ndindex(shape):
        assert array[index] == offset + sum(i * s for i, s in zip(index, strides, strict=True))


def test_an_array_is_a_copy():
    array = stored_tensor(STORAGE, 0, (24,), (1,)).array()
    array[:] = 7
    assert array.flags.owndata and not (NUMBERS == 7).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2**40)])
def test_empty_tensors_become_empty_arrays(shape):
    tensor = stored_tensor(STORAGE, 24, shape, (1,) * len(shape))
    assert tensor.array().shape == shape and tensor.bytes == 0


def test_an_untyped_storage_is_read_with_the_type_of_the_tensor():
    tensor = stored_tensor(UNTYPED, 2, (3,), (4,), DTYPES["float32"])
    np.testing.assert_array_equal(tensor.array(), [2, 6, 10])
    with pytest.raises(WeightsError, match="ends at element 25, but its storage has 24 elements"):
        stored_tensor(UNTYPED, 0, (25,), (1,), DTYPES["float32"])


def test_bfloat16_is_the_upper_half_of_float32():
    bits = np.array([0x3F80, 0xBF80, 0x0000, 0x8000, 0x7F80, 0x4049], "<u2")
    storage = Storage(DTYPES["bfloat16"], 6, lambda: memoryview(bits.tobytes()))
    array = stored_tensor(storage, 0, (6,), (1,)).array()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [1, -1, 0, -0.0, np.inf, 3.140625])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", 0, (1,), (1,)), "a tensor must have a storage, got 'x'"),
        ((STORAGE, 0, (25,), (1,)), "ends at element 25, but its storage has 24 elements"),
        ((STORAGE, 1, (24,), (1,)), "ends at element 25, but its storage has 24 elements"),
        ((STORAGE, 24, (), ()), "ends at element 25, but its storage has 24 elements"),
        ((STORAGE, 0, (2, 2), (23, 1)), "ends at element 25, but its storage has 24 elements"),
        ((STORAGE, 0, (2**40, 2**40), (2**40, 1)), "ends at element"),
        ((STORAGE, 0, (25,), (0,)), "must not repeat the 24 elements"),
        ((STORAGE, 0, (5, 5), (1, 1)), "must not repeat the 24 elements"),
        ((STORAGE, 0, (2, 2), (1,)), "must have 2 strides"),
        ((STORAGE, -1, (1,), (1,)), "the offset of a tensor must be at most 8 non-negative"),
        ((STORAGE, 0, (-1,), (1,)), "the shape of a tensor must be"),
        ((STORAGE, 0, (1,), (-1,)), "the strides of a tensor must be"),
        ((STORAGE, 0, (True,), (1,)), "the shape of a tensor must be"),
        ((STORAGE, 0, (1.0,), (1,)), "the shape of a tensor must be"),
        ((STORAGE, 0, (1,) * 9, (1,) * 9), "the shape of a tensor must be at most 8 non-negative"),
        ((STORAGE, 0, (0, 2**41), (1, 1)), "the shape of a tensor must be"),
        (
            (STORAGE, 0, "11", (1, 1)),
            "the shape of a tensor must be at most 8 non-negative integers, got '11'",
        ),
        (
            (STORAGE, 0, None, None),
            "the shape of a tensor must be at most 8 non-negative integers, got None",
        ),
    ],
)
def test_invalid_tensors_are_refused(arguments, message):
    with pytest.raises(WeightsError, match=message):
        stored_tensor(*arguments)
