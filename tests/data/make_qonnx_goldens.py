"""Makes qonnx_outputs.npz and qonnx_costs.json with the package qonnx: `scripts/test_qonnx.sh`.

    python -m tests.data.make_qonnx_goldens

The outputs are those of small networks whose values float32 holds exactly. The costs are what
`qonnx.util.inference_cost` counts in each architecture, for the smallest images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.inference_cost import inference_cost

from tests.formats.exact_networks import NETWORKS, exact_input
from tests.formats.onnx_runs import file_of, to_onnx

HERE = Path(__file__).parent
OUTPUTS, COSTS = HERE / "qonnx_outputs.npz", HERE / "qonnx_costs.json"


def by_qonnx(model: onnx.ModelProto, input: str, x: np.ndarray) -> dict[str, Any]:
    """Returns every tensor as the package qonnx computes it."""
    wrapped = ModelWrapper(model, make_deepcopy=True)
    return execute_onnx(wrapped, {input: x}, return_full_exec_context=True)


def outputs() -> dict[str, np.ndarray]:
    """Returns the output of each small network."""
    found = {}
    for name, graph in NETWORKS.items():
        values = by_qonnx(file_of(graph), graph.input, to_onnx(exact_input(graph)))
        found[name] = values[graph.outputs[0]]
    return found


def cost(model: onnx.ModelProto, pixels: int) -> dict[str, Any]:
    """Returns what the package qonnx counts in a network."""
    wrapped = ModelWrapper(model, make_deepcopy=True)
    total = inference_cost(wrapped, discount_sparsity=False)["total_cost"]
    macs = {key.removeprefix("op_mac_"): int(n) for key, n in total.items() if "op_mac_" in key}
    return {
        "pixels": pixels,
        "binary_macs": macs.get("BIPOLAR_BIPOLAR", 0),
        "binary_weights": int(total["mem_w_BIPOLAR"]),
        "macs": dict(sorted(macs.items())),
    }


def costs() -> dict[str, Any]:
    """Returns the costs of all architectures."""
    from bnnzoo import registry
    from bnnzoo.keras_bridge.from_keras import trace
    from tests.architectures.models import MODELS

    found = {}
    for name, facts in MODELS.items():
        pixels = max(8, facts.least)
        model = registry.builder(name)(input_shape=(pixels, pixels, 3), num_classes=7)
        found[name] = cost(file_of(trace(model).graph), pixels)
        print(name, found[name], flush=True)
    return found


if __name__ == "__main__":
    np.savez_compressed(OUTPUTS, **outputs())
    COSTS.write_text(json.dumps(costs(), indent=1) + "\n")
