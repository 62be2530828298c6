"""The devices and processes of a run: several on JAX, one on other backends."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ArgumentError, BnnZooError, MissingDependencyError, installing
from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.lifeline import LOST_CONTACT

__all__ = ["ALONE", "Group", "LostContactError", "check_backend", "current_group", "joined"]

# Since these versions, Keras can feed arrays to several processes and JAX can ignore SLURM.
MIN_VERSIONS = {"keras": (3, 11), "jax": (0, 7)}
JOIN_TIMEOUT_S = 60
RETRY_S = 0.5

# How JAX's ValueError starts if the connection is lost within a call. If it is lost later, JAX
# raises a JaxRuntimeError.
LOST_CONTACT_STATUS = ("UNKNOWN: ", "UNAVAILABLE: ", "INTERNAL: ", "ABORTED: ")


class LostContactError(BnnZooError):
    """Another process is gone; the supervisor identifies it."""

    exit_code = LOST_CONTACT


@dataclass(frozen=True)
class Group:
    """The processes of a run; each has a copy of the network and gets a part of every batch.

    Attributes:
        process: Index of this process. Only the first one writes files.
        processes: Number of processes.
        devices: Number of devices of all processes together.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.process == 0

    def check(self, batch_size: int) -> None:
        """Checks that a batch divides evenly among the devices.

        Raises:
            ArgumentError: It does not.
        """
        if batch_size % self.devices:
            fits = batch_size + -batch_size % self.devices
            raise ArgumentError(
                f"batch_size must be a multiple of {self.devices}, the number of devices, got "
                f"{batch_size}. Set batch_size={fits}."
            )

    def check_images(self, facts: str) -> None:
        """Checks that all processes have the same number of images, and therefore of steps.

        Args:
            facts: Describes the images of this process.

        Raises:
            ArgumentError: The first process has different images.
        """
        first = (self.share(facts.encode) or b"").decode()
        if facts != first:
            raise ArgumentError(
                f"--data must be the same images everywhere, got {facts}; process 0 has {first}."
            )

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Models built in the block share each batch among all devices; each has all weights."""
        if self.devices == 1:
            yield
            return
        keras = importlib.import_module("keras")
        with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
            yield

    def part(self, batches: NDArray[Any]) -> NDArray[Any]:
        """Returns the part of each batch, `(steps, batch, ...)`, that this process computes."""
        size = batches.shape[1] // self.processes
        return batches[:, self.process * size : (self.process + 1) * size]

    def share(self, read: Callable[[], bytes | None]) -> bytes | None:
        """Returns the first process's value in every process."""
        if self.processes == 1:
            return read()
        value = read() if self.first else None
        size = int(_broadcast(np.int32(-1 if value is None else len(value))))
        if size < 0:
            return None
        sent = np.zeros(size, np.uint8) if value is None else np.frombuffer(value, np.uint8)
        return bytes(_broadcast(sent)) if size else b""

    def leave(self) -> Group:
        """Disconnects from the other processes once all have called it; returns `ALONE`.

        To the others, a process that ended without it would have died.
        """
        if self.processes > 1:
            importlib.import_module("jax").distributed.shutdown()
        return ALONE


ALONE = Group()


def current_group() -> Group:
    """Returns the group of this process.

    Raises:
        ArgumentError: The processes have different numbers of devices.
    """
    keras = importlib.import_module("keras")
    if keras.backend.backend() != "jax":
        return ALONE
    jax = importlib.import_module("jax")
    group = Group(jax.process_index(), jax.process_count(), jax.device_count())
    if jax.local_device_count() * group.processes != group.devices:
        raise ArgumentError(
            f"Every process must have the same number of devices, got {jax.local_device_count()} "
            f"of {group.devices} in process {group.process}. Set JAX_LOCAL_DEVICE_IDS to use fewer."
        )
    return group


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """Joins a cluster; must be called before any computation.

    Args:
        cluster: The processes; None for a single one.

    Raises:
        ArgumentError: The backend is not JAX.
        BnnZooError: The other processes cannot be reached.
        LostContactError: The connection to one of them was lost.
    """
    if cluster is None:
        yield
        return
    check_backend(importlib.import_module("keras").backend.backend())
    jax = importlib.import_module("jax")
    if cluster.process:
        _reach(cluster)
    try:
        _join(jax, cluster)
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not _is_lost_contact(error):
            raise
        reason = str(error).splitlines()[0].split("dispatching computation: ")[-1]
        raise LostContactError(f"Another process cannot be reached: {reason}") from error


def _is_lost_contact(error: Exception) -> bool:
    """Returns whether an error of JAX is about another process and not about this one."""
    if isinstance(error, ValueError):
        return str(error).startswith(LOST_CONTACT_STATUS)
    return "RESOURCE_EXHAUSTED" not in str(error)  # out of memory, on this device


def _reach(cluster: Cluster) -> None:
    """Waits until JAX listens in process 0; if it never does, JAX itself would abort."""
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while True:
        try:
            socket.create_connection(cluster.endpoint(0), JOIN_TIMEOUT_S).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise BnnZooError(
                    f"{cluster.name(0)} cannot be joined within {JOIN_TIMEOUT_S} s: "
                    f"{error.strerror or error}. Its port must be open to all others."
                ) from error
            time.sleep(RETRY_S)
        else:
            return


def _join(jax: Any, cluster: Cluster) -> None:
    """Does what `keras.distribution.initialize` does, with a shorter timeout and all devices.

    By default JAX waits five minutes, and under SLURM it would use one device per process.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator_address=cluster.addresses[0],
        num_processes=len(cluster),
        process_id=cluster.process,
        cluster_detection_method="deactivate",
        initialization_timeout=JOIN_TIMEOUT_S,
    )


def check_backend(backend: str) -> None:
    """Checks that several processes can train together.

    Args:
        backend: Keras's backend.

    Raises:
        ArgumentError: It is not JAX, or JAX or Keras is too old.
        MissingDependencyError: JAX or Keras is not installed.
    """
    if backend != "jax":
        raise ArgumentError(
            f"The backend must be 'jax' to train in several processes, got {backend!r}. Set "
            f"KERAS_BACKEND=jax. {installing('jax')}"
        )
    for name, least in MIN_VERSIONS.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingDependencyError(name, "jax", "to train in several processes") from error
        if tuple(map(int, found.split(".")[:2])) < least:
            wanted = ".".join(map(str, least))
            raise ArgumentError(
                f"{name} must be {wanted} or newer to train in several processes, got {found}. "
                f"Run: pip install --upgrade {name}"
            )


def _broadcast(value: Any) -> Any:
    return importlib.import_module("jax.experimental.multihost_utils").broadcast_one_to_all(value)
