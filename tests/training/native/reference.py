"""A network and its gradients in NumPy, in float64: layer by layer, from the formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bnnzoo import nn
from bnnzoo.architectures.adabin import PadChannels
from bnnzoo.keras_bridge.from_keras.walking import walk
from tests.nn.quantizers.formulas import FORMULAS

Backward = Callable[[np.ndarray], list[np.ndarray]]


class Reference:
    """Computes logits and, from the gradient of these, that of every variable.

    Args:
        model: A Keras network that ends in a softmax.
    """

    def __init__(self, model: Any) -> None:
        self.walk = walk(model)
        self.gradients: dict[int, np.ndarray] = {}  # by id of the variable
        self.statistics: dict[int, np.ndarray] = {}  # batch mean and variance
        self.penalty = 0.0  # of the regularizers
        self.smallest = np.inf  # distance of an input of a sign from 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.values, self.tape = [x.astype(np.float64)], []
        for call in self.walk.calls[:-1]:
            inputs = [self.values[i] for i in call.inputs]
            value, backward = getattr(self, type(call.layer).__name__.lower())(call.layer, *inputs)
            self.values.append(value)
            self.tape.append((call, backward))
        return self.values[-1]

    def backward(self, upstream: np.ndarray) -> None:
        gradients = [np.zeros_like(value) for value in self.values]
        gradients[-1] = upstream
        for number, (call, backward) in reversed(list(enumerate(self.tape, start=1))):
            for i, gradient in zip(call.inputs, backward(gradients[number]), strict=True):
                gradients[i] = gradients[i] + gradient

    def _add(self, variable: Any, gradient: np.ndarray) -> None:
        self.gradients[id(variable)] = gradient.reshape(variable.shape)

    # Functions

    def function(self, function: Any, x: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
        if function is None or function is keras.activations.linear:
            return x, lambda g: g
        if function is nn.hard_tanh:
            return np.clip(x, -1, 1), lambda g: g * (np.abs(x) <= 1)
        if function is keras.activations.relu:
            return np.maximum(x, 0), lambda g: g * (x > 0)
        if isinstance(function, nn.AdaptiveSign):
            return self.adaptive_sign(function, x)
        self.smallest = min(self.smallest, np.abs(x).min())
        formula = formula_of(function)
        return formula.value(x), lambda g: formula.gradient(x, g)

    def adaptive_sign(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
        scale, center = float(layer.scale), float(layer.center)
        z = (x - center) / scale
        s, slope = np.where(z < 0, -1.0, 1.0), np.maximum(2 - 2 * np.abs(z), 0)

        def backward(g: np.ndarray) -> np.ndarray:
            self._add(layer.scale, np.sum(g * (s + center - slope * z)))
            self._add(layer.center, np.sum(g * (scale - slope)))
            return g * slope

        return scale * (s + center), backward

    # Layers

    def conv2d(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        y, through_input = self.function(getattr(layer, "input_quantizer", None), x)
        latent = np.array(layer.kernel, np.float64)
        quantizer = getattr(layer, "kernel_quantizer", None)
        formula = None if quantizer is None else formula_of(quantizer)
        kernel = latent if formula is None else formula.value(latent)
        z, through_convolution = convolution(layer, y, kernel)
        if layer.use_bias:
            z = z + np.array(layer.bias, np.float64)
        z, through_activation = self.function(layer.activation, z)
        l2 = 0.0 if layer.kernel_regularizer is None else float(layer.kernel_regularizer.l2)
        self.penalty += l2 * np.sum(latent**2)

        def backward(g: np.ndarray) -> list[np.ndarray]:
            g = through_activation(g)
            if layer.use_bias:
                self._add(layer.bias, g.sum(axis=(0, 1, 2)))
            dy, dkernel = through_convolution(g)
            through_kernel = formula.gradient(latent, dkernel) if formula else dkernel
            self._add(layer.kernel, through_kernel + 2 * l2 * latent)
            return [through_input(dy)]

        return z, backward

    quantconv2d = conv2d

    def dense(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        y, through_input = self.function(getattr(layer, "input_quantizer", None), x)
        latent = np.array(layer.kernel, np.float64)
        quantizer = getattr(layer, "kernel_quantizer", None)
        formula = None if quantizer is None else formula_of(quantizer)
        kernel = latent if formula is None else formula.value(latent)
        bias = np.array(layer.bias, np.float64) if layer.use_bias else 0.0

        def backward(g: np.ndarray) -> list[np.ndarray]:
            if layer.use_bias:
                self._add(layer.bias, g.sum(axis=0))
            dkernel = y.T @ g
            self._add(layer.kernel, formula.gradient(latent, dkernel) if formula else dkernel)
            return [through_input(g @ kernel.T)]

        return y @ kernel + bias, backward

    quantdense = dense

    def batchnormalization(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        axes = tuple(range(x.ndim - 1))
        n = x[..., 0].size
        mean, variance = x.mean(axis=axes), x.var(axis=axes)
        for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            before = np.array(moving, np.float64)
            self.statistics[id(moving)] = before * layer.momentum + now * (1 - layer.momentum)
        deviation = np.sqrt(variance + layer.epsilon)
        normal = (x - mean) / deviation
        gamma, beta = np.array(layer.gamma, np.float64), np.array(layer.beta, np.float64)

        def backward(g: np.ndarray) -> list[np.ndarray]:
            dgamma, dbeta = (g * normal).sum(axis=axes), g.sum(axis=axes)
            self._add(layer.gamma, dgamma)
            self._add(layer.beta, dbeta)
            return [gamma / deviation * (g - dbeta / n - normal * dgamma / n)]

        return gamma * normal + beta, backward

    def _slopes(self, x: np.ndarray, **variables: Any) -> tuple[np.ndarray, Backward]:
        channels = x.shape[-1]
        usual = {"shift": 0.0, "positive": 1.0, "negative": 1.0, "offset": 0.0}
        shift, positive, negative, offset = (
            np.resize(np.array(variables.get(name, otherwise), np.float64), channels)
            for name, otherwise in usual.items()
        )
        z = x + shift
        slope = np.where(z >= 0, positive, negative)

        def backward(g: np.ndarray) -> list[np.ndarray]:
            terms = {
                "shift": slope * g, "positive": g * z * (z >= 0), "negative": g * z * (z < 0),
                "offset": g,
            }  # fmt: skip
            for name, variable in variables.items():
                self._add(variable, terms[name].reshape(-1, channels).sum(axis=0))
            return [slope * g]

        return slope * z + offset, backward

    def prelu(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._slopes(x, negative=layer.alpha)

    def rprelu(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._slopes(
            x, shift=layer.input_shift, negative=layer.alpha, offset=layer.output_shift
        )

    def maxout(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._slopes(x, positive=layer.positive_scale, negative=layer.negative_scale)

    def learnableshift(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._slopes(x, shift=layer.shift)

    def relu(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return np.maximum(x, 0), lambda g: [g * (x > 0)]

    def activation(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        value, backward = self.function(layer.activation, x)
        return value, lambda g: [backward(g)]

    def add(self, layer: Any, *inputs: np.ndarray) -> tuple[np.ndarray, Backward]:
        return sum(inputs), lambda g: [g for _ in inputs]  # type: ignore[return-value]

    def concatenate(self, layer: Any, *inputs: np.ndarray) -> tuple[np.ndarray, Backward]:
        ends = np.cumsum([x.shape[-1] for x in inputs])[:-1]
        return np.concatenate(inputs, axis=-1), lambda g: np.split(g, ends, axis=-1)

    def flatten(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x.reshape(len(x), -1), lambda g: [g.reshape(x.shape)]

    def zeropadding2d(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        (top, bottom), (left, right) = layer.padding
        _, h, w, _ = x.shape
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        return padded, lambda g: [g[:, top : top + h, left : left + w]]

    def padchannels(self, layer: PadChannels, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        n, c = layer.channels, x.shape[-1]
        return np.pad(x, ((0, 0),) * 3 + ((n, n),)), lambda g: [g[..., n : n + c]]

    def globalaveragepooling2d(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        pixels = x.shape[1] * x.shape[2]
        spread = np.ones_like(x) / pixels
        return x.mean(axis=(1, 2)), lambda g: [spread * g[:, None, None]]

    def _pool(self, layer: Any, x: np.ndarray, *, maximum: bool) -> tuple[np.ndarray, Backward]:
        borders = borders_of(layer, x.shape[1:3], layer.pool_size)
        framed = np.pad(x, ((0, 0), *borders, (0, 0)), constant_values=np.nan)
        places = list(taps(framed, layer.pool_size, layer.strides))
        windows = np.stack([framed[place] for place in places])
        inside = ~np.isnan(windows)
        if maximum:
            first = np.argmax(np.where(inside, windows, -np.inf), axis=0)
            shares = (np.arange(len(windows))[:, None, None, None, None] == first) * 1.0
        else:
            shares = inside / inside.sum(axis=0)

        def backward(g: np.ndarray) -> list[np.ndarray]:
            dx = np.zeros_like(framed)
            for place, share in zip(places, shares, strict=True):
                dx[place] += share * g
            return [unframed(dx, borders)]

        return (shares * np.where(inside, windows, 0)).sum(axis=0), backward

    def maxpooling2d(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._pool(layer, x, maximum=True)

    def averagepooling2d(self, layer: Any, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self._pool(layer, x, maximum=False)


def formula_of(quantizer: Any) -> Any:
    """Returns the restated formula of a quantizer that has the same settings."""
    return next(f for f in FORMULAS.values() if f.quantizer == quantizer)


def borders_of(layer: Any, sizes: Any, windows: Any) -> list[tuple[int, int]]:
    """Returns the borders before and after both axes."""
    if layer.padding == "valid":
        return [(0, 0), (0, 0)]
    if layer.padding != "same":
        return list(layer.padding)
    borders = []
    for size, window, stride in zip(sizes, windows, layer.strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        borders.append((total // 2, total - total // 2))
    return borders


def taps(framed: np.ndarray, window: Any, strides: Any) -> Any:
    """Yields, for each place in a window, the index of what all windows have there."""
    rows, columns = (
        (size - width) // stride + 1
        for size, width, stride in zip(framed.shape[1:3], window, strides, strict=True)
    )
    for y, x in itertools.product(range(window[0]), range(window[1])):
        down = slice(y, y + (rows - 1) * strides[0] + 1, strides[0])
        along = slice(x, x + (columns - 1) * strides[1] + 1, strides[1])
        yield slice(None), down, along


def unframed(x: np.ndarray, borders: list[tuple[int, int]]) -> np.ndarray:
    (top, bottom), (left, right) = borders
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def convolution(layer: Any, x: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, Any]:
    """Returns the convolution, and its gradients of the input and of the kernel."""
    borders = borders_of(layer, x.shape[1:3], layer.kernel_size)
    border = getattr(layer, "pad_values", 0.0)
    framed = np.pad(x, ((0, 0), *borders, (0, 0)), constant_values=border)
    places = list(taps(framed, layer.kernel_size, layer.strides))
    weights = kernel.reshape(-1, *kernel.shape[2:])

    def backward(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx = np.zeros_like(framed)
        for place, w in zip(places, weights, strict=True):
            dx[place] += g @ w.T
        dkernel = [np.einsum("nhwi,nhwo->io", framed[place], g) for place in places]
        return unframed(dx, borders), np.stack(dkernel).reshape(kernel.shape)

    return sum(framed[p] @ w for p, w in zip(places, weights, strict=True)), backward


def cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[float, Any]:
    """Returns the mean loss and its gradient."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    classes = logits.shape[1]
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    return -(targets * log).sum(axis=1).mean(), (np.exp(log) - targets) / len(logits)
