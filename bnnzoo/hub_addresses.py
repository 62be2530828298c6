"""Networks on the Hugging Face Hub, `hf://owner/name`, and in local folders of the same layout.

A repository, or a folder, has a packed file and a card:

    model.safetensors    the packed network
    README.md            the card, whose front matter has the sha256 of the network
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import re
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from bnnzoo.download import policy
from bnnzoo.errors import ArgumentError, MissingDependencyError, WeightsError, first_line

__all__ = ["CARD", "NETWORK", "Address", "find_network", "import_hub", "is_stored", "parse_address"]

PREFIX = "hf://"
NETWORK, CARD = "model.safetensors", "README.md"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_ADDRESS = re.compile(rf"(?P<repository>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9._/-]+))?")
_DIGEST = re.compile(r"^bnnzoo:\n  sha256: '?([0-9a-f]{64})'?$", re.MULTILINE)

logger = logging.getLogger(__name__)


class Address(NamedTuple):
    """The parts of `hf://owner/name@revision`.

    Attributes:
        repository: `owner/name`.
        revision: A branch, a tag or a commit; None takes the newest commit of the main branch.
    """

    repository: str
    revision: str | None


def parse_address(address: str) -> Address:
    """Returns the parts of an address.

    Raises:
        ArgumentError: It is not one.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(PREFIX))
    if found is None or not address.startswith(PREFIX):
        raise ArgumentError(
            f"An address must be hf://owner/name or hf://owner/name@revision, got {address!r}. "
            "Correct it."
        )
    return Address(found["repository"], found["revision"])


def is_stored(source: Any) -> bool:
    """Returns whether a model argument is an address, or a folder with a packed network."""
    if not isinstance(source, (str, PathLike)):
        return False
    if isinstance(source, str) and source.startswith(PREFIX):
        return True
    try:
        return (Path(source) / NETWORK).is_file()
    except OSError:  # not a valid file name
        return False


def find_network(source: str | PathLike[str]) -> Path:
    """Returns the packed file at an address or in a folder.

    Files of the Hub are kept in its own cache (`HF_HOME`), and verified each time against the
    sha256 of the card, if that has one. `HF_ENDPOINT` names another server. With `HF_HUB_OFFLINE`
    or `BNNZOO_OFFLINE`, only the cache is used.

    Raises:
        ArgumentError: The address is not one.
        WeightsError: The file cannot be downloaded, or is not the one of the card.
        MissingDependencyError: The package `huggingface_hub` is not installed.
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        path, card = _download(source)
    else:
        path, card = Path(source) / NETWORK, Path(source) / CARD
    found = _DIGEST.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    if found is None:
        logger.warning("%s has no sha256 in its card: the file was not verified.", source)
    elif hashlib.sha256(path.read_bytes()).hexdigest() != found[1]:
        raise WeightsError(
            f"{NETWORK} of {source} must have the sha256 of its card, {found[1][:12]}…, got "
            "another file. Ask its owner to push it again."
        )
    return path


def _download(address: str) -> tuple[Path, Path]:
    repository, revision = parse_address(address)
    hub = import_hub()
    options = {"repo_id": repository, "local_files_only": policy.offline()}
    try:
        path = Path(hub.hf_hub_download(filename=NETWORK, revision=revision, **options))
        commit = path.parent.name  # the card must be of the same one
        card = hub.hf_hub_download(filename=CARD, revision=commit, **options)
    except hub.errors.EntryNotFoundError as error:
        raise WeightsError(
            f"{address} must have the files {NETWORK} and {CARD}, as `bnnzoo push` writes them: "
            f"{first_line(error)}"
        ) from error
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise WeightsError(
            f"{address} cannot be downloaded: {first_line(error)} Check the address, the network, "
            "and for a private repository `hf auth login`."
        ) from error
    logger.info("%s is %s%s@%s.", address, PREFIX, repository, commit)
    return path, Path(card)


def import_hub() -> Any:
    """Imports `huggingface_hub`.

    Raises:
        MissingDependencyError: It is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub", "hub", "for hf:// addresses") from error
