"""The engine refuses whatever would leave its arena or its parameters, whoever asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bnnzoo.runtime.extension import engine

ARENA = 4096  # bytes; 1024 floats
BIG = 2**40


def view(offset=0, row=8, pixel=4, plane=0) -> Any:
    return engine().View(offset, row, pixel, plane)


def extent(rows=2, columns=2, channels=4) -> Any:
    return engine().Extent(rows, columns, channels)


def floats(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def epilogue() -> Any:
    return engine().Epilogue()


def with_step(name: str, *arguments: Any) -> Any:
    made = epilogue()
    getattr(made, name)(*arguments)
    return made


def bconv2d(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(row=16, pixel=8), "planes": 1, "c_in": 64, "offsets": np.zeros(3, np.int32),
        "words": np.zeros((4, 3), np.uint64), "scale": floats(4), "bias": floats(4),
        "row_class": None, "column_class": None, "output": extent(), "epilogue": epilogue(),
    }  # fmt: skip
    program.bconv2d(**{**arguments, **changed})


def conv2d(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(), "offsets": np.zeros(3, np.int64), "run_length": 2,
        "kernel": floats(4, 6), "output": extent(), "epilogue": epilogue(),
    }  # fmt: skip
    program.conv2d(**{**arguments, **changed})


def depthwise(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(), "offsets": np.zeros(3, np.int64), "kernel": floats(3, 4),
        "output": extent(), "epilogue": epilogue(),
    }  # fmt: skip
    program.depthwise_conv2d(**{**arguments, **changed})


def window(**changed: int) -> Any:
    sizes = {"height": 2, "width": 2, "pool_h": 2, "pool_w": 2, "stride_h": 1, "stride_w": 1}
    return engine().Window(**{**sizes, "top": 1, "left": 1, **changed})


def pool2d(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(), "window": window(), "maximum": True, "output": extent(),
        "epilogue": epilogue(),
    }  # fmt: skip
    program.pool2d(**{**arguments, **changed})


def pooled(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(), "offsets": np.zeros(3, np.int64), "run_length": 2,
        "kernel": floats(4, 6), "map": extent(), "inner": epilogue(), "window": window(),
        "maximum": True, "output": extent(), "epilogue": epilogue(),
    }  # fmt: skip
    program.pooled_conv2d(**{**arguments, **changed})


LEVELS_FLOATS = 16 + 8  # magnitudes, and (2, 2, 4) levels of two bytes


def levels_of(offset=0, size=LEVELS_FLOATS + 1) -> Any:
    return engine().Levels(offset, size)


def levels(program: Any, **changed: Any) -> None:
    arguments = {"input": view(), "extent": extent(), "levels": levels_of()}
    program.levels(
        **{**arguments, **dict.fromkeys(("top", "bottom", "left", "right"), 0), **changed}
    )


def int8_conv2d(program: Any, **changed: Any) -> None:
    arguments = {
        "levels": levels_of(size=100), "input": view(), "offsets": np.zeros(3, np.int64),
        "run_length": 2, "kernel": np.zeros((4, 6), np.int8), "scale": floats(4),
        "output": extent(), "epilogue": epilogue(),
    }  # fmt: skip
    program.int8_conv2d(**{**arguments, **changed})


def pooled_int8(program: Any, **changed: Any) -> None:
    arguments = {
        "levels": levels_of(size=100), "input": view(), "offsets": np.zeros(3, np.int64),
        "run_length": 2, "kernel": np.zeros((4, 6), np.int8), "scale": floats(4), "map": extent(),
        "inner": epilogue(), "window": window(), "maximum": True, "output": extent(),
        "epilogue": epilogue(),
    }  # fmt: skip
    program.pooled_int8_conv2d(**{**arguments, **changed})


def bmax_pool2d(program: Any, **changed: Any) -> None:
    bits = view(row=16, pixel=8)
    arguments = {
        "input": bits, "window": window(), "mask": np.zeros(1, np.uint64), "output": extent(),
        "result": bits,
    }  # fmt: skip
    program.bmax_pool2d(**{**arguments, **changed})


def elementwise(program: Any, **changed: Any) -> None:
    arguments = {"input": view(), "extent": extent(), "epilogue": epilogue()}
    program.elementwise(**{**arguments, **changed})


def dequantize(program: Any, **changed: Any) -> None:
    arguments = {
        "input": view(row=16, pixel=8), "planes": 1, "levels": False, "output": view(),
        "extent": extent(),
    }  # fmt: skip
    program.dequantize(**{**arguments, **changed})


def slice_bits(program: Any, **changed: Any) -> None:
    bits = view(row=16, pixel=8)
    arguments = {
        "input": bits, "from_extent": extent(), "first": 0, "output": bits, "to_extent": extent(),
        "planes": 1,
    }  # fmt: skip
    program.slice_bits(**{**arguments, **changed})


def resize2d(program: Any, **changed: Any) -> None:
    places, weights = np.zeros(2, np.int32), np.zeros(2, np.float32)
    arguments = {
        "input": view(), "from_extent": extent(), "output": view(), "to_extent": extent(),
        "rows": places, "next_rows": places, "row_weights": weights,
        "columns": places,
        "next_columns": places,
        "column_weights": weights,
    }  # fmt: skip
    program.resize2d(**{**arguments, **changed})


def unary(program: Any, shape=(2, 3), offsets=(0, 6), strides=((3, 1), (3, 1))) -> None:
    program.strided_unary("copy", list(shape), list(offsets), [list(s) for s in strides])


GOOD = (
    bconv2d, conv2d, depthwise, int8_conv2d, pool2d, pooled, pooled_int8, bmax_pool2d, elementwise,
    dequantize, slice_bits, resize2d, unary,
)  # fmt: skip

OUTSIDE = (view(offset=1020), view(row=1020), view(offset=-1), view(row=-8), view(offset=BIG),
           view(row=2**62), view(pixel=2**62))  # fmt: skip
BITS_OUTSIDE = tuple(
    view(**{"row": 16, "pixel": 8, **changed})
    for changed in ({"offset": 4090}, {"row": 4090}, {"offset": -8}, {"pixel": -8}, {"row": 2**62})
)
SIZES = (extent(rows=0), extent(columns=-1), extent(channels=2**30), extent(rows=2**27))

BAD: dict[str, tuple[Any, dict[str, Any]]] = {
    **{f"elementwise-input-{i}": (elementwise, {"input": v}) for i, v in enumerate(OUTSIDE)},
    **{f"elementwise-extent-{i}": (elementwise, {"extent": e}) for i, e in enumerate(SIZES)},
    **{f"conv2d-input-{i}": (conv2d, {"input": v}) for i, v in enumerate(OUTSIDE)},
    **{f"conv2d-output-{i}": (conv2d, {"output": e}) for i, e in enumerate(SIZES)},
    **{f"bconv2d-input-{i}": (bconv2d, {"input": v}) for i, v in enumerate(BITS_OUTSIDE)},
    **{f"bconv2d-output-{i}": (bconv2d, {"output": e}) for i, e in enumerate(SIZES)},
    **{f"pool2d-input-{i}": (pool2d, {"input": v}) for i, v in enumerate(OUTSIDE)},
    **{f"bmax_pool2d-input-{i}": (bmax_pool2d, {"input": v}) for i, v in enumerate(BITS_OUTSIDE)},
    **{f"bmax_pool2d-result-{i}": (bmax_pool2d, {"result": v}) for i, v in enumerate(BITS_OUTSIDE)},
    **{
        f"store-{i}": (elementwise, {"epilogue": with_step("store", v)})
        for i, v in enumerate(OUTSIDE)
    },
    **{
        f"add-{i}": (elementwise, {"epilogue": with_step("combine", "add", v)})
        for i, v in enumerate(OUTSIDE)
    },
    **{
        f"sign-{i}": (elementwise, {"epilogue": with_step("sign", v, None, None)})
        for i, v in enumerate(BITS_OUTSIDE)
    },
    "sign-threshold": (
        elementwise, {"epilogue": with_step("sign", view(row=16, pixel=8), floats(3), None)}
    ),
    "quantize-planes": (
        elementwise, {"epilogue": with_step("quantize", view(row=16, pixel=8, plane=2000), 8)}
    ),
    "quantize-bits": (elementwise, {"epilogue": with_step("quantize", view(row=16, pixel=8), 9)}),
    "quantize-no-bits": (
        elementwise, {"epilogue": with_step("quantize", view(row=16, pixel=8), 0)}
    ),
    "affine-short": (elementwise, {"epilogue": with_step("affine", floats(3), None)}),
    "prelu-long": (elementwise, {"epilogue": with_step("prelu", floats(5))}),
    "bconv2d-words": (bconv2d, {"words": np.zeros((4, 2), np.uint64)}),
    "bconv2d-scale": (bconv2d, {"scale": floats(3)}),
    "bconv2d-bias": (bconv2d, {"bias": floats(8)}),
    "bconv2d-no-taps": (
        bconv2d, {"offsets": np.zeros(0, np.int32), "words": np.zeros(0, np.uint64)}
    ),
    "bconv2d-tap-before": (bconv2d, {"offsets": np.array([0, 0, -8], np.int32)}),
    "bconv2d-tap-behind": (bconv2d, {"offsets": np.array([0, 4090, 0], np.int32)}),
    "bconv2d-planes": (bconv2d, {"planes": 9}),
    "bconv2d-c_in": (bconv2d, {"c_in": 0}),
    "bconv2d-half-a-tap": (bconv2d, {"c_in": 65}),
    "bconv2d-plane-behind": (bconv2d, {"planes": 2, "input": view(row=16, pixel=8, plane=4090)}),
    "bconv2d-classes-short": (
        bconv2d, {"row_class": np.zeros(1, np.int32), "column_class": np.zeros(2, np.int32)}
    ),
    "bconv2d-class-behind": (
        bconv2d, {"row_class": np.array([0, 1], np.int32), "column_class": np.zeros(2, np.int32)}
    ),
    "bconv2d-class-before": (
        bconv2d, {"row_class": np.array([-1, 0], np.int32), "column_class": np.zeros(2, np.int32)}
    ),
    "conv2d-kernel": (conv2d, {"kernel": floats(4, 5)}),
    "conv2d-run": (conv2d, {"run_length": 1024, "kernel": floats(4, 3 * 1024)}),
    "conv2d-run-0": (conv2d, {"run_length": 0, "kernel": floats(0)}),
    "conv2d-tap-behind": (conv2d, {"offsets": np.array([0, 1020, 0], np.int64)}),
    "conv2d-tap-before": (conv2d, {"offsets": np.array([0, -1, 0], np.int64)}),
    **{f"levels-input-{i}": (levels, {"input": v}) for i, v in enumerate(OUTSIDE)},
    **{f"levels-extent-{i}": (levels, {"extent": e}) for i, e in enumerate(SIZES)},
    **{
        f"levels-memory-{i}": (levels, {"levels": levels_of(*memory)})
        for i, memory in enumerate(
            [(0, LEVELS_FLOATS - 1), (1000,), (-1,), (0, -1), (BIG,), (0, BIG), (2**62, 2**62)]
        )
    },
    **{f"levels-border-{b}": (levels, {"left": b}) for b in (-1, 1, 2**27)},
    **{
        f"{write.__name__}-{name}": (write, changed)
        for write in (int8_conv2d, pooled_int8)
        for name, changed in {
            "memory": {"levels": levels_of(size=10)},
            "memory-behind": {"levels": levels_of(offset=1000, size=100)},
            "first": {"input": view(offset=160)},
            "first-before": {"input": view(offset=-1)},
            "row": {"input": view(row=170)},
            "pixel": {"input": view(pixel=BIG)},
            "tap-behind": {"offsets": np.array([0, 160, 0], np.int64)},
            "tap-before": {"offsets": np.array([0, -1, 0], np.int64)},
            "kernel": {"kernel": np.zeros((4, 5), np.int8)},
            "scale": {"scale": floats(3)},
            "run": {"run_length": 160, "kernel": np.zeros((4, 480), np.int8)},
            "run-0": {"run_length": 0, "kernel": np.zeros(0, np.int8)},
            "products": {
                "offsets": np.zeros(2**16 + 1, np.int64),
                "kernel": np.zeros((4, 2**17 + 2), np.int8),
            },
            "inner" if write is pooled_int8 else "step": {
                "inner" if write is pooled_int8 else "epilogue": with_step(
                    "store", view(offset=1020)
                )
            },
        }.items()
    },
    **{f"int8-output-{i}": (int8_conv2d, {"output": e}) for i, e in enumerate(SIZES)},
    "depthwise-kernel": (depthwise, {"kernel": floats(2, 4)}),
    "depthwise-tap-behind": (depthwise, {"offsets": np.array([0, 1020, 0], np.int64)}),
    **{f"pooled-input-{i}": (pooled, {"input": v}) for i, v in enumerate(OUTSIDE)},
    **{f"pooled-map-{i}": (pooled, {"map": e}) for i, e in enumerate(SIZES)},
    "pooled-kernel": (pooled, {"kernel": floats(4, 5)}),
    "pooled-window": (pooled, {"window": window(height=3)}),
    "pooled-empty-window": (pooled, {"window": window(stride_h=9)}),
    "pooled-channels": (pooled, {"output": extent(channels=3)}),
    "pooled-large-map": (
        pooled,
        {
            "input": view(row=0, pixel=0), "map": extent(rows=2**14, columns=2**14),
            "window": window(height=2**14, width=2**14),
        },
    ),
    "pooled-inner-view": (pooled, {"inner": with_step("store", view())}),
    "pooled-inner-affine": (pooled, {"inner": with_step("affine", floats(3), None)}),
    "pooled-store": (pooled, {"epilogue": with_step("store", view(offset=1020))}),
    "pool2d-window": (pool2d, {"window": window(height=200)}),
    "pool2d-empty-window": (pool2d, {"window": window(stride_h=9)}),
    "pool2d-padding": (pool2d, {"window": window(top=2)}),
    "pool2d-stride": (pool2d, {"window": window(stride_w=0)}),
    "bmax_pool2d-mask": (bmax_pool2d, {"mask": np.zeros(2, np.uint64)}),
    "dequantize-planes": (dequantize, {"planes": 2}),
    "resize2d-rows": (resize2d, {"rows": np.array([0, 2], np.int32)}),
    "resize2d-columns": (resize2d, {"next_columns": np.array([0, -1], np.int32)}),
    "resize2d-places": (resize2d, {"rows": np.zeros(3, np.int32)}),
    "resize2d-weights": (resize2d, {"row_weights": np.zeros(1, np.float32)}),
    "resize2d-channels": (resize2d, {"to_extent": extent(channels=2)}),
    "resize2d-outside": (resize2d, {"output": view(offset=1020)}),
    "slice_bits-first": (slice_bits, {"first": 1}),
    "slice_bits-before": (slice_bits, {"first": -1}),
    "slice_bits-rows": (slice_bits, {"to_extent": extent(rows=1)}),
    "loop-behind": (unary, {"offsets": (0, 1020)}),
    "loop-before": (unary, {"strides": ((3, 1), (3, -1))}),
    "loop-axes": (unary, {"shape": (2,)}),
    "loop-offsets": (unary, {"offsets": (0,)}),
    "loop-size": (unary, {"shape": (2**26, 2**26), "strides": ((0, 0), (0, 0))}),
}  # fmt: skip


@pytest.fixture
def program() -> Any:
    # Views of bits above are in bytes of the portable kernels, which do not repeat them.
    return engine().Program("portable", ARENA)


@pytest.mark.parametrize("write", GOOD, ids=lambda write: write.__name__)
def test_right_arguments_are_taken(program, write):
    write(program)
    assert len(program) == 1


def test_levels_are_two_operations(program):
    levels(program)
    assert len(program) == 2


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments_are_refused(program, name):
    write, changed = BAD[name]
    with pytest.raises(ValueError, match=r"must .*\.$"):
        write(program, **changed)
    assert len(program) == 0


@pytest.mark.parametrize("arena", [-64, 100, 2**33])
def test_arena_must_be_sensible(arena):
    with pytest.raises(ValueError, match="arena must"):
        engine().Program("portable", arena)


def test_other_types_are_refused(program):
    for changed in (
        {"kernel": np.zeros((4, 6))},
        {"kernel": np.zeros((6, 4), np.float32).T},
        {"offsets": np.zeros(3, np.int32)},
        {"run_length": 2**40},
        {"input": None},
    ):
        with pytest.raises(TypeError):
            conv2d(program, **changed)


def test_unknown_names_are_refused(program):
    with pytest.raises(ValueError, match="isa must be one"):
        engine().Program("sse5", ARENA)
    with pytest.raises(ValueError, match="combine must be"):
        epilogue().combine("divide", view())
    with pytest.raises(ValueError, match="function must be"):
        program.strided_unary("exp", [1], [0, 0], [[1], [1]])


def finished(program: Any) -> Any:
    program.add_input(view(), extent())
    program.add_output(view(), extent())
    return engine().Engine(program, 1)


def test_a_program_needs_an_input_and_an_output(program):
    with pytest.raises(ValueError, match="program must have an input"):
        engine().Engine(program, 1)
    program = engine().Program("portable", ARENA)
    program.add_input(view(), extent())
    with pytest.raises(ValueError, match="program must have an output"):
        engine().Engine(program, 1)


def test_threads_must_be_sensible(program):
    for threads in (0, -1, 5000):
        with pytest.raises(ValueError, match="threads must be from 1 to 1024"):
            engine().Engine(program, threads)


def test_a_running_program_does_not_change(program):
    finished(program)
    for change in (elementwise, lambda p: finished(p), lambda p: p.fill_bits(0, 1, words())):
        with pytest.raises(ValueError, match="must not change once an engine runs it"):
            change(program)


def words(count: int = 1) -> np.ndarray:
    return np.zeros(count, np.uint64)


def test_fills_stay_inside(program):
    program.fill_bits(0, 512, words())
    for offset, pixels, pattern in ((8, 512, words()), (-8, 1, words()), (0, 0, words()),
                                    (0, 2**60, words()), (0, 1, words(0))):  # fmt: skip
        with pytest.raises(ValueError, match="fill_bits must"):
            program.fill_bits(offset, pixels, pattern)


RUNS = {
    "short input": ([floats(1, 15)], [floats(1, 16)]),
    "long input": ([floats(1, 17)], [floats(1, 16)]),
    "no batch axis": ([floats()], [floats(1, 16)]),
    "short output": ([floats(2, 16)], [floats(1, 16)]),
    "no output": ([floats(1, 16)], []),
    "two outputs": ([floats(1, 16)], [floats(1, 16), floats(1, 16)]),
    "no input": ([], [floats(1, 16)]),
    "two inputs": ([floats(1, 16), floats(1, 16)], [floats(1, 16)]),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_checks_its_arrays(program, name):
    built = finished(program)
    with pytest.raises(ValueError, match="must"):
        built.run(*RUNS[name])


def test_outputs_must_be_writable_float32(program):
    built = finished(program)
    frozen = floats(1, 16)
    frozen.flags.writeable = False
    for output in (frozen, np.zeros((1, 16)), floats(2, 16)[::2, ::1][:, ::2]):
        with pytest.raises((TypeError, ValueError)):
            built.run([floats(1, 16)], [output])
