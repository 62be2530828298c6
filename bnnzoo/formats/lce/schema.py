"""The flatbuffer schema of TensorFlow Lite, as Python code from other packages."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

from bnnzoo.errors import MissingDependencyError

__all__ = ["OPTIONS", "schema"]

# Package -> folder in it. Only this file is loaded: importing TensorFlow takes ten seconds.
_SHIPPED_BY = {"ai_edge_litert": "", "tensorflow": "lite/python"}
_FILE = "schema_py_generated.py"

# Built-in operator -> table of its options, and the scalar fields that are used.
_CONV = ("padding", "strideH", "strideW", "dilationHFactor", "dilationWFactor")
_POOL = ("padding", "strideH", "strideW", "filterHeight", "filterWidth")
_FUSED = ("fusedActivationFunction",)
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ABS": ("AbsOptions", ()),
    "ADD": ("AddOptions", _FUSED),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_POOL, *_FUSED)),
    "BROADCAST_TO": ("BroadcastToOptions", ()),
    "CAST": ("CastOptions", ()),
    "CONCATENATION": ("ConcatenationOptions", ("axis", *_FUSED)),
    "CONV_2D": ("Conv2DOptions", (*_CONV, *_FUSED)),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, "depthMultiplier", *_FUSED)),
    "DEQUANTIZE": ("DequantizeOptions", ()),
    "EXPAND_DIMS": ("ExpandDimsOptions", ()),
    "FILL": ("FillOptions", ()),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("weightsFormat", "keepNumDims", *_FUSED)),
    "GATHER": ("GatherOptions", ("axis", "batchDims")),
    "GREATER": ("GreaterOptions", ()),
    "GREATER_EQUAL": ("GreaterEqualOptions", ()),
    "HARD_SWISH": ("HardSwishOptions", ()),
    "LEAKY_RELU": ("LeakyReluOptions", ("alpha",)),
    "LESS": ("LessOptions", ()),
    "LESS_EQUAL": ("LessEqualOptions", ()),
    "LOGISTIC": ("", ()),
    "MAXIMUM": ("MaximumMinimumOptions", ()),
    "MAX_POOL_2D": ("Pool2DOptions", (*_POOL, *_FUSED)),
    "MEAN": ("ReducerOptions", ("keepDims",)),
    "MINIMUM": ("MaximumMinimumOptions", ()),
    "MUL": ("MulOptions", _FUSED),
    "PACK": ("PackOptions", ("valuesCount", "axis")),
    "PAD": ("PadOptions", ()),
    "PADV2": ("PadV2Options", ()),
    "PRELU": ("", ()),
    "QUANTIZE": ("QuantizeOptions", ()),
    "REDUCE_MAX": ("ReducerOptions", ("keepDims",)),
    "REDUCE_PROD": ("ReducerOptions", ("keepDims",)),
    "RELU": ("", ()),
    "RELU6": ("", ()),
    "RELU_0_TO_1": ("", ()),
    "RELU_N1_TO_1": ("", ()),
    **{
        f"RESIZE_{kind}": (f"Resize{name}Options", ("alignCorners", "halfPixelCenters"))
        for kind, name in (("BILINEAR", "Bilinear"), ("NEAREST_NEIGHBOR", "NearestNeighbor"))
    },
    "RESHAPE": ("ReshapeOptions", ()),
    "ROUND": ("", ()),
    "SELECT": ("SelectOptions", ()),
    "SELECT_V2": ("SelectV2Options", ()),
    "SHAPE": ("ShapeOptions", ()),
    "SLICE": ("SliceOptions", ()),
    "SOFTMAX": ("SoftmaxOptions", ("beta",)),
    "SPLIT": ("SplitOptions", ("numSplits",)),
    "SQUEEZE": ("SqueezeOptions", ()),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"),
    ),
    "SUB": ("SubOptions", _FUSED),
    "TANH": ("", ()),
    "TRANSPOSE": ("TransposeOptions", ()),
}


@functools.cache
def schema() -> Any:
    """Returns the module of the schema.

    Raises:
        MissingDependencyError: No package that ships it is installed.
    """
    for package, folder in _SHIPPED_BY.items():
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            path = Path(place) / folder / _FILE
            if path.is_file():
                return _loaded(path)
    raise MissingDependencyError("ai_edge_litert", extra="lce", purpose="for .tflite files")


def _loaded(path: Path) -> Any:
    name = f"{__name__}_generated"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
