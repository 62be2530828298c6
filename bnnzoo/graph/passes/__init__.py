"""Passes: pure functions from graph to graph that leave the reference's output as it is.

`STORED` runs before a file is written and keeps every layer recognisable, so that the file turns
back into a Keras model. `RUNTIME` runs when a file is loaded. Where order matters, the reason
stands beside the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused
from bnnzoo.graph.passes.fold_affine import fold_into_conv, merge_affines
from bnnzoo.graph.passes.fold_batch_norm import fold_batch_norm
from bnnzoo.graph.passes.fold_padding import fold_padding
from bnnzoo.graph.passes.hoist_elementwise import hoist_elementwise
from bnnzoo.graph.passes.pack_kernels import pack_kernels
from bnnzoo.graph.passes.phases import phases
from bnnzoo.graph.passes.sign_before_pool import sign_before_pool
from bnnzoo.graph.passes.sign_thresholds import sign_thresholds
from bnnzoo.graph.passes.zero_padding import zero_padding

__all__ = ["RUNTIME", "STORED", "Pass", "apply"]

Pass = Callable[[Graph], Graph]

STORED: tuple[Pass, ...] = (
    fold_batch_norm,
    drop_identities,
    # After it: reshapes of sequences would stand between a border and its convolution.
    fold_padding,
    # After the passes that take nodes out of use.
    drop_unused,
    pack_kernels,
)

RUNTIME: tuple[Pass, ...] = (
    fold_batch_norm,
    # Brings affines and signs of dense layers next to their convolution, past the reshape.
    hoist_elementwise,
    drop_identities,
    # Before the next, which look for a sign right behind the affine.
    fold_padding,
    # One affine per chain, so that the next two see all of it.
    merge_affines,
    sign_thresholds,
    sign_before_pool,
    # Again: a sign that went below a pooling meets the affine in front of it.
    sign_thresholds,
    # After the thresholds, which take affines of binary convolutions out of use.
    fold_into_conv,
    # After the thresholds, which look for sums of signs, and before what only convolutions have.
    phases,
    zero_padding,
    drop_unused,
)


def apply(graph: Graph, passes: Sequence[Pass]) -> tuple[Graph, dict[str, int]]:
    """Returns the graph after the passes, and how many nodes each of them made, changed or took.

    Args:
        graph: A graph that obeys the rules; the result does as well.
        passes: In the order in which they run.
    """
    fired: dict[str, int] = {}
    for run in passes:
        after = run(graph)
        before = set(map(id, graph.nodes))
        changed = sum(id(node) not in before for node in after.nodes)
        gone = max(0, len(before) - len(after.nodes))
        name = run.__name__
        fired[name] = fired.get(name, 0) + max(changed, gone)
        graph = after
    return graph, fired
