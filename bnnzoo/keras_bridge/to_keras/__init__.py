"""Converts a packed network back to a trainable Keras model.

The latent weights of a binary kernel are its signs times a magnitude: the filter's scale if the
quantizer computes one, otherwise `LATENT_MAGNITUDE`, which is small so that training can flip them.
A batch norm that was folded to scale * x + bias becomes gamma = scale, beta = bias, mean 0 and
variance 1 - epsilon; the outputs are the same, but the statistics of the data are lost.
`recalibrate` restores them before training.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo import nn, registry
from bnnzoo.architectures.groupnet import WeightedSum
from bnnzoo.dry_build import count_numbers
from bnnzoo.errors import ArgumentError, ModelFormatError, UnknownModelError
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph, Tensor, numbers, signs
from bnnzoo.graph.passes.steady_signs import steady_signs
from bnnzoo.keras_bridge.from_keras import walk
from bnnzoo.keras_bridge.from_keras.values import KerasValues
from bnnzoo.keras_bridge.to_keras.config import check_values, from_config
from bnnzoo.keras_bridge.to_keras.from_graph import model_of
from bnnzoo.model_spec import TASKS, ModelSpec

__all__ = ["LATENT_MAGNITUDE", "assign_weights", "recalibrate", "to_keras"]

# Small, so that a weight can be flipped in some thirty steps at Adam's usual rate of 0.001. See
# docs/finetuning.md for its effect.
LATENT_MAGNITUDE = 0.03
# Numbers that a model may have in addition to twice those of its file.
SPARE_NUMBERS = 4096
_SIGNS = (nn.SteSign, nn.ApproxSign, nn.SwishSign, nn.ErrorDecaySign, nn.SteHeaviside)
# Quantizers that compute the scale of a filter from the magnitude of its latent weights.
_SCALED = (nn.MagnitudeAwareSign, nn.XnorWeightScale, nn.DoReFaSign)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
)
_DEPTHWISE = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)

Array = NDArray[Any]


def to_keras(graph: Graph, info: NetworkInfo) -> keras.Model:
    """Returns the Keras model that a packed network was converted from, with the same outputs.

    A network of another tool becomes a model with a layer for each node.

    Args:
        graph: The graph after the passes `STORED`, or from the front end.
        info: Metadata, which defines how the model is built.

    Raises:
        ModelFormatError: `info` and `graph` describe different networks, or Keras has no layer for
            a node.
    """
    if info.architecture is None and info.keras_config is None:
        model = model_of(graph, info.name, LATENT_MAGNITUDE)
        model.model_spec = _spec(info, model) if len(graph.inputs) == 1 else None
        return model
    model = _build(info, graph)
    assign_weights(model, graph)
    return model


def assign_weights(model: keras.Model, graph: Graph) -> None:
    """Assigns to every layer of a model the weights of a packed network under the layer's path.

    Biases between counts and signs are changed by a rounding error if Keras, which adds in float32,
    would get another sign than the file.

    Raises:
        ModelFormatError: A weight of the model is missing, or has another shape.
    """
    tensors = steady_signs(graph).tensors
    assigned: set[int] = set()
    for call in walk(model).calls:
        if id(call.layer) not in assigned and getattr(call.layer, "weights", None):
            assigned.add(id(call.layer))
            _Weights(tensors, call.first_path, call.layer).assign()


def _build(info: NetworkInfo, graph: Graph) -> keras.Model:
    """Returns the model described by `info`, with its `model_spec` but without its weights.

    Raises:
        ModelFormatError: Its inputs or its size differ from those of `graph`.
    """
    if info.architecture is not None:
        make = functools.partial(_build_architecture, info.architecture, graph)
    else:
        assert info.keras_config is not None, "see to_keras"
        make = functools.partial(from_config, info.keras_config)
    _check_size(info.name, count_numbers(make), graph)
    model = make()
    steps = walk(model)
    check_values(steps)
    expected, taken = _taken(graph.inputs), _taken(steps.inputs)
    if expected != taken:
        raise ModelFormatError(f"{info.name} must take {expected}, as its graph, got {taken}.")
    model.model_spec = _spec(info, model) if len(graph.inputs) == 1 else None
    return model


def _taken(inputs: Mapping[str, tuple[int | None, ...]]) -> str:
    """Returns the shape of a single input, or the names and shapes of several."""
    if len(inputs) == 1:
        return str(*inputs.values())
    return ", ".join(f"{name} {shape}" for name, shape in inputs.items())


def _check_size(name: str, claimed: int, graph: Graph) -> None:
    """Checks that a model is not much larger than its file, which limits the memory it needs."""
    held = sum(math.prod(tensor.shape) for tensor in graph.tensors.values())
    # A batch norm has four numbers for two in the file; the rest are seeds of random numbers.
    largest = 2 * held + SPARE_NUMBERS
    if claimed > largest:
        raise ModelFormatError(
            f"{name} must have at most {largest:,} weights, as its file holds {held:,}, got "
            f"{claimed:,}. Do not trust the file."
        )


def _build_architecture(architecture: Mapping[str, Any], graph: Graph) -> Any:
    name, arguments = architecture["name"], dict(architecture.get("arguments", {}))
    input_shape, *others = graph.inputs.values()
    # A number of layers is at most the width of one: a file cannot request a million.
    largest = max((size for tensor in graph.tensors.values() for size in tensor.shape), default=1)
    for argument, value in arguments.items():
        if isinstance(value, (int, float)) and value > largest:
            raise ModelFormatError(
                f"{argument} of {name} must be at most {largest}, the largest axis of the file's "
                f"tensors, got {value}. The file describes another network than it contains."
            )
    if others or list(arguments.get("input_shape", input_shape)) != list(input_shape):
        raise ModelFormatError(f"input_shape of {name} must be {input_shape}, as in its graph.")
    arguments["input_shape"] = input_shape
    try:
        builder = registry.builder(name)
        inspect.signature(builder).bind(**arguments)
        return builder(**arguments)
    except (UnknownModelError, ArgumentError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"architecture {name!r} cannot be built with {arguments}: {error} The file may be "
            "from a newer version of bnnzoo."
        ) from error


def _spec(info: NetworkInfo, model: Any) -> ModelSpec:
    shape, task = model.output_shape, info.task or "classification"
    has_classes = isinstance(shape, tuple) and len(shape) - 1 == TASKS.get(task)
    return ModelSpec(
        name=info.name,
        input_shape=tuple(model.input_shape[1:]),
        num_classes=shape[-1] if has_classes else None,
        tag=info.tag,
        weights_sha256=info.weights_sha256,
        preprocessing=info.preprocessing,
        labels=info.label_set or info.labels,
        task=task if has_classes else "classification",
    )


class _Weights:
    """The weights of one layer, from the tensors under its path."""

    def __init__(self, tensors: Mapping[str, Tensor], path: str, layer: Any) -> None:
        self.tensors = tensors
        self.path = path
        self.layer = layer
        self.quantizers = {id(v): quantizer for v, quantizer in getattr(layer, "quantizers", ())}

    def assign(self) -> None:
        """Fills every variable of the layer."""
        if isinstance(self.layer, keras.layers.BatchNormalization):
            values = self._batch_norm()
        elif isinstance(self.layer, keras.layers.Normalization):
            values = self._normalization()
        else:
            values = {variable.name: self._value(variable) for variable in self.layer.weights}
        for variable in self.layer.weights:
            value = values[variable.name]
            if value.shape != tuple(variable.shape):
                raise ModelFormatError(
                    f"Tensor '{self.path}/{variable.name}' must be {tuple(variable.shape)}, got "
                    f"{value.shape}. The file describes another network than it contains."
                )
            variable.assign(value)
        if isinstance(self.layer, keras.layers.Normalization):
            self.layer.finalize_state()  # recomputes its constants from the variables

    def _vector(self, name: str, default: float, size: int = 1) -> Array:
        """Returns one number per channel; passes leave out what changes nothing."""
        tensor = self._find(name)
        return np.full(size, default, np.float32) if tensor is None else _numbers(tensor).ravel()

    def _find(self, name: str) -> Tensor | None:
        return self.tensors.get(f"{self.path}/{name}")

    def _take(self, name: str) -> Tensor:
        tensor = self._find(name)
        if tensor is None:
            raise ModelFormatError(
                f"Tensor '{self.path}/{name}' is missing. The file describes another network "
                "than it contains."
            )
        return tensor

    def _value(self, variable: Any) -> Array:
        if variable.name.endswith("kernel"):
            return self._kernel(variable)
        learned = _LEARNED.get((_owner(self.layer, variable), variable.name))
        if learned is not None:
            return _shaped(np.asarray(learned(self), np.float32), variable)
        value = _numbers(self._take(variable.name))
        if variable.name == "alpha":
            # A slope that the channels share is stored once per channel.
            value = value[: variable.shape[-1]]
        return _shaped(value, variable)

    def _kernel(self, variable: Any) -> Array:
        stored = self._take(variable.name)
        depthwise = variable.name == "depthwise_kernel" or isinstance(self.layer, _DEPTHWISE)
        if isinstance(self.layer, _TRANSPOSED):
            kernel = _shaped(_numbers(stored).transpose(1, 2, 0, 3), variable)
        else:
            kernel = _keras_order(_numbers(stored), variable, depthwise=depthwise)
        quantizer = self.quantizers.get(id(variable))
        if isinstance(quantizer, nn.SteTern):
            beyond: Array = kernel * np.float32(max(1.0, quantizer.threshold_value))
            return beyond
        if isinstance(quantizer, nn.CenteredSign) and not signs(stored):
            return _centered(kernel)
        if getattr(quantizer, "bits", 32) != 1 or not signs(stored):
            return kernel
        scale = self._scale(variable, depthwise=depthwise)
        scale = np.ones(1, np.float32) if scale is None else scale[: kernel.shape[-1]]
        if isinstance(quantizer, nn.CenteredSign):
            return _centered(kernel * scale + self._vector("kernel_offset", 0.0))
        if isinstance(quantizer, (nn.LibraSign, nn.ReCU)):
            # No latent weights have these scales in general; only the gradients differ.
            argument = self.layer.kernel_quantizers[variable.name]
            quantizer = variable.quantizer = nn.MagnitudeAwareSign()
            setattr(self.layer, argument, quantizer)
        if type(quantizer) not in (*_SIGNS, *_SCALED, nn.NoOp):
            return self._latent(variable, quantizer, kernel, scale)
        scaled = isinstance(quantizer, (*_SCALED, nn.NoOp))
        return np.multiply(kernel, scale if scaled else LATENT_MAGNITUDE)

    def _latent(self, variable: Any, quantizer: Any, kernel: Array, scale: Array) -> Array:
        """Returns weights that the quantizer turns into `scale * kernel + offset`."""
        target = kernel * scale + self._vector("kernel_offset", 0.0, kernel.shape[-1])
        for latent in (kernel * np.float32(LATENT_MAGNITUDE), target.astype(np.float32)):
            value = keras.ops.convert_to_numpy(quantizer(keras.ops.convert_to_tensor(latent)))
            if np.allclose(value, target, rtol=1e-5, atol=0):
                return latent
        raise ModelFormatError(
            f"Tensor '{self.path}/{variable.name}' must have the scales of {quantizer!r}, got "
            "others. Register the quantizer that the network was converted with."
        )

    def _scale(self, variable: Any, *, depthwise: bool) -> Array | None:
        """Returns the scale per index of the last axis; depthwise ones repeat per channel."""
        names = [f"{variable.name}_scale"] + ["kernel_scale"] * (not depthwise)
        found = next((t for name in names if (t := self._find(name)) is not None), None)
        return None if found is None else _numbers(found)

    def _batch_norm(self) -> dict[str, Array]:
        layer = self.layer
        if self._find("mean") is not None:  # as from the front end
            roles = {"moving_mean": "mean", "moving_variance": "variance"}
            return {v.name: _numbers(self._take(roles.get(v.name, v.name))) for v in layer.weights}
        scale = _numbers(self._take("scale")).astype(np.float64)
        bias = _numbers(self._take("bias")).astype(np.float64)
        gamma = scale if layer.scale else np.ones_like(scale)
        # gamma / sqrt(variance + epsilon) must be the scale.
        rest = np.ones_like(scale) if layer.scale else scale
        if (rest <= 0).any():
            raise ModelFormatError(
                f"Tensor '{self.path}/scale' must be positive, as the layer has no gamma. The "
                "file describes another network than it contains."
            )
        variance = 1 / rest**2 - layer.epsilon
        beta = bias if layer.center else np.zeros_like(bias)
        divisor = np.where(scale == 0, 1, scale)
        mean = np.zeros_like(bias) if layer.center else -bias / divisor
        values = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
        return {name: value.astype(np.float32) for name, value in values.items()}

    def _normalization(self) -> dict[str, Array]:
        scale = _numbers(self._take("scale")).astype(np.float64)
        bias = _numbers(self._take("bias")).astype(np.float64)
        if (scale <= 0).any():
            raise ModelFormatError(
                f"Tensor '{self.path}/scale' must be positive, as deviations are. The file "
                "describes another network than it contains."
            )
        if self.layer.invert:
            values = {"mean": bias, "variance": scale**2}
        else:
            values = {"mean": -bias / scale, "variance": 1 / scale**2}
        shape = tuple(self.layer.adapt_mean.shape)
        found = {name: value.astype(np.float32) for name, value in values.items()}
        found = {name: value if shape else value[0] for name, value in found.items()}
        return {**found, "count": np.zeros((), np.float32)}


def _centered(kernel: Array) -> Array:
    """Returns latent weights whose `CenteredSign` is a kernel with two values per filter.

    With a fraction p of the higher value m + s, the weights are m + s sqrt((1 - p) / p) there and
    m - s sqrt(p / (1 - p)) elsewhere, which have the mean m and the deviation s.
    """
    axes = tuple(range(kernel.ndim - 1))
    high, low = (f(kernel, axis=axes).astype(np.float64) for f in (np.max, np.min))
    p = (kernel == high).mean(axis=axes)
    inner = np.clip(p, 1e-9, 1 - 1e-9)
    u = np.where(kernel == high, np.sqrt((1 - inner) / inner), -np.sqrt(inner / (1 - inner)))
    return np.where(high == low, kernel, (high + low + (high - low) * u) / 2).astype(np.float32)


def _owner(layer: Any, variable: Any) -> type:
    """Returns the class of the layer or of its input quantizer, whichever has the variable."""
    quantizer = getattr(layer, "input_quantizer", None)
    inside = any(variable is weight for weight in getattr(quantizer, "weights", ()))
    return type(quantizer) if inside else type(layer)


def _maxout(weights: _Weights, *, positive: bool) -> Array:
    """Returns the slopes of s prelu(r x), r = 1 or -1, for positive or negative x."""
    turned = weights._vector("turned_scale", 1.0)
    scale, slope = weights._vector("slope_scale", 1.0) * turned, weights._vector("alpha", 0.0)
    result: Array = np.where((turned > 0) == positive, scale, scale * slope)
    return result


def _gate(weights: _Weights) -> Array:
    share = np.clip(weights._vector("first_scale", 1.0)[:1].astype(np.float64), 1e-7, 1 - 1e-7)
    gate: Array = np.log(share) - np.log1p(-share)
    return gate


def _term_scales(weights: _Weights) -> Array:
    count = weights.layer.scale.shape[0]
    return np.stack([weights._vector(f"term{k}_scale", 1.0)[0] for k in range(count)])


def _center(weights: _Weights) -> Array:
    direction = weights._vector("input_direction", 1.0)
    return -direction[:1] * weights._vector("input_center", 0.0)[:1]


# Variables whose values the graph has in another form: (layer, variable) -> value.
_LEARNED: dict[tuple[type, str], Callable[[_Weights], Array]] = {
    (nn.AdaptiveSign, "scale"): lambda weights: weights._vector("input_scale", 1.0)[:1],
    (nn.AdaptiveSign, "center"): _center,
    (nn.ChannelMix, "mix"): lambda weights: weights._vector("first_scale", 1.0),
    (nn.Maxout, "positive_scale"): functools.partial(_maxout, positive=True),
    (nn.Maxout, "negative_scale"): functools.partial(_maxout, positive=False),
    (nn.SoftGate, "gate"): _gate,
    (WeightedSum, "scale"): _term_scales,
}


def _numbers(tensor: Tensor) -> Array:
    return np.array(numbers(tensor), np.float32)


def _keras_order(kernel: Array, variable: Any, *, depthwise: bool) -> Array:
    """Returns a kernel (c_out, h, w, c_in) in the order of a variable's axes."""
    shape = tuple(variable.shape)
    if depthwise and kernel.shape[0] == shape[-1] * shape[-2]:
        # Output channel c * multiplier + m is channel c with filter m.
        kernel = kernel.reshape(shape[-2], shape[-1], *kernel.shape[1:3]).transpose(2, 3, 0, 1)
    else:
        kernel = kernel.transpose(1, 2, 3, 0)
    # Layers over one axis have height 1 in the graph, dense layers height and width.
    return _shaped(kernel, variable)


def _shaped(value: Array, variable: Any) -> Array:
    """Returns a value in the shape of a variable, or unchanged if it does not fit."""
    shape = tuple(variable.shape)
    return value.reshape(shape) if value.size == np.prod(shape) else value


def recalibrate(model: keras.Model, images: Array) -> keras.Model:
    """Restores the statistics of batch norms from images, without changing the outputs.

    With mean m and variance v of the input, gamma * (x - m) / sqrt(v + epsilon) + beta is
    scale * x + bias if gamma = scale * sqrt(v + epsilon) and beta = bias + scale * m. Training,
    which normalizes with the statistics of each batch, then starts with the same outputs.

    Args:
        model: A model from `to_keras`; it is changed in place.
        images: A few dozen preprocessed images, `(n, h, w, c)`.

    Returns:
        The model.
    """
    steps = walk(model)
    values, _ = KerasValues(steps)(images)
    done: set[int] = set()
    for call in steps.calls:
        if isinstance(call.layer, keras.layers.BatchNormalization) and id(call.layer) not in done:
            done.add(id(call.layer))
            _recalibrate_layer(call.layer, values[call.inputs[0]])
    return model


def _recalibrate_layer(layer: Any, x: Array) -> None:
    axes = tuple(range(x.ndim - 1))
    old = {v.name: np.asarray(keras.ops.convert_to_numpy(v), np.float64) for v in layer.weights}
    scale = old.get("gamma", 1) / np.sqrt(old["moving_variance"] + layer.epsilon)
    bias = old.get("beta", 0) - scale * old["moving_mean"]
    # Without gamma the variance is the scale, and without beta the mean is the bias.
    variance = x.var(axis=axes) if layer.scale else old["moving_variance"]
    mean = x.mean(axis=axes) if layer.center else old["moving_mean"]
    new = {
        "gamma": scale * np.sqrt(variance + layer.epsilon),
        "beta": bias + scale * mean,
        "moving_mean": mean,
        "moving_variance": variance,
    }
    for variable in layer.weights:
        variable.assign(new[variable.name].astype(np.float32))
