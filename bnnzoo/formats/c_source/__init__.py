"""C99 source for microcontrollers: `model.h`, `model.c`, and `selftest.c`.

The source does not allocate, uses only `string.h` and `math.h`, and has one static arena. Binary
weights are constants of one bit. A batch norm before a sign becomes thresholds on sums of signs, so
that everything between two signs is computed in integers.
"""

from __future__ import annotations

from bnnzoo.formats import Network, Written
from bnnzoo.formats.c_source.lowering import prepare
from bnnzoo.formats.c_source.selftest import self_test
from bnnzoo.formats.c_source.source import Source, pixel_scaling

__all__ = ["write"]


def write(network: Network) -> Written:
    """Returns the source of a network.

    `model.h` declares `NAME_run` for preprocessed inputs, and if the preprocessing is known,
    `NAME_run_pixels`; NAME is made from the network's name and tag. `selftest.c` has
    `NAME_self_test`, which returns 0 if the device computes what the reference interpreter does.

    Raises:
        ConversionError: The network has something that cannot be written as C.
        GraphError: The graph is invalid.
    """
    graph = prepare(network.graph)
    source = Source(network, graph)
    test = self_test(network, graph)
    constants = source.lowered[1].constants
    files = {"model.h": source.header(), "model.c": source.model(), "selftest.c": test.text(source)}
    return Written(
        {name: text.encode() for name, text in files.items()},
        {
            "binary kernels": constants.bytes(bits=True),
            "other parameters": constants.bytes(bits=False),
        },
        tuple(_notes(source, network, test.doubtful)),
        ram_bytes=source.arena_bytes,
    )


def _notes(source: Source, network: Network, doubtful: int) -> list[str]:
    notes = ["Code and tables need some more flash; see the linker's map."]
    if pixel_scaling(network) is None:
        notes.append(f"Call {source.prefix}_run; its preprocessing is not part of the source.")
    else:
        notes.append(f"Call {source.prefix}_run_pixels, or {source.prefix}_run with real numbers.")
    if doubtful:
        notes.append(
            f"In the self-test, {doubtful:,} values are within rounding of the threshold of a "
            "sign: it may fail on a correct device."
        )
    return notes
