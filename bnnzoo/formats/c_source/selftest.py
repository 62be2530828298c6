"""`selftest.c`: one input and the expected outputs.

The expected outputs are the reference interpreter's. Sums of signs must be equal, real numbers
within the rounding error of float32 (`graph.tolerance`). If a value is nearer to the threshold of a
sign than this error, two correct devices may disagree on the sign and everything after it. The test
therefore uses an input without such values: the sample, or a slightly darker one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats import Network
from bnnzoo.formats.c_source.source import Source, pixel_scaling
from bnnzoo.formats.c_source.text import array
from bnnzoo.graph.call_arguments import by_name
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.tolerance import U, errors

__all__ = ["SelfTest", "doubts", "self_test"]

Array = NDArray[Any]

# Factors of the sample: itself, then darker ones.
_SHADES = tuple(1 - k / 64 for k in range(16))
# Limits the search; with many signs, hardly any input is without doubtful values.
_NUMBERS = 2**24

_SOURCE = """\
/* {title}

   Tests whether this device computes the expected outputs. With
   {macros}_SELF_TEST_MAIN defined, it is a program that returns 0 if so. */
#include "model.h"

#include <math.h>

{inputs}

static const float expected[{macros}_OUTPUT_SIZE] = {{
{expected}
}};

/* Allowed rounding error; 0 if an output is a sum of signs. */
static const float allowed[{macros}_OUTPUT_SIZE] = {{
{allowed}
}};

int {prefix}_self_test(void)
{{
    static float output[{macros}_OUTPUT_SIZE];
    int32_t i;
    int wrong = 0;

    {run}({arguments}, output);
    for (i = 0; i < {macros}_OUTPUT_SIZE; i++)
        if (!(fabsf(output[i] - expected[i]) <= allowed[i]))
            wrong++;
    return wrong;
}}

#ifdef {macros}_SELF_TEST_MAIN
int main(void)
{{
    return {prefix}_self_test() != 0;
}}
#endif
"""


@dataclass(frozen=True)
class SelfTest:
    """An input and its expected outputs.

    Attributes:
        inputs: uint8 pixels, or float32, by name.
        expected: float32, all outputs in sequence.
        allowed: Allowed error of each; 0 for sums of signs.
        doubtful: Number of signs and levels that rounding may change.
    """

    inputs: Mapping[str, Array]
    expected: NDArray[np.float32]
    allowed: NDArray[np.float32]
    doubtful: int

    def text(self, source: Source) -> str:
        """Returns `selftest.c`."""
        pixels = all(given.dtype == np.uint8 for given in self.inputs.values())
        return _SOURCE.format(
            title=source.title,
            prefix=source.prefix,
            macros=source.macros,
            arguments=", ".join(source.inputs.values()),
            inputs="\n\n".join(
                f"static const {'uint8_t' if pixels else 'float'} {source.inputs[name]}"
                f"[{source.input_size(name)}] = {{\n{array(given)}\n}};"
                for name, given in self.inputs.items()
            ),
            run=f"{source.prefix}_run_pixels" if pixels else f"{source.prefix}_run",
            expected=array(self.expected),
            allowed=array(self.allowed),
        )


def self_test(network: Network, graph: Graph) -> SelfTest:
    """Returns the self-test of a network.

    Args:
        network: The network to write.
        graph: The graph after the passes.
    """
    best: SelfTest | None = None
    numbers = sum(math.prod(type_.shape) for type_ in infer_types(graph).values())
    for shade in _SHADES[: max(1, _NUMBERS // numbers)]:
        found = _computed(network, graph, np.float32(shade))
        if best is None or found.doubtful < best.doubtful:
            best = found
        if not best.doubtful:
            break
    assert best is not None
    return best


def _computed(network: Network, graph: Graph, shade: np.float32) -> SelfTest:
    given: dict[str, Array] = {
        name: (shade * sample).astype(np.float32)
        for name, sample in by_name(graph.inputs, (network.sample,)).items()
    }
    x, scaling = dict(given), pixel_scaling(network)
    if scaling is not None:
        mean, std = scaling
        for name, sample in x.items():
            given[name] = np.clip(np.rint(sample * std + mean), 0, 255).astype(np.uint8)
            x[name] = (given[name].astype(np.float32) - mean) / std
    values = run(graph, x)
    lost = errors(graph, values)
    outputs = np.concatenate([values[name].reshape(-1) for name in graph.outputs])
    allowed = np.concatenate([lost[name].reshape(-1) for name in graph.outputs])
    return SelfTest(
        {name: pixels.reshape(-1) for name, pixels in given.items()},
        outputs.astype(np.float32),
        (allowed + U * np.abs(outputs) * (allowed > 0)).astype(np.float32),
        int(doubts(graph, values, lost)[0]),
    )


def doubts(
    graph: Graph, values: Mapping[str, Array], lost: Mapping[str, Array]
) -> NDArray[np.int_]:
    """Returns how many signs and levels rounding may change, for each input.

    Args:
        graph: The graph.
        values: Values of the reference interpreter for some inputs.
        lost: Rounding error of each value.
    """
    found = np.zeros(len(values[next(iter(graph.inputs))]), int)
    for node in graph.nodes:
        if node.op in ("sign", "quantize"):
            found += _doubtful(graph, node, values, lost).reshape(len(found), -1).sum(axis=1)
    return found


def _doubtful(
    graph: Graph, node: Node, values: Mapping[str, Array], lost: Mapping[str, Array]
) -> NDArray[np.bool_]:
    """Returns which signs or levels of a node rounding may change."""
    x, error = values[node.inputs[0]], lost[node.inputs[0]]
    if node.op == "quantize":
        highest = 2 ** node.attributes["bits"] - 1
        place = np.clip(x, 0, 1) * highest
        margin = np.abs(place - np.floor(place) - 0.5) / highest
    else:
        threshold = graph.tensor(node, "threshold")
        margin = np.abs(x - (0 if threshold is None else np.asarray(threshold)))
    return np.asarray((error > 0) & (margin <= error))
