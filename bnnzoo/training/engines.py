"""Chooses the engine that trains a phase: the native one or Keras."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from bnnzoo.errors import ArgumentError, did_you_mean
from bnnzoo.training.devices import device_names
from bnnzoo.training.distributed.distribution import Group
from bnnzoo.training.recipes.schema import Phase

__all__ = ["ENGINES", "check_engine", "native_engine"]

logger = logging.getLogger(__name__)

ENGINES = ("auto", "native", "keras")


def check_engine(engine: str) -> None:
    """Checks the name of an engine.

    Raises:
        ArgumentError: It is unknown.
    """
    if engine not in ENGINES:
        hint = did_you_mean(engine, ENGINES)
        raise ArgumentError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.{hint}")


def native_engine(
    engine: str,
    network: Any,
    optimizer: Any,
    phase: Phase,
    batch_size: int,
    teacher: Any,
    group: Group,
) -> Any:
    """Returns the native engine for a phase, or None for Keras.

    Args:
        engine: `native`, `keras`, or `auto`: native on a CPU, if it knows the network. Otherwise
            the log says why it is Keras.
        network: The network to train.
        optimizer: Its built optimizer.
        phase: The phase.
        batch_size: Images per step.
        teacher: A network that is not trained, for the objective, or None.
        group: The processes of the run.

    Raises:
        ArgumentError: The engine must be native, but cannot train the phase.
    """
    if engine == "keras":
        return None
    reason = _other_device(group)
    if reason is None:
        reason = "the extension is not built."
        try:
            native = importlib.import_module("bnnzoo.training.native.engine")
        except ImportError:
            native = None
        if native is not None:
            try:
                return native.NativeEngine(network, optimizer, phase, batch_size, teacher)
            except native.NotNativeError as error:
                reason = str(error)
    elif engine == "auto":
        return None
    if engine == "native":
        raise ArgumentError(f"engine must be keras here: {reason}")
    logger.warning("Training with Keras, not natively: %s", reason)
    return None


def _other_device(group: Group) -> str | None:
    """Returns why the run is not for the native engine, which is for one process on a CPU."""
    if group.devices > 1:
        return "there are several devices."
    if not all(name.startswith("cpu") for name in device_names()):
        return "there is a GPU or TPU."
    return None
