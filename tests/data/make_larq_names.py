"""Writes larq_names.json: every public name of Larq and Larq Zoo, which docs/from_larq.md covers.

Runs in the peer's environment, once (Python 3.11):
    pip install larq-zoo==2.4.0 larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_names.py

`names` has what is reached from the packages through `__all__`, and what their modules define
without an underscore; `unlisted` are those of `names` that no `__all__` has. `strings` has the
names that Larq registers with Keras, so that they can be written instead of objects. `tasks` has
the commands of `lqz`.
"""

import inspect
import json
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import tensorflow as tf

BEFORE = set(tf.keras.utils.get_custom_objects())

import larq  # noqa: E402
import larq_zoo  # noqa: E402

EXPERIMENTS = ("basic_experiments", "multi_stage_experiments", "sota_experiments")


def members(module: ModuleType) -> Iterator[tuple[str, object, bool]]:
    """Yields name, value, and whether `__all__` has it, of what a module shows."""
    listed = getattr(module, "__all__", None)
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        if (own or name in (listed or ())) and not isinstance(value, TypeVar):
            yield name, value, listed is None or name in listed


def paths(module: ModuleType, path: str) -> Iterator[tuple[str, bool]]:
    """Yields `path.name` and whether `__all__` has it, through the modules among the members."""
    for name, value, listed in members(module):
        if inspect.ismodule(value):
            yield from paths(value, f"{path}.{name}")
            continue
        yield f"{path}.{name}", listed
        for key, method in vars(value).items() if inspect.isclass(value) else ():
            if isinstance(method, staticmethod) and not key.startswith("_"):
                yield f"{path}.{name}.{key}", listed


def tasks() -> list[str]:
    """Returns the commands of Larq Zoo's `lqz`."""
    modules = [import_module(f"larq_zoo.training.{name}") for name in EXPERIMENTS]
    return sorted(name for m in modules for name, *_ in members(m) if name.startswith("Train"))


def main() -> None:
    names = {**dict(paths(larq, "larq")), **dict(paths(larq_zoo, "larq_zoo"))}
    versions = {name: metadata.version(name) for name in ("larq", "larq-zoo", "tensorflow-cpu")}
    strings = sorted(set(tf.keras.utils.get_custom_objects()) - BEFORE)
    value = {
        "versions": versions,
        "names": sorted(names),
        "unlisted": sorted(name for name, listed in names.items() if not listed),
        "strings": strings,
        "tasks": tasks(),
    }
    path = Path(__file__).with_name("larq_names.json")
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
