"""Fetches weight files, verifies them, and keeps them in a cache.

The cache is one flat folder with descriptive names, and can be copied to any web server as a
mirror:

    CACHEDIR.TAG                             tells backup programs to leave the folder out
    birealnet18.larq_in1k-full-6e6efac1.h5   name.tag, role, start of the sha256, suffix
    .<file>.<random>.part                    while a file is downloaded

A file gets its name only after its size and sha256 are verified, and is verified again by every
`fetch`. A broken file is downloaded again. Several processes can fetch the same file at once: each
downloads its own part and renames it, so that no process sees an incomplete file. Parts of killed
processes are removed by a later download.

Environment:
    BNNZOO_CACHE_DIR: The cache. Default: the user's cache folder of the operating system.
    BNNZOO_OFFLINE: 1 never uses the network.
    BNNZOO_BASE_URL: A mirror, used instead of the original hosts: `<base>/<name in the cache>`,
        then `<base>/<path of the original URL>`.

Only https, and http to this machine, is allowed, also in redirects. A weight file is `.h5`,
`.weights.h5`, `.safetensors` or a PyTorch checkpoint; reading these does not run code.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from bnnzoo.download import policy
from bnnzoo.errors import WeightsError, first_line
from bnnzoo.manifest import Manifest, WeightsFile
from bnnzoo.snapshot import Snapshot

__all__ = [
    "CachedFile",
    "cache_folder",
    "cache_path",
    "cached_files",
    "fetch",
    "mismatch",
    "remove",
]

SUFFIXES = (".weights.h5", ".h5", ".safetensors", ".pth.tar", ".pth", ".pt", ".th")
# A part that was not written to for this long is dead: a download ends if its server is silent for
# `Patience.read_timeout_s`, and pauses for at most `Patience.retry_after_s`.
STALE_PART_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of bnnzoo. See https://bford.info/cachedir/\n"
)
_CACHE_NAME = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)-(?P<role>[a-z]+)-(?P<sha>[0-9a-f]{8})"
    rf"(?P<suffix>{'|'.join(map(re.escape, SUFFIXES))})"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedFile:
    """One file in the cache.

    Attributes:
        name: `architecture.tag`.
        role: `full`, `notop` or `packed`.
        path: Path of the file.
        bytes: Size of the file.
        modified: Time of the last change, in seconds since 1970.
        file: Its entry in the manifest, if it has one.
        partial: Whether it is the part of an unfinished download.
    """

    name: str
    role: str
    path: Path
    bytes: int
    modified: float
    file: WeightsFile | None
    partial: bool


def fetch(
    file: WeightsFile,
    *,
    name: str,
    cache_dir: str | PathLike[str] | None = None,
    progress: bool | None = None,
    patience: policy.Patience = policy.PATIENCE,
) -> Snapshot:
    """Returns a verified weight file, downloading it if needed.

    The file is read once: `read_bytes` of the result returns the verified bytes even if another
    process has replaced the file since. They stay in memory as long as the result.

    Args:
        file: The file's entry in the manifest.
        name: `architecture.tag`; part of the name in the cache and of messages.
        cache_dir: The cache. None takes `BNNZOO_CACHE_DIR` or the user's cache.
        progress: Whether to draw a bar on standard error. None draws it only on a terminal.
        patience: Timeouts and retries.

    Raises:
        WeightsError: The file cannot be fetched, does not match the manifest, or cannot be stored.
    """
    if file.path is not None:
        return _packaged(file, file.path, name)
    target = Snapshot(cache_path(file, name=name, cache_dir=cache_dir))
    urls = _candidates(file, target.name)
    problem = mismatch(target, file)
    if problem is None:
        return target
    if policy.offline():
        raise WeightsError(
            f"{name} ({file.role}) must be in the cache, as BNNZOO_OFFLINE is set, but {target} "
            f"{problem}. Unset BNNZOO_OFFLINE, or put {policy.shown(urls[0])} there."
        )
    try:
        if target.exists():
            _remove_broken(target, problem)
        return _download(file, name, target, urls, patience, progress)
    except OSError as error:
        room = "Make room there, or set" if error.errno in _FULL else "Set"
        raise WeightsError(
            f"{name} ({file.role}) cannot be written to {target.parent}: {error.strerror or error}."
            f" {room} BNNZOO_CACHE_DIR to a folder that can be written."
        ) from error


def cache_folder(cache_dir: str | PathLike[str] | None = None) -> Path:
    """Returns the cache's folder, which need not exist: argument, `BNNZOO_CACHE_DIR`, or default.

    Raises:
        WeightsError: It is in the home folder, and the user has none.
    """
    folder = cache_dir or os.environ.get("BNNZOO_CACHE_DIR")
    try:
        if not folder:
            import pooch

            folder = pooch.os_cache("bnnzoo")
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:  # of Path, and of pooch
        reason = first_line(error).rstrip(".")
        raise WeightsError(
            f"The cache must be a folder, got {str(folder or '~')!r}: {reason}. Set "
            "BNNZOO_CACHE_DIR to a folder that can be written."
        ) from error


def cache_path(
    file: WeightsFile, *, name: str, cache_dir: str | PathLike[str] | None = None
) -> Path:
    """Returns the cache path of a downloaded file, which need not exist.

    Raises:
        WeightsError: A URL is not allowed, the suffix of the file is not supported, or its name
            would leave the cache.
    """
    for url in file.url:
        policy.check_url(url, f"url of {name}")
    suffixes = [_suffix(urlsplit(url).path, name) for url in file.url]
    cache_name = "-".join([name, file.role, file.sha256[:8]]) + "".join(suffixes[:1])
    if not _CACHE_NAME.fullmatch(cache_name):
        raise WeightsError(
            "Name in the cache must be architecture.tag-role-sha256 in lower case and a suffix, "
            f"got {cache_name!r}. Correct its record in weights_manifest.json."
        )
    return _inside(cache_folder(cache_dir), cache_name)


def mismatch(path: Path, file: WeightsFile) -> str | None:
    """Describes a file's mismatch with the manifest; None if it matches."""
    try:
        problem = _wrong_size(path.stat().st_size, file)
        return problem or _wrong_digest(path.read_bytes(), file)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _wrong_size(size: int, file: WeightsFile) -> str | None:
    if file.bytes is not None and size != file.bytes:
        return f"must have {file.bytes} bytes, got {size}"
    if size > file.limit_bytes:
        return f"must have at most {file.limit_bytes} bytes, got {size}"
    return None


def _wrong_digest(data: bytes, file: WeightsFile) -> str | None:
    digest = hashlib.sha256(data).hexdigest()
    if digest == file.sha256:
        return None
    return f"must have sha256 {file.sha256[:16]}..., got {digest[:16]}..."


def cached_files(
    manifest: Manifest, cache_dir: str | PathLike[str] | None = None
) -> list[CachedFile]:
    """Returns the weight files in the cache by name; other files are ignored.

    Raises:
        WeightsError: The folder cannot be read.
    """
    folder = cache_folder(cache_dir)
    known = {
        (record.name, file.role, file.sha256[:8]): file
        for record in manifest.weights.values()
        for file in record.files
    }
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be read: {error.strerror}. Set BNNZOO_CACHE_DIR to another folder."
        ) from error
    return [entry for path in paths if (entry := _cached_file(path, known)) is not None]


def _cached_file(
    path: Path, known: Mapping[tuple[str, str, str], WeightsFile]
) -> CachedFile | None:
    partial = path.suffix == ".part"
    match = _CACHE_NAME.fullmatch(_target(path).name)
    try:
        status = path.stat()
    except FileNotFoundError:  # removed since the folder was listed
        return None
    if match is None or not stat.S_ISREG(status.st_mode):
        return None
    return CachedFile(
        name=match["name"],
        role=match["role"],
        path=path,
        bytes=status.st_size,
        modified=status.st_mtime,
        file=known.get((match["name"], match["role"], match["sha"])),
        partial=partial,
    )


def remove(entry: CachedFile) -> None:
    """Removes a file from the cache.

    Raises:
        WeightsError: It cannot be removed.
    """
    try:
        entry.path.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(
            f"{entry.path} cannot be removed: {error.strerror}. Remove it by hand."
        ) from error


def _packaged(file: WeightsFile, relative: str, name: str) -> Snapshot:
    _suffix(relative, name)
    path = Snapshot(_inside(Path(__file__).parent, relative))
    problem = mismatch(path, file)
    if problem is not None:
        raise WeightsError(f"{name} ({file.role}): {path} {problem}. Install bnnzoo again.")
    return path


def _suffix(path: str, name: str) -> str:
    suffix = next((s for s in SUFFIXES if path.endswith(s)), None)
    if suffix is None:
        raise WeightsError(
            f"Weights of {name} must end in {', '.join(SUFFIXES)}, got {path!r}. "
            "Other formats may run code when they are read; convert the file."
        )
    return suffix


def _inside(root: Path, relative: str) -> Path:
    """Returns `root / relative`; raises if it leaves `root`, symbolic links included."""
    parts = PurePosixPath(relative).parts
    plain = relative.isprintable() and not set(relative) & set("\\:")
    path = root / relative if plain else root
    # Not Path.resolve, which refuses a loop of links before Python 3.13; a download replaces it.
    stays = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    if not (plain and parts and ".." not in parts and stays):
        raise WeightsError(
            f"Weight files must be inside {root}, got {relative!r}. "
            "Remove the link, or correct the record in weights_manifest.json."
        )
    return path


def _candidates(file: WeightsFile, cache_name: str) -> list[str]:
    """Returns the URLs to try, in order, without repetition."""
    base = os.environ.get("BNNZOO_BASE_URL", "").rstrip("/")
    if not base:
        return list(dict.fromkeys(file.url))
    policy.check_url(base, "BNNZOO_BASE_URL")
    paths = [f"/{cache_name}", *(urlsplit(url).path for url in file.url)]
    return list(dict.fromkeys(base + path for path in paths))


def _remove_broken(target: Path, problem: str) -> None:
    logger.warning("%s %s. Downloading it again.", target, problem)
    try:
        target.unlink(missing_ok=True)
    except PermissionError as error:  # of another user, in a folder where only owners may remove
        raise WeightsError(
            f"{target} {problem}, and cannot be replaced: {error.strerror}. Ask the owner of the "
            "file to remove it, or set BNNZOO_CACHE_DIR to a folder of your own."
        ) from error


def _download(
    file: WeightsFile,
    name: str,
    target: Path,
    urls: Sequence[str],
    patience: policy.Patience,
    progress: bool | None,
) -> Snapshot:
    from bnnzoo.download.transfer import download

    verified = b""

    def verify(stream: IO[bytes]) -> str | None:
        nonlocal verified
        stream.seek(0)
        verified = stream.read()
        return _wrong_size(len(verified), file) or _wrong_digest(verified, file)

    _make_folder(target.parent)
    _remove_dead_parts(target.parent)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb+") as stream:
            download(
                urls,
                stream,
                what=f"{name} ({file.role})",
                verify=verify,
                max_bytes=file.limit_bytes,
                patience=patience,
                progress=progress,
            )
        _share(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Snapshot.holding(target, verified)


def _share(part: Path) -> None:
    """Gives a file the read permissions of its folder, regardless of the umask."""
    readers = stat.S_IMODE(part.parent.stat().st_mode) & 0o444
    with contextlib.suppress(PermissionError):  # of file systems without permissions
        part.chmod(0o600 | readers)


def _make_folder(folder: Path) -> None:
    """Creates and tags the cache; a folder with other contents is not tagged."""
    if folder.exists() and any(folder.iterdir()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    tag = folder / "CACHEDIR.TAG"
    try:
        with tag.open("x", encoding="ascii") as stream:
            stream.write(CACHEDIR_TAG)
    except FileExistsError:
        return
    except OSError:
        tag.unlink(missing_ok=True)
        raise


def _target(path: Path) -> Path:
    """Returns the file that a part will become, or any other path unchanged."""
    match = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.part", path.name)
    return path.with_name(match[1]) if match else path


def _remove_dead_parts(folder: Path) -> None:
    """Removes the files that killed processes left."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):  # removed meanwhile, or of another user
            dead = time.time() - part.stat().st_mtime > STALE_PART_S
            if dead and _CACHE_NAME.fullmatch(_target(part).name):
                part.unlink()
