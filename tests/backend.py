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

    def total(x: Any) -> Any:
        return ops.sum(fn(x) * ops.cast(upstream, x.dtype))

    return ops.convert_to_numpy(_gradients(total, x)[0])


def layer_gradients(
    layer: keras.layers.Layer, x: Any, upstream: Any
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the gradients of sum(upstream * layer(x)): by x, and by every trainable variable."""
    upstream = ops.convert_to_tensor(upstream)
    states = [variable.value for variable in layer.non_trainable_variables]

    def total(x: Any, *values: Any) -> Any:
        return ops.sum(layer.stateless_call(values, states, x)[0] * upstream)

    values = [variable.value for variable in layer.trainable_variables]
    total = compiled(total) if keras.backend.backend() == "jax" else total
    x_gradient, *gradients = _gradients(total, ops.convert_to_tensor(x), *values)
    return ops.convert_to_numpy(x_gradient), [ops.convert_to_numpy(g) for g in gradients]


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fn` compiled by XLA on TensorFlow and JAX, as it is on torch."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(fn)
    return fn


def _gradients(total: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        arguments = tuple(tf.identity(a) for a in arguments)
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result = total(*arguments)
        return tuple(tape.gradient(result, arguments, unconnected_gradients="zero"))
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(total, argnums=tuple(range(len(arguments))))(*arguments)
    import torch

    arguments = tuple(a.detach().clone().requires_grad_() for a in arguments)
    return torch.autograd.grad(
        total(*arguments), arguments, allow_unused=True, materialize_grads=True
    )
