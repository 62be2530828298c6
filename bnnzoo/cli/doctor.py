"""`bnnzoo doctor`: shows versions, the backend, the cache and missing packages."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from bnnzoo import manifest, registry
from bnnzoo.cli.output import echo, print_json
from bnnzoo.download import policy
from bnnzoo.errors import WeightsError, installing
from bnnzoo.version import __version__
from bnnzoo.weights import cache_folder

BASE = ("numpy", "click", "pooch", "requests", "tqdm", "safetensors", "rich", "pillow")
# Package -> what needs it, and the extra that installs it.
OPTIONAL = {
    "keras": ("load, evaluate and train models", "tensorflow"),
    "tensorflow": ("run Keras on TensorFlow", "tensorflow"),
    "jax": ("run Keras on JAX", "jax"),
    "torch": ("run Keras on PyTorch", "torch"),
    "tensorflow-datasets": ("evaluate on TFDS data sets", "tfds"),
    "tensorboard": ("write training events", "train"),
    "matplotlib": ("draw confusion matrices", "plots"),
    "ai-edge-litert": ("read and write Larq Compute Engine files", "lce"),
    "onnx": ("write QONNX files", "qonnx"),
}
# Distributions that provide a package under another name.
_TENSORFLOW = ("tensorflow-cpu", "tensorflow-macos", "tf-nightly")
ALTERNATIVES = {"tensorflow": _TENSORFLOW, "ai-edge-litert": ("tensorflow", *_TENSORFLOW)}
BACKENDS = ("tensorflow", "jax", "torch")
ENVIRONMENT = (
    "BNNZOO_CACHE_DIR",
    "BNNZOO_DATA_DIR",
    "BNNZOO_OFFLINE",
    "BNNZOO_BASE_URL",
    "BNNZOO_NUM_THREADS",
    "BNNZOO_FORCE_ISA",
)


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(as_json: bool) -> int:
    """Show versions, the native engine, the Keras backend, the cache and missing packages.

    The exit code is 1 if neither Keras models nor packed files can run, or if the Keras that is
    installed cannot be used.
    """
    report = examine()
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    return 0 if report["ready"] else 1


def examine() -> dict[str, Any]:
    """Returns the findings as JSON values."""
    optional = {name: _version(name) for name in OPTIONAL}
    backend, engine = configured_backend(), _engine()
    trains = bool(optional["keras"] and backend in BACKENDS and optional[backend])
    return {
        "bnnzoo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in BASE},
        "optional": optional,
        "backend": backend,
        "engine": engine,
        "ready": trains or (engine is not None and optional["keras"] is None),
        "missing": [
            {"package": name, "purpose": purpose, "extra": extra}
            for name, (purpose, extra) in OPTIONAL.items()
            if optional[name] is None
        ],
        "cache": _cache(),
        "manifest": {
            "path": str(manifest.manifest_path()),
            "weights": len(manifest.load().weights),
        },
        "models": len(registry.list_models()),
        "environment": {
            # The URL of a mirror may contain a password.
            name: policy.shown(value) if name == "BNNZOO_BASE_URL" else value
            for name, value in os.environ.items()
            if name in ENVIRONMENT
        },
    }


def _version(package: str) -> str | None:
    for name in (package, *ALTERNATIVES.get(package, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _engine() -> dict[str, Any] | None:
    """Returns the instruction sets of the native engine, the best first; None if not built."""
    try:
        from bnnzoo.runtime import isas
    except ImportError:
        return None
    return {"isas": list(isas())}


def configured_backend() -> str:
    """Returns the backend that Keras will use, without importing Keras."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    try:
        home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
        return str(json.loads((home / "keras.json").read_text())["backend"])
    except (OSError, RuntimeError, ValueError, KeyError):  # RuntimeError: no home folder
        return "tensorflow"


def _cache() -> dict[str, Any]:
    try:
        folder = cache_folder()
    except WeightsError as error:
        return {"path": None, "writable": False, "problem": str(error)}
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    return {"path": str(folder), "writable": writable, "problem": None}


def _print_report(report: dict[str, Any]) -> None:
    def line(key: str, value: object) -> None:
        echo(f"{key:>20}  {value}")

    line("bnnzoo", f"{report['bnnzoo']}, {report['models']} models")
    line("python", f"{report['python']} on {report['platform']}")
    engine = report["engine"]
    line("native engine", "not built" if engine is None else engine["isas"][0])
    line("Keras backend", report["backend"])
    for name, found in {**report["packages"], **report["optional"]}.items():
        line(name, found or "not installed")
    cache = report["cache"]
    where = cache["path"] or cache["problem"]
    line("cache", where if cache["writable"] or cache["problem"] else f"{where} (not writable)")
    line("manifest", f"{report['manifest']['path']} ({report['manifest']['weights']} weights)")
    for name, value in report["environment"].items():
        line(name, value)
    for gap in report["missing"]:
        echo(
            f"{gap['package']} is not installed. It is needed to {gap['purpose']}. "
            f"{installing(gap['extra'])}"
        )
    if report["ready"] and report["optional"]["keras"] is None:
        echo("Ready to run packed files. For other models, install Keras and a backend.")
    elif report["ready"]:
        echo("Ready.")
    elif report["backend"] not in BACKENDS:
        known = ", ".join(BACKENDS)
        echo(f"Not ready: KERAS_BACKEND must be one of {known}, got '{report['backend']}'.")
    else:
        echo(f"Not ready: Keras or its backend {report['backend']} is not installed.")
