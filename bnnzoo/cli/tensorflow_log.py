"""Drops what TensorFlow logs on standard error while it is imported.

It reports the processor and missing GPUs there, before `TF_CPP_MIN_LOG_LEVEL` applies.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bnnzoo.cli.output import is_verbose

__all__ = ["drop_tensorflow_log"]

_DROPPED = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|"
    rb"[IW]\d{4} |E\d{4} .*cu(da|Init|FFT|DNN|BLAS)|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IW] "
)


def drop_tensorflow_log() -> None:
    """Drops the log of the import, unless `-v` is given when it starts."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != "tensorflow" or is_verbose():
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _filtered_stderr():
            self._loader.exec_module(module)
            module.config.list_physical_devices()  # looks for GPUs, which it logs too


@contextlib.contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Holds back what is written to file 2, then writes the lines that are not dropped."""
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not _DROPPED.match(line)))
