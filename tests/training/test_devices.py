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
