"""The processes that train together, and the index of this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from bnnzoo.errors import ArgumentError

__all__ = ["Cluster", "read_cluster"]

DEFAULT_PORT = 8476

# Keras's own names.
ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"


@dataclass(frozen=True)
class Cluster:
    """The processes of a run.

    Attributes:
        addresses: `host:port` of every process; they meet at the first.
        process: Index of this process.
    """

    addresses: tuple[str, ...]
    process: int

    def __len__(self) -> int:
        return len(self.addresses)

    def name(self, process: int) -> str:
        """Returns the name of a process, for the beginning of a sentence."""
        return f"Process {process} at {self.addresses[process]}"

    def endpoint(self, process: int) -> tuple[str, int]:
        """Returns host and port of a process, as sockets take them."""
        host, port = self.addresses[process].rsplit(":", 1)
        return host.strip("[]"), int(port)


def read_cluster(
    processes: str | None, process_id: int | None, environ: Mapping[str, str] = os.environ
) -> Cluster | None:
    """Returns the cluster given by options or Keras's environment variables, if any.

    A single address is not a cluster.

    Args:
        processes: Addresses `host[:port]`, separated by commas; None reads the variable.
        process_id: Index of this process; None reads the variable.
        environ: The environment variables.

    Raises:
        ArgumentError: They contradict each other, or an address is invalid.
    """
    text = environ.get(ADDRESSES) if processes is None else processes
    if text is None:
        if process_id is not None:
            raise ArgumentError(
                f"processes must be given with process-id, got process-id {process_id} alone. Add "
                "--processes with the addresses of all processes."
            )
        return None
    addresses = tuple(_address(part.strip()) for part in text.split(","))
    _check_count(addresses, environ.get(COUNT) if processes is None else None)
    if len(addresses) == 1:
        if process_id is not None:
            _process(process_id, None, 1)
        return None
    if len(set(addresses)) < len(addresses):
        raise ArgumentError(
            f"processes must be different addresses, got {text!r}. On one machine, give each "
            "process its own port."
        )
    return Cluster(addresses, _process(process_id, environ.get(PROCESS), len(addresses)))


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):  # an IPv6 address in brackets contains colons
        host, port = text, str(DEFAULT_PORT)
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not _is_port(port):
        raise ArgumentError(
            f"processes must be addresses HOST or HOST:PORT, got {text!r}. Separate them by "
            "commas, and write IPv6 in brackets."
        )
    return f"{host}:{port}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 2**16


def _check_count(addresses: tuple[str, ...], count: str | None) -> None:
    if count is not None and count != str(len(addresses)):
        raise ArgumentError(
            f"{COUNT} must be {len(addresses)}, the number of addresses, got {count!r}. Name the "
            f"address of every process in {ADDRESSES}."
        )


def _process(option: int | None, variable: str | None, count: int) -> int:
    value = variable if option is None else str(option)
    if value is None or not value.isascii() or not value.isdigit() or int(value) >= count:
        raise ArgumentError(
            f"process-id must be from 0 to {count - 1}, the index of this process among "
            f"{count} addresses, got {value}. Give each process its own."
        )
    return int(value)
