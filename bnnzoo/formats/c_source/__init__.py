"""C99 source for microcontrollers: `model.h`, `model.c`, and `selftest.c`.

No allocation, no library but `string.h` and `math.h`, one static arena. Weights are constants of
one bit each. Batch norms in front of a sign are thresholds on sums of signs, so that all between
two signs is integers.
"""

from __future__ import annotations

from bnnzoo.formats import Network, Written
from bnnzoo.formats.c_source.lowering import prepare
from bnnzoo.formats.c_source.selftest import self_test
from bnnzoo.formats.c_source.source import Source, pixel_scaling

__all__ = ["write"]


def write(network: Network) -> Written:
    """Returns the source of a network.

    `model.h` declares `NAME_run`, from real numbers to the outputs, and `NAME_run_pixels` where
    the preprocessing is known; NAME is made of the network's name and tag. `selftest.c` has
    `NAME_self_test`, which returns 0 on a device that computes what the reference interpreter does.

    Raises:
        ConversionError: The network has something that the source cannot express.
        GraphError: The graph breaks the rules.
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
    notes = ["Code and tables take some more flash; the linker says how much."]
    if pixel_scaling(network) is None:
        notes.append(f"Call {source.prefix}_run; its preprocessing is not part of the source.")
    else:
        notes.append(f"Call {source.prefix}_run_pixels, or {source.prefix}_run with real numbers.")
    if doubtful:
        notes.append(
            f"{doubtful:,} signs of the self-test's input are within rounding of their threshold: "
            "on a right device it may still fail."
        )
    return notes
