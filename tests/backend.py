"""What the backends spell differently: gradients and compilation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def evaluate(layer: Callable[[Any], Any], x: Any) -> np.ndarray:
    """Returns layer(x); compiled on JAX, where every small operation would compile by itself."""
    if isinstance(layer, keras.layers.Layer) and not layer.built:
        layer.build(x.shape)
    run = compiled(layer) if keras.backend.backend() == "jax" else layer
    return ops.convert_to_numpy(run(x))


def gradient(fn: Callable[[Any], Any], x: Any, upstream: Any = 1.0) -> np.ndarray:
    """Returns the gradient of sum(upstream * fn(x)) by x, in the dtype of `x`."""
    x = ops.convert_to_tensor(x)

    def total(x: Any) -> tuple[Any, Any]:
        return ops.sum(fn(x) * ops.cast(upstream, x.dtype)), x

    return ops.convert_to_numpy(_value_and_gradients(total, x)[1][0])


def layer_gradients(
    layer: keras.layers.Layer, x: Any, upstream: Any
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Returns layer(x) and the gradients of sum(upstream * layer(x)): by x, by each variable."""
    upstream = ops.convert_to_tensor(upstream)
    states = [variable.value for variable in layer.non_trainable_variables]

    def total(x: Any, *values: Any) -> tuple[Any, Any]:
        y = layer.stateless_call(values, states, x)[0]
        return ops.sum(y * upstream), y

    values = [variable.value for variable in layer.trainable_variables]
    total = compiled(total) if keras.backend.backend() == "jax" else total
    y, gradients = _value_and_gradients(total, ops.convert_to_tensor(x), *values)
    dx, *dw = map(ops.convert_to_numpy, gradients)
    return ops.convert_to_numpy(y), dx, dw


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fn` compiled by XLA on TensorFlow and JAX, as it is on torch."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(fn)
    return fn


def _value_and_gradients(total: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """Returns the second of the two results of `total`, and the gradients of the first."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        arguments = tuple(tf.identity(a) for a in arguments)
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result, value = total(*arguments)
        return value, tape.gradient(result, arguments, unconnected_gradients="zero")
    if keras.backend.backend() == "jax":
        import jax

        every = tuple(range(len(arguments)))
        gradients, value = jax.grad(total, argnums=every, has_aux=True)(*arguments)
        return value, gradients
    import torch

    arguments = tuple(a.detach().clone().requires_grad_() for a in arguments)
    result, value = total(*arguments)
    gradients = torch.autograd.grad(result, arguments, allow_unused=True, materialize_grads=True)
    return value, gradients
