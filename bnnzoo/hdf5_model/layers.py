"""Tables of the layers, quantizers, constraints and activations of Keras 2 and Larq.

Names that are not in the tables are refused. Settings are numbers, strings, lists of these, or
objects from the tables.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from bnnzoo import nn
from bnnzoo.errors import ModelFormatError, did_you_mean
from bnnzoo.formats.strict_json import shown

__all__ = ["layer_of", "settings_of"]

_KERAS = (
    "Activation", "Add", "AlphaDropout", "Average", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D", "BatchNormalization", "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose",
    "Conv3D", "Conv3DTranspose", "Cropping1D", "Cropping2D", "Cropping3D", "Dense",
    "DepthwiseConv2D", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "LayerNormalization",
    "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "Minimum", "Multiply",
    "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape", "SeparableConv1D",
    "SeparableConv2D", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
    "Subtract", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D",
)  # fmt: skip
_LARQ = (
    "QuantConv1D", "QuantConv2D", "QuantConv2DTranspose", "QuantConv3D", "QuantConv3DTranspose",
    "QuantDense", "QuantDepthwiseConv2D", "QuantSeparableConv1D", "QuantSeparableConv2D",
)  # fmt: skip
_LAYERS: dict[str, type[keras.layers.Layer]] = {
    **{name: getattr(keras.layers, name) for name in _KERAS},
    **{name: getattr(nn, name) for name in _LARQ},
}
_QUANTIZERS = nn.quantizers.ALIASES | {
    **{kind.__name__: kind for kind in nn.quantizers.ALIASES.values()},
    # Former names in Larq, and a quantizer of Larq Zoo.
    "DoReFaQuantizer": nn.DoReFa,
    "NoOpQuantizer": nn.NoOp,
    "magnitude_aware_sign_unclipped": nn.DoReFaSign,
}
_CONSTRAINTS = {
    "weight_clip": nn.WeightClip, "WeightClip": nn.WeightClip,
    **{name: getattr(keras.constraints, name)
       for name in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")},
}  # fmt: skip
_ACTIVATIONS = {
    **{name: name for name in (
        "elu", "exponential", "gelu", "hard_sigmoid", "linear", "relu", "selu", "sigmoid",
        "softmax", "softplus", "softsign", "swish", "tanh",
    )},
    "relu6": keras.activations.relu6,
    "hard_tanh": nn.hard_tanh, "leaky_tanh": nn.leaky_tanh,
    "clip_by_value_activation": keras.layers.ReLU(max_value=1),  # in Larq Zoo
}  # fmt: skip

# Settings that only training uses, and settings that Keras 3 does not have.
_LEFT_OUT = (
    "batch_input_shape", "build_config", "dtype", "fused", "implementation", "metrics",
    "noise_shape", "ragged", "renorm", "seed", "sparse", "synchronized", "trainable",
    "virtual_batch_size",
)  # fmt: skip
_LEFT_OUT_ENDS = ("_initializer", "_regularizer")
_RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}
_MAX_ITEMS = 64


def layer_of(kind: str, config: dict[str, Any]) -> keras.layers.Layer:
    """Returns the layer of a class name and its settings.

    Raises:
        ModelFormatError: The layer or one of its settings is not in the tables.
    """
    name = config.get("name")
    if kind in _QUANTIZERS:  # Larq's quantizers are layers
        return keras.layers.Activation(
            _quantizer({"class_name": kind, "config": config}), name=name
        )
    if kind not in _LAYERS:
        raise ModelFormatError(
            f"layer {shown(name)} is a {shown(kind)}, which is not supported in HDF5 files."
            f"{did_you_mean(kind, _LAYERS)} Save the model as .keras, or build it and load its "
            "weights."
        )
    layer: keras.layers.Layer = _LAYERS[kind](**settings_of(kind, config))
    layer.trainable = config.get("trainable") is not False
    return layer


def settings_of(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a layer's class."""
    known, settings = _parameters(_LAYERS[kind]), {}
    for key, value in config.items():
        if key in _LEFT_OUT or key.endswith(_LEFT_OUT_ENDS):
            continue
        key = _RENAMED.get((kind, key), key)
        if key not in known:
            if value is None or value is False or (key, value) == ("groups", 1):
                continue  # the only behaviour in Keras 3
            raise ModelFormatError(
                f"layer {shown(config.get('name'))} has the unsupported setting {shown(key)}. Save "
                "the model as .keras, or build it and load its weights."
            )
        settings[key] = _setting(key, value)
    if kind in ("BatchNormalization", "LayerNormalization"):
        axis = settings.get("axis", -1)
        settings["axis"] = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if kind == "ReLU":  # old files have null for the defaults
        settings = {key: value for key, value in settings.items() if value is not None}
    return settings


def _parameters(kind: type) -> set[str]:
    """Returns the names of the arguments of a class and of its bases."""
    return {
        name
        for base in kind.__mro__
        if "__init__" in vars(base) and base is not object
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    } - {"self"}


def _setting(key: str, value: Any) -> Any:
    if key.endswith("_quantizer"):
        return _quantizer(value)
    if key.endswith("_constraint"):
        return _made(_CONSTRAINTS, "constraint", value)
    if key == "activation":
        return _activation(value)
    return _plain(key, value)


def _plain(key: str, value: Any, depth: int = 0) -> Any:
    """Returns a number, a string or a short list of these."""
    if isinstance(value, list) and len(value) <= _MAX_ITEMS and depth < 3:
        return [_plain(key, item, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModelFormatError(f"setting {key} must be numbers or strings, got {shown(value)}.")


def _quantizer(value: Any) -> Any:
    return _made(_QUANTIZERS, "quantizer", value)


def _made(table: dict[str, Any], what: str, value: Any) -> Any:
    """Returns the object for a name, or for a name and settings. None for None."""
    if value is None:
        return None
    config = {"class_name": value, "config": {}} if isinstance(value, str) else value
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ModelFormatError(f"a {what} must be a name with settings, got {shown(value)}.")
    name, settings = config.get("class_name"), config["config"]
    kind = table.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ModelFormatError(
            f"it has the {what} {shown(name)}, which is not supported."
            f"{did_you_mean(str(name), table)} Build the model and load its weights."
        )
    known = _parameters(kind)
    renamed = {"precision": "bits"} if what == "quantizer" else {}
    return kind(**{
        renamed.get(key, key): _plain(key, setting)
        for key, setting in settings.items()
        if renamed.get(key, key) in known and key not in ("name", "trainable", "dtype")
    })  # fmt: skip


def _activation(value: Any) -> Any:
    """Returns an activation function of Keras or Larq, or a quantizer."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    if value is None or (isinstance(value, str) and value in _ACTIVATIONS):
        return None if value is None else _ACTIVATIONS[value]
    name = value.get("class_name") if isinstance(value, dict) else value
    if isinstance(name, str) and name in _QUANTIZERS:
        return _quantizer(value)
    known = {**_ACTIVATIONS, **_QUANTIZERS}
    raise ModelFormatError(
        f"it has the activation {shown(name)}, which is not supported."
        f"{did_you_mean(str(name), known)} Build the model and load its weights."
    )
