"""What is computed on, and how a step is best compiled for it."""

from __future__ import annotations

import keras

__all__ = ["device_names", "jit_compile", "steps_per_call"]

MOST_STEPS_PER_CALL = 50


def device_names() -> list[str]:
    """Returns the devices, as in `cpu:0`; none where Keras cannot tell."""
    try:
        return [str(name).lower() for name in keras.distribution.list_devices()]
    except NotImplementedError:  # Keras on TensorFlow, before it distributed there
        return []


def steps_per_call(steps: int) -> int:
    """Returns how many steps of an epoch one compiled call takes.

    More than one pays on a GPU or TPU, where a step is shorter than the work of the host around it.
    A processor gains nothing and its progress would stand still.

    Args:
        steps: Steps of an epoch; the result divides them.
    """
    if keras.backend.backend() != "jax" or _only_cpu():
        return 1
    return max(n for n in range(1, MOST_STEPS_PER_CALL + 1) if steps % n == 0)


def jit_compile() -> bool | str:
    """Returns Keras's argument of `compile`: no XLA for TensorFlow on a processor.

    Its convolutions are slower there than TensorFlow's own: four times in `birealnet20`.
    """
    return False if keras.backend.backend() == "tensorflow" and _only_cpu() else "auto"


def _only_cpu() -> bool:
    names = device_names()
    return bool(names) and all(name.startswith("cpu") for name in names)
