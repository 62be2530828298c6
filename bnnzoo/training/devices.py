"""The devices of a run, and how steps are compiled for them."""

from __future__ import annotations

import importlib
import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import keras

__all__ = ["device_names", "hardware", "jit_compile", "steps_per_call", "usable_precision"]

MAX_STEPS_PER_CALL = 50
CPU_INFO = Path("/proc/cpuinfo")
# As Linux names them: on x86-64 with AVX-512 or AMX, on aarch64.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def device_names() -> list[str]:
    """Returns the devices, as in `cpu:0`; empty if Keras does not know them."""
    try:
        return [str(name).lower() for name in keras.distribution.list_devices()]
    except NotImplementedError:  # Keras on TensorFlow, before it distributed there
        return []


def hardware() -> str:
    """Describes the hardware: `2 x NVIDIA H100 80GB HBM3`, `2 cores, x86_64`."""
    kinds = Counter(_accelerators(importlib.import_module(keras.backend.backend())))
    if kinds:
        return ", ".join(f"{n} x {kind}" if n > 1 else kind for kind, n in kinds.items())
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"{cores} core{'s' if cores > 1 else ''}, {platform.machine()}"


def _accelerators(backend: Any) -> list[str]:
    """Returns the kind of each GPU or TPU that a backend, its module, computes on."""
    if backend.__name__ == "jax":
        return [device.device_kind for device in backend.devices() if device.platform != "cpu"]
    if backend.__name__ == "torch":
        return [backend.cuda.get_device_name(i) for i in range(backend.cuda.device_count())]
    details = backend.config.experimental.get_device_details
    gpus = backend.config.list_physical_devices("GPU")
    return [details(gpu).get("device_name", gpu.name) for gpu in gpus]


def steps_per_call(steps: int) -> int:
    """Returns how many steps of an epoch one compiled call runs.

    Several are faster on a GPU or TPU, where a step takes less time than the host's work for it. On
    a CPU they are not, and the progress would rarely be updated.

    Args:
        steps: Steps per epoch; the result divides it.
    """
    if keras.backend.backend() != "jax" or _only_cpu():
        return 1
    return max(n for n in range(1, MAX_STEPS_PER_CALL + 1) if steps % n == 0)


def jit_compile() -> bool | str:
    """Returns the argument of Keras's `compile`: no XLA for TensorFlow on a CPU.

    There, XLA's convolutions are slower than TensorFlow's own, by four times in `birealnet20`.
    """
    return False if keras.backend.backend() == "tensorflow" and _only_cpu() else "auto"


def usable_precision(precision: str, cpu_info: Path = CPU_INFO) -> str:
    """Returns the precision in which the devices compute: float32 for bfloat16 that is emulated.

    A CPU without instructions for bfloat16 converts every number, which takes several times as long
    as float32. Only Linux tells; elsewhere the precision is unchanged.

    Args:
        precision: That of a recipe.
        cpu_info: The system's description of the CPU.
    """
    if precision == "float32" or not _only_cpu() or not cpu_info.is_file():
        return precision
    has_bfloat16 = not BFLOAT16_FLAGS.isdisjoint(cpu_info.read_text().split())
    return precision if has_bfloat16 else "float32"


def _only_cpu() -> bool:
    names = device_names()
    return bool(names) and all(name.startswith("cpu") for name in names)
