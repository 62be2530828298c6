"""`push(source, address)`: puts a packed network with a card on the Hub."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo import manifest, registry, weights
from bnnzoo.conversion import convert
from bnnzoo.errors import ArgumentError, BnnZooError, DataError, first_line
from bnnzoo.formats import packed
from bnnzoo.hub.cards import Score, card
from bnnzoo.hub_addresses import CARD, NETWORK, import_hub, parse_address
from bnnzoo.model_source import resolve_model
from bnnzoo.snapshot import Snapshot

__all__ = ["Push", "push"]


@dataclass(frozen=True)
class Push:
    """What was, or would be, pushed.

    Attributes:
        address: `hf://owner/name@commit`, or without a commit in a dry run.
        url: Web page of the commit; None in a dry run.
        sha256: Digest of the packed file.
        bytes: Its size.
        card: Text of the card.
    """

    address: str
    url: str | None
    sha256: str
    bytes: int
    card: str


def push(
    source: str | PathLike[str],
    address: str,
    *,
    private: bool = False,
    message: str | None = None,
    dry_run: bool = False,
) -> Push:
    """Pushes a network to the Hugging Face Hub: the packed file, and a card.

        bnnzoo.push("runs/mlp", "hf://me/mlp")

    The repository is created if there is none. `hf auth login`, or `HF_TOKEN`, provides the token.

    Args:
        source: The folder of a finished run, whose network is packed; a packed file; or `name` or
            `name.tag` in the zoo with a packed file.
        address: `hf://owner/name`, or `hf://owner/name@branch`.
        private: Create a private repository.
        message: Message of the commit.
        dry_run: Do everything except push.

    Raises:
        ArgumentError: The address or the source is not one.
        BnnZooError: The network cannot be packed, or the Hub refuses it.
        MissingDependencyError: The package `huggingface_hub` is not installed.
    """
    repository, branch = parse_address(address)
    hub = import_hub()
    file, scores = _content(source)
    found, digest = packed.from_bytes(file.read_bytes()), file.sha256
    text = card(found, digest, repository, scores)
    size = len(file.read_bytes())
    if dry_run:
        return Push(address, None, digest, size, text)
    operations = [
        hub.CommitOperationAdd(path_in_repo=NETWORK, path_or_fileobj=file.read_bytes()),
        hub.CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=text.encode()),
    ]
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository,
            operations,
            commit_message=message or f"Add {found.info.name}, packed by bnnzoo",
            revision=branch,
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise BnnZooError(
            f"{address} cannot be pushed to: {first_line(error)} Check the name and, with `hf auth "
            "whoami`, that you may write there."
        ) from error
    return Push(f"hf://{repository}@{commit.oid}", commit.commit_url, digest, size, text)


def _content(source: str | PathLike[str]) -> tuple[Snapshot, Sequence[Score]]:
    """Returns the packed file of a source and its accuracies."""
    if Path(source).is_dir():
        return _of_run(Path(source))
    found = resolve_model(source)
    if found.kind == "packed" and found.path is not None:
        return found.path, ()
    if found.kind != "name":
        raise ArgumentError(
            f"source must be a packed file, the folder of a run, or a name, got {source}. Convert "
            f"it first: bnnzoo convert {source} NETWORK.safetensors"
        )
    record = registry.pretrained_record(str(found.value))
    file = record.file("packed")
    if file is None:
        raise ArgumentError(
            f"{record.name} must have a packed file to be pushed. Convert it first: bnnzoo convert "
            f"{record.name} NETWORK.safetensors"
        )
    return weights.fetch(file, name=record.name), [_score(metric) for metric in record.metrics]


def _score(metric: manifest.Metric) -> Score:
    return Score(metric.dataset, metric.n, "top-1", metric.top1, metric.command)


def _of_run(folder: Path) -> tuple[Snapshot, Sequence[Score]]:
    """Packs the network of a finished run."""
    model, report = folder / "model.keras", folder / "report.json"
    if not (model.is_file() and report.is_file()):
        raise ArgumentError(
            f"{folder} must be the folder of a finished run, with model.keras and report.json. "
            "Train to the end first."
        )
    try:
        measured: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))["evaluation"]
        metric = "mean IoU" if "mean_iou" in measured else "top-1"
        value = float(measured["mean_iou" if metric == "mean IoU" else "top1"])
        score = Score(str(measured["dataset"]), int(measured["n"]), metric, value, None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{report} is not a report: {first_line(error)}. Train again.") from error
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / NETWORK
        convert(model, path)
        return Snapshot.holding(path, path.read_bytes()), [score]
