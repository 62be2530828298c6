"""The destination of a publication: files of a source tree, written atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from bnnzoo import manifest
from bnnzoo.atomic import replacing
from bnnzoo.download import policy
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.manifest import WeightsFile, WeightsRecord
from bnnzoo.publishing.manifest_file import with_record

__all__ = ["MAX_BYTES", "SUFFIXES", "Destination", "find_destination"]

# Limit of one file inside the package; a test limits all of them together to 20 MB.
MAX_BYTES = 3_000_000
SHIPPED = "pretrained"
SUFFIX = ".safetensors"
# Of a weight file, by its role.
SUFFIXES = {"full": ".weights.h5", "packed": SUFFIX}
FORMATS = {"full": "keras_h5", "packed": "bnnzoo-packed/1"}


@dataclass(frozen=True)
class Destination:
    """A source tree, and optionally a folder for the files to download.

    Attributes:
        root: The source tree.
        url: URL of the packed file, next to which the file of latent weights will be; None for
            files that are shipped with the package.
        out: With `url`, the folder to which they are written.
    """

    root: Path
    url: str | None
    out: Path | None

    def weights_path(self, name: str, role: str) -> Path:
        """Returns the path to which a weight file is written."""
        return (self.out or self._shipped) / f"{name}{SUFFIXES[role]}"

    def log_name(self, name: str) -> str:
        """Returns the name of the log inside the package."""
        return f"{SHIPPED}/{name}.log.csv"

    @property
    def _shipped(self) -> Path:
        return self.root / "bnnzoo" / SHIPPED

    def check(self, name: str, roles: Iterable[str], *, force: bool) -> None:
        """Raises if the record or a file already exists.

        Raises:
            ArgumentError: The name or a file already exists, and `force` is false.
        """
        if force:
            return
        hint = "Replace it with --force, or name another --tag."
        if name in manifest.load().weights:
            raise ArgumentError(f"{name} is already in the manifest. {hint}")
        for path in (self.weights_path(name, role) for role in roles):
            if path.exists():
                raise ArgumentError(f"{path} already exists. {hint}")

    def check_size(self, role: str, size: int) -> None:
        """Raises if a file is too large for the package.

        Raises:
            ArgumentError: The file is too large.
        """
        if self.url is None and size > MAX_BYTES:
            raise ArgumentError(
                f"The {role} file inside the package must be at most {MAX_BYTES:,} bytes, got "
                f"{size:,}. Give --out FOLDER, and the --url that you will put it at."
            )

    def file(self, name: str, role: str, content: bytes) -> WeightsFile:
        """Returns the manifest entry of a weight file."""
        suffix = SUFFIXES[role]
        return WeightsFile(
            role=role,
            sha256=hashlib.sha256(content).hexdigest(),
            format=FORMATS[role],
            url=() if self.url is None else (self.url.removesuffix(SUFFIX) + suffix,),
            path=f"{SHIPPED}/{name}{suffix}" if self.url is None else None,
            bytes=len(content),
        )

    def write(
        self, record: WeightsRecord, contents: dict[str, bytes], log: str
    ) -> tuple[Path, ...]:
        """Writes weights, log and manifest, and removes the shipped files that they replace.

        Raises:
            BnnZooError: A file cannot be written; then no file is.
        """
        path = self.root / "weights_manifest.json"
        old = manifest.load(path).weights.get(record.name)
        files = {
            **{self.weights_path(record.name, role): contents[role] for role in contents},
            self.root / "bnnzoo" / self.log_name(record.name): log.encode(),
            path: with_record(path, record).encode(),
        }
        _write_all(files)
        named = {file.path for file in record.files} | {record.log}
        left = set() if old is None else {*(file.path for file in old.files), old.log} - named
        for name in filter(None, left):
            (self.root / "bnnzoo" / name).unlink(missing_ok=True)
        return tuple(files)


def find_destination(url: str | None, out: str | PathLike[str] | None) -> Destination:
    """Returns the destination: the source tree that bnnzoo is imported from.

    Raises:
        ArgumentError: bnnzoo is installed without its source tree; `url` and `out` do not come
            together, or cannot be used.
    """
    root = manifest.manifest_path().parent
    if not (root / "pyproject.toml").is_file():
        raise ArgumentError(
            f"Weights must be published in a source tree of bnnzoo, got {root}. Clone the "
            "repository, and install it with pip install -e."
        )
    if (url is None) != (out is None):
        raise ArgumentError(
            "--out and --url must be given together. A file of the package needs neither."
        )
    if url is not None and not (url.endswith(SUFFIX) and policy.allowed(url)):
        raise ArgumentError(f"--url must be https and end in {SUFFIX}, got '{url}'.")
    if out is not None and not Path(out).is_dir():
        raise ArgumentError(f"--out must be a folder that exists, got {out}. Make it.")
    return Destination(root, url, None if out is None else Path(out))


def _write_all(files: dict[Path, bytes]) -> None:
    """Writes all files to temporary names, then renames them in order."""
    try:
        with ExitStack() as stack:
            for path in reversed(files):
                stack.enter_context(replacing(path)).write_bytes(files[path])
    except OSError as error:
        # Renames are done at the end; their errors name the part first, then the file.
        where, text = error.filename2 or path, error.strerror or error
        raise BnnZooError(
            f"{where} cannot be written: {text}. Free some space and try again."
        ) from error
