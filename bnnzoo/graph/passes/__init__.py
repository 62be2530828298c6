"""Passes: pure functions from graph to graph that do not change the reference output.

`STORED` runs before a file is written and keeps every layer recognizable, so that the file can be
turned back into a Keras model. `RUNTIME` runs when a file is loaded. If the order of passes
matters, a comment in the list gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.constant_terms import constant_terms
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
    # After it: reshapes of sequences would be between a border and its convolution.
    fold_padding,
    # After the passes that leave nodes unused.
    drop_unused,
    pack_kernels,
)

RUNTIME: tuple[Pass, ...] = (
    fold_batch_norm,
    # Moves affines and signs of dense layers past the reshape, next to their convolution.
    hoist_elementwise,
    drop_identities,
    # Before the next passes, which need a sign directly after the affine.
    fold_padding,
    # Merges a chain into one affine for the next two passes.
    merge_affines,
    sign_thresholds,
    sign_before_pool,
    # Again: a sign moved before a pooling now follows an affine.
    sign_thresholds,
    # After the thresholds, which leave affines of binary convolutions unused.
    fold_into_conv,
    # After the thresholds, which look for sums of signs, and before passes on convolutions.
    phases,
    zero_padding,
    # After it: the correction of zero padding consists of integers, which the thresholds need.
    constant_terms,
    drop_unused,
)


def apply(graph: Graph, passes: Sequence[Pass]) -> tuple[Graph, dict[str, int]]:
    """Returns the graph after the passes, and how many nodes each of them changed or removed.

    Args:
        graph: A valid graph; so is the result.
        passes: The passes, in order.
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
