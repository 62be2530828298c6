"""Writes records into `weights_manifest.json`: the inverse of `bnnzoo.manifest`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnnzoo import manifest
from bnnzoo.manifest import WeightsRecord

__all__ = ["record_to_dict", "with_record"]


# The order of fields for readers; other fields follow.
_FIRST = (
    *("architecture", "tag", "default", "arguments", "size"),
    *("dataset", "n", "top1", "top5"),
    *("role", "url", "path", "sha256", "bytes", "max_bytes"),
)


def record_to_dict(record: WeightsRecord) -> dict[str, Any]:
    """Returns a record as the JSON value that `manifest.parse` reads; empty fields are left out."""
    fields = _known(dataclasses.asdict(record))
    fields["files"] = [_known(vars(file)) for file in record.files]
    fields["metrics"] = [_known(vars(metric)) for metric in record.metrics]
    return fields


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    keys = [*(key for key in _FIRST if key in fields), *fields]
    known = {key: fields[key] for key in keys if fields[key] not in (None, (), {})}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}


def with_record(path: Path, record: WeightsRecord) -> str:
    """Returns the text of a manifest with a record added or replaced, in order of names.

    A new default replaces the previous default of its architecture.

    Raises:
        ManifestError: The result would break the schema.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    if record.default:
        for other in value["weights"].values():
            other["default"] &= other["architecture"] != record.architecture
    value["weights"][record.name] = record_to_dict(record)
    value["weights"] = dict(sorted(value["weights"].items()))
    manifest.parse(value, source=path.name)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
