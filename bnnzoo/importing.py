"""Imports a PyTorch checkpoint: reads it, assigns it to the model, and writes a file of bnnzoo."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.checkpoints.assigning import Assigned, Assignment, assign, names_of
from bnnzoo.conversion import convert
from bnnzoo.errors import ArgumentError
from bnnzoo.loading import load
from bnnzoo.registry import resolve
from bnnzoo.snapshot import Snapshot

if TYPE_CHECKING:
    from bnnzoo.data.labels import Labels
    from bnnzoo.data.preprocessing import Preprocessing

__all__ = ["ImportReport", "import_weights"]

PACKED, KERAS = ".safetensors", ".weights.h5"


@dataclass(frozen=True)
class ImportReport:
    """What was read from a checkpoint, and what was written.

    Attributes:
        model: The architecture.
        sha256: Digest of the checkpoint.
        key: Key of the weights in the checkpoint. None if the checkpoint is the state dict itself.
        prefix: The prefix that was removed from every name.
        assignments: Each tensor, and the weight that it was assigned to.
        unused: Names of tensors that the network does not use.
        path: The file that was written.
    """

    model: str
    sha256: str
    key: str | None
    prefix: str
    assignments: tuple[Assignment, ...]
    unused: tuple[str, ...]
    path: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return dataclasses.asdict(self)


def import_weights(
    weights: str | PathLike[str],
    name: str,
    path: str | PathLike[str],
    *,
    key: str | None = None,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    preprocessing: str | Preprocessing | None = None,
    labels: Labels | None = None,
    force: bool = False,
) -> ImportReport:
    """Converts a PyTorch checkpoint to a packed file or to a Keras weight file.

        bnnzoo.import_weights("model.pth", "adabin_resnet20", "adabin.safetensors")

    PyTorch is not needed, and no code in the checkpoint is executed. To get the model instead of a
    file, use `load(name, weights="model.pth")`.

    Args:
        weights: The checkpoint, written by `torch.save`.
        name: Architecture of the checkpoint. The authors' names of its weights must be known.
        path: The file to write: `.safetensors`, which `convert` writes after its checks, or
            `.weights.h5`, which has the latent weights.
        key: Key of the weights in the checkpoint, if it has several networks. By default, averaged
            weights (such as `model_ema`) come before others (such as `state_dict`).
        num_classes: See `load`.
        input_shape: See `load`.
        preprocessing: See `convert`; for `.safetensors` only.
        labels: See `convert`; for `.safetensors` only.
        force: Overwrite the file.

    Raises:
        WeightsError: The checkpoint is damaged, uses a name that tensors do not need, or does not
            fit the architecture.
        BnnZooError: See `load` and `convert`.
    """
    path, checkpoint = Path(path), Snapshot.of(weights)
    architecture = resolve(name).architecture
    names = names_of(architecture)
    packed = path.suffix == PACKED
    if not packed and not path.name.endswith(KERAS):
        raise ArgumentError(f"path must end in {PACKED} or {KERAS}, got {path}. Rename it.")
    if not packed and (preprocessing is not None or labels is not None):
        raise ArgumentError(
            f"preprocessing and labels require a {PACKED} file, got {path}. Leave them out."
        )
    check_writable(path, force, [weights])
    model = load(name, num_classes=num_classes, input_shape=input_shape)
    assigned = assign(model, checkpoint, names, key)
    if packed:
        convert(model, path, preprocessing=preprocessing, labels=labels, force=force)
    else:
        _write(model, path)
    return _report(architecture, assigned, path)


def _write(model: Any, path: Path) -> None:
    """Writes the weights of a Keras model atomically."""
    with tempfile.TemporaryDirectory(prefix="bnnzoo-") as folder:
        file = Path(folder) / f"model{KERAS}"
        model.save_weights(file)
        write_file(path, file.read_bytes())


def _report(architecture: str, assigned: Assigned, path: Path) -> ImportReport:
    state = assigned.state
    return ImportReport(
        model=architecture,
        sha256=state.sha256,
        key=state.key,
        prefix=state.prefix,
        assignments=assigned.assignments,
        unused=assigned.unused,
        path=fspath(path),
    )
