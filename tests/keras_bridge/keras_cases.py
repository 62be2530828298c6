"""The table of layers that convert, and models of one layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.adabin import PadChannels
from bnnzoo.architectures.groupnet import WeightedSum
from bnnzoo.architectures.meliusnet import AddToLastChannels, ShuffleChannels, SplitChannels
from bnnzoo.keras_bridge.from_keras.normalizing import AUGMENTING
from tests.keras_bridge.decoder_cases import BINARY, DECODERS, IMAGE, SEQUENCE
from tests.keras_bridge.keras_networks import seed_weights

__all__ = ["BINARY", "CASES", "IMAGE", "SEQUENCE", "VECTOR", "model_of"]

VECTOR = (12,)
DOREFA = {"input_quantizer": nn.DoReFa(2), "kernel_quantizer": "dorefa_sign"}
SEPARABLE = {
    "input_quantizer": "ste_sign",
    "depthwise_quantizer": "magnitude_aware_sign",
    "pointwise_quantizer": "magnitude_aware_sign",
}

# Those that need arguments; only some of these are in every version of Keras.
_STRENGTHS = {
    "RandomBrightness": (0.3,),
    "RandomColorDegeneration": (0.3,),
    "RandomContrast": (0.3,),
    "RandomHue": (0.3,),
    "RandomPosterization": (4,),
    "RandomRotation": (0.3,),
    "RandomSaturation": (0.3,),
    "RandomSharpness": (0.3,),
    "RandomTranslation": (0.3, 0.3),
    "RandomZoom": (0.3,),
}


def _adaptive(scale: float = 0.75, **settings: Any) -> Any:
    """Returns a convolution as AdaBin has it, to be made."""
    constant = keras.initializers.Constant
    settings = {"kernel_quantizer": "centered_sign", **settings}

    def make(x: Any) -> Any:
        sign = nn.AdaptiveSign(constant(scale), constant(0.25))
        return nn.QuantConv2D(kernel_size=3, input_quantizer=sign, **settings)(x)

    return make


def _augmented(x: Any) -> Any:
    for kind in AUGMENTING:
        x = kind(*_STRENGTHS.get(kind.__name__, ()))(x)
    return layers.Conv2D(3, 3)(x)


# A layer to be made, or a function of a tensor, and the shape of the input.
CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    **DECODERS,
    "QuantConv2D": (partial(nn.QuantConv2D, 5, 3, **BINARY), IMAGE),
    "QuantConv2D integers": (
        partial(nn.QuantConv2D, 5, 3, padding="same", use_bias=False, **BINARY),
        IMAGE,
    ),
    "QuantConv2D same": (partial(nn.QuantConv2D, 5, 3, padding="same", **BINARY), IMAGE),
    "QuantConv2D one-padded": (
        partial(nn.QuantConv2D, 5, 3, padding="same", pad_values=1, **BINARY),
        IMAGE,
    ),
    "QuantConv2D minus-padded": (
        partial(nn.QuantConv2D, 5, (2, 3), padding="same", pad_values=-1, strides=2, **BINARY),
        IMAGE,
    ),
    "QuantConv2D symmetric": (partial(nn.QuantConv2D, 5, 3, strides=2, padding=1, **BINARY), IMAGE),
    "QuantConv2D other sides": (
        partial(nn.QuantConv2D, 5, 3, padding=((0, 2), (3, 1)), pad_values=-1, **BINARY),
        IMAGE,
    ),
    "QuantConv1D symmetric": (partial(nn.QuantConv1D, 5, 3, padding=(2, 1), **BINARY), SEQUENCE),
    "QuantSeparableConv2D symmetric": (
        partial(nn.QuantSeparableConv2D, 5, 3, 2, padding=1, pad_values=1, **SEPARABLE),
        IMAGE,
    ),
    "QuantConv2D strides": (
        partial(nn.QuantConv2D, 5, 3, strides=(2, 3), padding="same", **BINARY),
        IMAGE,
    ),
    "QuantConv2D even kernel": (
        partial(nn.QuantConv2D, 5, (4, 2), padding="same", **BINARY),
        IMAGE,
    ),
    "QuantConv2D dilation": (
        partial(nn.QuantConv2D, 5, 3, dilation_rate=(1, 2), padding="same", **BINARY),
        IMAGE,
    ),
    "QuantConv2D groups": (
        partial(nn.QuantConv2D, 6, 3, groups=2, padding="same", **BINARY),
        IMAGE,
    ),
    "QuantConv2D activation": (
        partial(nn.QuantConv2D, 5, 3, activation="relu", use_bias=True, **BINARY),
        IMAGE,
    ),
    "QuantConv2D signed output": (
        partial(nn.QuantConv2D, 5, 3, activation="ste_sign", **BINARY),
        IMAGE,
    ),
    "QuantConv2D scaled": (
        partial(
            nn.QuantConv2D,
            5,
            3,
            input_quantizer="approx_sign",
            kernel_quantizer="magnitude_aware_sign",
        ),
        IMAGE,
    ),
    "QuantConv2D xnor": (
        partial(
            nn.QuantConv2D, 5, 3, input_quantizer="swish_sign", kernel_quantizer="xnor_weight_scale"
        ),
        IMAGE,
    ),
    "QuantConv2D dorefa": (partial(nn.QuantConv2D, 5, 3, padding="same", **DOREFA), IMAGE),
    "QuantConv2D dorefa one-padded": (
        partial(nn.QuantConv2D, 5, 3, padding="same", pad_values=1, **DOREFA),
        IMAGE,
    ),
    "QuantConv2D 1-bit dorefa": (
        partial(
            nn.QuantConv2D,
            5,
            3,
            input_quantizer=nn.DoReFa(1),
            kernel_quantizer=nn.DoReFa(1, "weights"),
        ),
        IMAGE,
    ),
    "QuantConv2D real input": (
        partial(nn.QuantConv2D, 5, 3, padding="same", kernel_quantizer="ste_sign"),
        IMAGE,
    ),
    "QuantConv2D real input, one-padded": (
        partial(nn.QuantConv2D, 5, 3, padding="same", pad_values=1, kernel_quantizer="ste_sign"),
        IMAGE,
    ),
    "QuantConv2D real kernel": (
        partial(nn.QuantConv2D, 5, 3, padding="same", input_quantizer="ste_sign"),
        IMAGE,
    ),
    "QuantConv2D no quantizers": (partial(nn.QuantConv2D, 5, 3, strides=2, padding="same"), IMAGE),
    "QuantConv2D no_op": (
        partial(nn.QuantConv2D, 5, 3, input_quantizer="no_op", kernel_quantizer="no_op"),
        IMAGE,
    ),
    "QuantConv2D Bop before training": (
        partial(nn.QuantConv2D, 5, 3, input_quantizer="ste_sign", kernel_quantizer=nn.NoOp(1)),
        IMAGE,
    ),
    **{
        f"QuantConv2D {name}": (
            partial(nn.QuantConv2D, 5, 3, input_quantizer="ste_sign", kernel_quantizer=quantizer),
            IMAGE,
        )
        for name, quantizer in {
            "centered": "centered_sign",
            "libra": "libra_sign",
            "recu": "recu",
            "steps": "ste_heaviside",
            "unit steps": nn.DoReFa(1),
        }.items()
    },
    "QuantConv2D error decay": (
        partial(nn.QuantConv2D, 5, 3, input_quantizer="error_decay_sign", kernel_quantizer="recu"),
        IMAGE,
    ),
    "QuantConv2D adaptive": (_adaptive(filters=5, padding=1), IMAGE),
    "QuantConv2D adaptive strides": (_adaptive(filters=5, strides=2, padding=1), IMAGE),
    "QuantConv2D adaptive groups": (_adaptive(filters=6, groups=2, padding="same"), IMAGE),
    "QuantConv2D adaptive, negative scale": (_adaptive(-0.75, filters=5, padding="same"), IMAGE),
    "QuantConv2D adaptive, unscaled": (
        _adaptive(filters=5, padding="same", kernel_quantizer="ste_sign"),
        IMAGE,
    ),
    "QuantConv2D adaptive, real kernel": (
        _adaptive(filters=5, padding="same", kernel_quantizer=None),
        IMAGE,
    ),
    "QuantConv2D centered, one-padded": (
        partial(
            nn.QuantConv2D,
            5,
            3,
            padding="same",
            pad_values=1,
            input_quantizer="ste_sign",
            kernel_quantizer="centered_sign",
        ),
        IMAGE,
    ),
    "QuantConv2D centered, real input": (
        partial(nn.QuantConv2D, 5, 3, padding="same", kernel_quantizer="centered_sign"),
        IMAGE,
    ),
    "QuantDense centered": (
        partial(nn.QuantDense, 5, input_quantizer="ste_sign", kernel_quantizer="centered_sign"),
        VECTOR,
    ),
    "QuantSeparableConv2D centered": (
        partial(
            nn.QuantSeparableConv2D,
            5,
            3,
            input_quantizer="ste_sign",
            depthwise_quantizer="centered_sign",
            pointwise_quantizer="centered_sign",
        ),
        IMAGE,
    ),
    "QuantConv1D": (partial(nn.QuantConv1D, 5, 3, strides=2, padding="same", **BINARY), SEQUENCE),
    "QuantConv1D causal": (
        partial(nn.QuantConv1D, 5, 3, dilation_rate=2, padding="causal", pad_values=1, **BINARY),
        SEQUENCE,
    ),
    "QuantDense": (partial(nn.QuantDense, 5, **BINARY), VECTOR),
    "QuantDense on images": (partial(nn.QuantDense, 5, use_bias=False, **BINARY), IMAGE),
    "QuantDense on sequences": (
        partial(nn.QuantDense, 5, activation="softmax", **BINARY),
        SEQUENCE,
    ),
    "QuantDense dorefa": (partial(nn.QuantDense, 5, **DOREFA), VECTOR),
    "QuantDense ternary": (partial(nn.QuantDense, 5, kernel_quantizer="ste_tern"), VECTOR),
    "QuantConv2D ternary": (
        partial(nn.QuantConv2D, 5, 3, 2, 1, kernel_quantizer=nn.SteTern(1.5)),
        IMAGE,
    ),
    "QuantDepthwiseConv2D": (
        partial(
            nn.QuantDepthwiseConv2D,
            3,
            padding="same",
            depth_multiplier=2,
            input_quantizer="ste_sign",
            depthwise_quantizer="magnitude_aware_sign",
        ),
        IMAGE,
    ),
    "QuantDepthwiseConv2D one-padded": (
        partial(
            nn.QuantDepthwiseConv2D,
            3,
            strides=2,
            padding="same",
            pad_values=1,
            input_quantizer="ste_sign",
        ),
        IMAGE,
    ),
    "QuantSeparableConv2D": (
        partial(nn.QuantSeparableConv2D, 5, 3, padding="same", depth_multiplier=2, **SEPARABLE),
        IMAGE,
    ),
    "QuantSeparableConv1D": (
        partial(nn.QuantSeparableConv1D, 5, 3, strides=2, **SEPARABLE),
        SEQUENCE,
    ),
    "Conv1D": (partial(layers.Conv1D, 5, 3, padding="causal", activation="tanh"), SEQUENCE),
    "Conv2D": (partial(layers.Conv2D, 6, 3, strides=2, padding="same", groups=2), IMAGE),
    "Conv2D dilation": (partial(layers.Conv2D, 5, 3, dilation_rate=2, activation="sigmoid"), IMAGE),
    "DepthwiseConv1D": (partial(layers.DepthwiseConv1D, 3, strides=2, padding="same"), SEQUENCE),
    "DepthwiseConv2D": (
        partial(layers.DepthwiseConv2D, 3, padding="same", depth_multiplier=2),
        IMAGE,
    ),
    "SeparableConv1D": (partial(layers.SeparableConv1D, 5, 3, padding="same"), SEQUENCE),
    "SeparableConv2D": (partial(layers.SeparableConv2D, 5, 3, activation="relu6"), IMAGE),
    "Dense": (partial(layers.Dense, 5, activation="softmax"), VECTOR),
    "Dense on images": (partial(layers.Dense, 5, use_bias=False), IMAGE),
    "Dense on volumes": (partial(layers.Dense, 5), (2, 3, 4, 5)),
    "BatchNormalization": (partial(layers.BatchNormalization, epsilon=0.1), IMAGE),
    "BatchNormalization without scale": (partial(layers.BatchNormalization, scale=False), IMAGE),
    "BatchNormalization without both": (
        partial(layers.BatchNormalization, scale=False, center=False),
        VECTOR,
    ),
    "BatchNormalization of scale": (
        partial(layers.BatchNormalization, center=False, axis=3),
        IMAGE,
    ),
    "ReLU": (partial(layers.ReLU), IMAGE),
    "ReLU limited": (partial(layers.ReLU, 0.7), IMAGE),
    "ReLU leaky": (partial(layers.ReLU, negative_slope=0.3), IMAGE),
    "ReLU leaky and limited": (partial(layers.ReLU, 0.7, negative_slope=0.3), IMAGE),
    "ReLU threshold": (partial(layers.ReLU, threshold=0.4), IMAGE),
    "ReLU with everything": (partial(layers.ReLU, 0.9, negative_slope=0.3, threshold=0.4), IMAGE),
    "LeakyReLU": (partial(layers.LeakyReLU, 0.1), IMAGE),
    "PReLU": (partial(layers.PReLU, shared_axes=[1, 2]), IMAGE),
    "PReLU of one number": (partial(layers.PReLU, shared_axes=[1, 2, 3]), IMAGE),
    "PReLU of vectors": (partial(layers.PReLU), VECTOR),
    "LearnableShift": (partial(nn.LearnableShift), IMAGE),
    "RPReLU": (partial(nn.RPReLU), IMAGE),
    "Maxout": (partial(nn.Maxout), IMAGE),
    "ChannelMix": (lambda x: nn.ChannelMix()([x, layers.ReLU()(x)]), IMAGE),
    "ChannelMix clipped in training": (
        lambda x: nn.ChannelMix("training")([x, layers.ReLU()(x)]),
        IMAGE,
    ),
    "SoftGate": (lambda x: nn.SoftGate()([x, layers.ReLU()(x)]), IMAGE),
    "WeightedSum": (lambda x: WeightedSum()([x, layers.ReLU()(x)]), IMAGE),
    "PadChannels": (partial(PadChannels, 2), IMAGE),
    "PadChannels of more than there are": (partial(PadChannels, 5), IMAGE),
    "ShuffleChannels": (partial(ShuffleChannels, 2), IMAGE),
    "Softmax": (partial(layers.Softmax), IMAGE),
    "Softmax of the last axis": (partial(layers.Softmax, axis=3), IMAGE),
    "Rescaling": (partial(layers.Rescaling, 1 / 127.5, offset=-1), IMAGE),
    "Rescaling per channel": (
        partial(layers.Rescaling, [1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0]),
        IMAGE,
    ),
    "Normalization": (
        partial(layers.Normalization, mean=[1, -200, 0.5, 0], variance=[4, 9, 1e-3, 0]),
        IMAGE,
    ),
    "Normalization for all": (partial(layers.Normalization, None, 100.0, 900.0), IMAGE),
    "Normalization inverted": (
        partial(layers.Normalization, -1, [1, 2, 3, 4], [4, 3, 2, 1], invert=True),
        IMAGE,
    ),
    "augmentation": (_augmented, (9, 9, 3)),
    "MaxPooling1D": (partial(layers.MaxPooling1D, 3, strides=2, padding="same"), SEQUENCE),
    "MaxPooling2D": (partial(layers.MaxPooling2D, 3, strides=2, padding="same"), IMAGE),
    "MaxPooling2D symmetric": (partial(nn.MaxPooling2D, 3, strides=2, padding=1), IMAGE),
    "MaxPooling2D valid": (partial(layers.MaxPooling2D, (2, 3)), IMAGE),
    "AveragePooling1D": (partial(layers.AveragePooling1D, 2, padding="same"), SEQUENCE),
    "AveragePooling2D": (partial(layers.AveragePooling2D, 2, padding="same"), IMAGE),
    "AveragePooling2D wide": (
        partial(layers.AveragePooling2D, 3, strides=1, padding="same"),
        IMAGE,
    ),
    "GlobalAveragePooling1D": (partial(layers.GlobalAveragePooling1D), SEQUENCE),
    "GlobalAveragePooling2D": (partial(layers.GlobalAveragePooling2D), IMAGE),
    "GlobalAveragePooling2D kept": (partial(layers.GlobalAveragePooling2D, keepdims=True), IMAGE),
    "GlobalMaxPooling1D": (partial(layers.GlobalMaxPooling1D, keepdims=True), SEQUENCE),
    "GlobalMaxPooling2D": (partial(layers.GlobalMaxPooling2D), IMAGE),
    "Add": (lambda x: layers.Add()([x, x, layers.ReLU()(x)]), IMAGE),
    "Add broadcast": (lambda x: layers.Add()([x, layers.GlobalMaxPooling2D()(x)]), IMAGE),
    "Subtract": (lambda x: layers.Subtract()([layers.ReLU()(x), x]), IMAGE),
    "Multiply": (
        lambda x: layers.Multiply()([x, layers.GlobalMaxPooling2D(keepdims=True)(x)]),
        IMAGE,
    ),
    "Average": (lambda x: layers.Average()([x, layers.ReLU()(x), x]), IMAGE),
    "Concatenate": (lambda x: layers.Concatenate()([x, layers.ReLU()(x)]), IMAGE),
    "Concatenate rows": (lambda x: layers.Concatenate(axis=1)([x, layers.ReLU()(x)]), IMAGE),
    "Flatten": (partial(layers.Flatten), IMAGE),
    "Reshape": (partial(layers.Reshape, (3, -1)), IMAGE),
    "Permute": (partial(layers.Permute, (3, 1, 2)), IMAGE),
    "ZeroPadding1D": (partial(layers.ZeroPadding1D, (1, 2)), SEQUENCE),
    "Pad": (lambda x: keras.ops.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))), IMAGE),
    "Pad of ones": (
        lambda x: keras.ops.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=1),
        SEQUENCE,
    ),
    "Add of operators": (lambda x: x + layers.ReLU()(x), IMAGE),
    "Add of a number": (lambda x: layers.ReLU()(1 + x), IMAGE),
    "Subtract of operators": (lambda x: layers.ReLU()(x) - x, IMAGE),
    "Subtract of a number": (lambda x: layers.ReLU()(x - 0.5), IMAGE),
    "Subtract from a number": (lambda x: 1 - x, IMAGE),
    "Multiply of operators": (
        lambda x: x * layers.GlobalMaxPooling2D(keepdims=True)(x) * -3.0,
        IMAGE,
    ),
    "TrueDivide": (lambda x: x / 255, IMAGE),
    "Divide": (lambda x: keras.ops.divide(x, 3.0), SEQUENCE),
    "Negative": (lambda x: -x, VECTOR),
    "Clip": (lambda x: keras.ops.clip(x, -0.5, 1), IMAGE),
    "Maximum": (lambda x: keras.ops.maximum(x, -0.5), IMAGE),
    "Minimum": (lambda x: keras.ops.minimum(0.25, x), SEQUENCE),
    "Concatenate of operations": (lambda x: keras.ops.concatenate([x, -x], axis=2), IMAGE),
    "GetItem": (lambda x: x[:, 1:, ..., -3:-1], IMAGE),
    "GetItem of one row": (lambda x: x[:, -2], IMAGE),
    "Max": (lambda x: keras.ops.max(x, axis=(1, 2), keepdims=True), IMAGE),
    "Mean": (lambda x: keras.ops.mean(x, axis=[-3, 2]), IMAGE),
    "Mean of a sequence": (lambda x: keras.ops.mean(x, axis=1), SEQUENCE),
    "Reshape of operations": (
        lambda x: keras.ops.reshape(x, (-1, 4, x.shape[1] * x.shape[2])),
        IMAGE,
    ),
    "Tanh": (keras.ops.tanh, IMAGE),
    "Transpose": (lambda x: keras.ops.transpose(x, (0, 3, 1, 2)), IMAGE),
    "HardSigmoid": (keras.ops.hard_sigmoid, IMAGE),
    "HardSilu": (keras.ops.hard_silu, IMAGE),
    "LeakyRelu": (lambda x: keras.ops.leaky_relu(x, 0.3), IMAGE),
    "Relu": (keras.ops.relu, IMAGE),
    "Relu6": (keras.ops.relu6, IMAGE),
    "Sigmoid": (keras.ops.sigmoid, IMAGE),
    "Silu": (keras.ops.silu, IMAGE),
    "Softmax of operations": (keras.ops.softmax, IMAGE),
    "ZeroPadding2D": (partial(layers.ZeroPadding2D, ((1, 2), (0, 3))), IMAGE),
    "SplitChannels": (
        lambda x: layers.Concatenate()(SplitChannels(2)(x)[::-1]),
        IMAGE,
    ),
    "AddToLastChannels": (
        lambda x: AddToLastChannels()([x, SplitChannels(2)(x)[0]]),
        IMAGE,
    ),
    "AddToLastChannels of all": (lambda x: AddToLastChannels()([x, x]), IMAGE),
    "Activation": (partial(layers.Activation, "relu"), IMAGE),
    "Identity": (lambda x: layers.Identity()(layers.ReLU()(x)), IMAGE),
    "Dropout": (lambda x: layers.ReLU()(layers.Dropout(0.5)(x)), IMAGE),
    "SpatialDropout1D": (lambda x: layers.ReLU()(layers.SpatialDropout1D(0.5)(x)), SEQUENCE),
    "SpatialDropout2D": (lambda x: layers.ReLU()(layers.SpatialDropout2D(0.5)(x)), IMAGE),
    "AlphaDropout": (lambda x: layers.ReLU()(layers.AlphaDropout(0.5)(x)), IMAGE),
    "GaussianDropout": (lambda x: layers.ReLU()(layers.GaussianDropout(0.5)(x)), IMAGE),
    "GaussianNoise": (lambda x: layers.ReLU()(layers.GaussianNoise(0.5)(x)), IMAGE),
    "ActivityRegularization": (
        lambda x: layers.ReLU()(layers.ActivityRegularization(0.1)(x)),
        IMAGE,
    ),
    "InputLayer": (partial(layers.Flatten), IMAGE),
    "sign once, used twice": (
        lambda x: layers.Concatenate()(
            [
                nn.QuantConv2D(3, 1, **BINARY)(layers.Activation(nn.SteSign())(x)),
                layers.Activation(nn.SteSign())(x),
            ]
        ),
        IMAGE,
    ),
    "signs without an input quantizer": (
        lambda x: nn.QuantConv2D(3, 3, padding="same", pad_values=-1, kernel_quantizer="ste_sign")(
            layers.Activation(nn.SteSign())(x)
        ),
        IMAGE,
    ),
    "signs into a real layer": (
        lambda x: layers.Conv2D(3, 2)(layers.Activation(nn.ApproxSign())(x)),
        IMAGE,
    ),
    "sign of levels": (
        lambda x: nn.QuantConv2D(3, 3, **BINARY)(layers.Activation(nn.DoReFa(2))(x)),
        IMAGE,
    ),
    "levels of signs": (
        lambda x: nn.QuantConv2D(3, 3, **DOREFA)(layers.Activation(nn.SteSign())(x)),
        IMAGE,
    ),
    "levels of levels": (
        lambda x: nn.QuantConv2D(3, 3, **DOREFA)(layers.Activation(nn.DoReFa(2))(x)),
        IMAGE,
    ),
    "levels of other levels": (
        lambda x: nn.QuantConv2D(3, 3, **DOREFA)(layers.Activation(nn.DoReFa(3))(x)),
        IMAGE,
    ),
    "pooled and flattened signs": (
        lambda x: nn.QuantDense(4, **BINARY)(
            layers.Flatten()(
                layers.MaxPooling2D(3, strides=2, padding="same")(
                    layers.Activation(nn.SteSign())(x)
                )
            )
        ),
        IMAGE,
    ),
    "activation that is a layer": (
        partial(layers.Conv2D, 3, 1, activation=layers.ReLU(0.5)),
        IMAGE,
    ),
    "activation that is a leaky layer": (
        partial(layers.Conv2D, 3, 1, activation=layers.LeakyReLU(0.1)),
        IMAGE,
    ),
}
ACTIVATIONS = [
    *("linear", "relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "silu", "hard_silu"),
    *("tanh", "softmax", "hard_tanh", "leaky_tanh"),
    *(nn.SteSign(), nn.ApproxSign(), nn.SwishSign(), nn.DoReFa(2), nn.NoOp()),
]
CASES |= {
    f"activation {activation}": (
        partial(layers.Activation, nn.activations.get(activation)),
        IMAGE,
    )
    for activation in ACTIVATIONS
    if not isinstance(activation, str)
    or hasattr(keras.activations, activation)
    or "tanh" in activation
}


def model_of(name: str) -> keras.Model:
    """Builds the model of a case, with seeded weights."""
    layer, shape = CASES[name]
    inputs = keras.Input(shape)
    outputs = layer()(inputs) if isinstance(layer, partial) else layer(inputs)
    return seed_weights(keras.Model(inputs, outputs))
