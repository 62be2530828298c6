"""Reads a packed file with only NumPy and safetensors. docs/format.md specifies the format."""

import json
import math
import sys

import numpy as np
from safetensors import safe_open


def read(path):
    """Returns the graph, the metadata of the network, and its weights as float32 arrays."""
    with safe_open(path, "np") as file:
        metadata, weights = file.metadata(), {}
        if metadata.get("format") not in ("bnnzoo-packed/1", "bnnzoo-packed/2"):
            raise ValueError(f"{path} must be a bnnzoo-packed file")
        graph = json.loads(metadata["graph"])
        for name, stored in graph["tensors"].items():
            array, shape = file.get_tensor(name), stored["shape"]
            if stored["encoding"] == "bits":  # 1 is -1
                k = math.prod(shape[1:])
                bits = np.unpackbits(array, axis=-1, count=k, bitorder="little")
                array = (1 - 2.0 * bits).reshape(shape)
            elif stored["encoding"] == "int8":
                array = array * file.get_tensor(f"{name}/int8_scale").reshape(-1, 1, 1, 1)
            weights[name] = array.astype(np.float32)
    return graph, json.loads(metadata["info"]), weights


if __name__ == "__main__":
    for name, array in read(sys.argv[1])[2].items():
        print(f"{name}  {' x '.join(map(str, array.shape))}  mean {array.mean():+.4f}")
