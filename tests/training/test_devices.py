"""What a run says that it was trained on."""

from __future__ import annotations

import os
import platform
from types import SimpleNamespace

import pytest

from bnnzoo.training import devices

H100 = "NVIDIA H100 80GB HBM3"


def jax(*kinds):
    found = [SimpleNamespace(platform="gpu", device_kind=kind) for kind in kinds]
    host = SimpleNamespace(platform="cpu", device_kind="cpu")
    return SimpleNamespace(__name__="jax", devices=lambda: found or [host])


def tensorflow(*kinds):
    gpus = [SimpleNamespace(name=f"/physical_device:GPU:{i}") for i in range(len(kinds))]
    details = {gpu.name: {"device_name": kind} for gpu, kind in zip(gpus, kinds, strict=True)}
    experimental = SimpleNamespace(get_device_details=lambda gpu: details[gpu.name])
    config = SimpleNamespace(experimental=experimental, list_physical_devices=lambda kind: gpus)
    return SimpleNamespace(__name__="tensorflow", config=config)


def torch(*kinds):
    cuda = SimpleNamespace(device_count=lambda: len(kinds), get_device_name=kinds.__getitem__)
    return SimpleNamespace(__name__="torch", cuda=cuda)


@pytest.mark.parametrize("backend", [jax, tensorflow, torch], ids=lambda backend: backend.__name__)
@pytest.mark.parametrize(
    "kinds, text",
    [((H100,), H100), ((H100, H100), f"2 x {H100}"), ((), None), (("A", "B", "A"), "2 x A, B")],
)
def test_accelerators_have_names(backend, kinds, text, monkeypatch):
    monkeypatch.setattr(devices.importlib, "import_module", lambda name: backend(*kinds))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{cores} core{'s' * (cores > 1)}, {platform.machine()}"
    assert devices.hardware() == (text or cpu)


def test_the_backend_of_this_machine_answers():
    assert devices.hardware()


@pytest.mark.parametrize(
    "flags, precision",
    [
        ("flags : fpu avx2 avx512f", "float32"),
        ("flags : fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("flags : fpu amx_tile amx_bf16 amx_int8", "mixed_bfloat16"),
        ("Features : fp asimd", "float32"),
        ("Features : fp asimd bf16 i8mm", "mixed_bfloat16"),
    ],
)
def test_a_cpu_that_emulates_bfloat16_computes_in_float32(tmp_path, flags, precision):
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor : 0\n{flags}\n")
    assert devices.usable_precision("mixed_bfloat16", cpu_info) == precision
    assert devices.usable_precision("float32", cpu_info) == "float32"
    assert devices.usable_precision("mixed_bfloat16", tmp_path / "none") == "mixed_bfloat16"
