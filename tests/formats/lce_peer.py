"""Larq Compute Engine's own interpreter, in a process of its own Python, and what it computes.

Run as a program, this file is that process: it needs NumPy and larq_compute_engine, and answers
one line per line that it reads.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PYTHON = os.environ.get("BNNZOO_LCE_PYTHON")  # scripts/test_lce.sh sets it


class Peer:
    """The process; it takes ten seconds to start, so that tests share one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [str(PYTHON), __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""},
        )

    def run(self, model: bytes, x: np.ndarray) -> list[np.ndarray]:
        """Returns the outputs of a file for images `(n, ...)`, each `(n, ...)`."""
        (Path(self._folder.name) / "model.tflite").write_bytes(model)
        np.save(Path(self._folder.name) / "x.npy", x)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{self._folder.name}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        with np.load(Path(self._folder.name) / "outputs.npz") as outputs:
            return [outputs[f"arr_{i}"] for i in range(len(outputs.files))]

    def values(self, model: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what every operator of a file computes, by its name; see `named`."""
        from bnnzoo.formats.lce.parsing import parse
        from bnnzoo.formats.lce.serializing import serialize

        file = parse(model)
        every = dataclasses.replace(file, outputs=every_result(file))
        x = quantized(x, file.tensors[file.inputs[0]])
        return named(file, x, self.run(serialize(every), x))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._folder.cleanup()


def every_result(file) -> tuple[int, ...]:
    """Returns the tensors that operators compute."""
    return tuple(operator.outputs[0] for operator in file.operators)


def named(file, x: np.ndarray, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns input and results by name: bits as -1 and +1, quantized numbers as what they mean."""
    channels = _channels(file)
    values = {}
    for index, array in zip((*file.inputs, *every_result(file)), (x, *arrays), strict=True):
        entry = file.tensors[index]
        if entry.quantization is not None:
            scale, zero_point = entry.quantization.scale, entry.quantization.zero_point
            array = ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)
        elif array.dtype == np.int32:
            array = unpacked(array, channels[index])
        values[entry.name] = array
    return values


def quantized(x: np.ndarray, entry) -> np.ndarray:
    """Returns images as the integers that a file may want."""
    if entry.quantization is None:
        return x
    range_ = np.iinfo(entry.dtype.lower())
    integers = np.rint(x / entry.quantization.scale) + entry.quantization.zero_point
    return np.clip(integers, range_.min, range_.max).astype(range_.dtype)


def _channels(file) -> dict[int, int]:
    """Returns how many channels the words of each tensor hold."""
    found: dict[int, int] = {}
    for operator in file.operators:
        source, target = operator.inputs[0], operator.outputs[0]
        if operator.kind == "LceBconv2d":
            found[target] = file.tensors[operator.inputs[1]].shape[0]
        elif operator.kind == "LceQuantize":
            found[target] = file.tensors[source].shape[-1]
        elif source in found:
            same = file.tensors[source].shape[-1] == file.tensors[target].shape[-1]
            found[target] = found[source] if same else 32 * file.tensors[target].shape[-1]
    return found


def unpacked(words: np.ndarray, channels: int) -> np.ndarray:
    """Returns words as -1 and +1; shares no code with the package."""
    shifts = np.arange(32, dtype=np.uint32)
    bits = (words.view(np.uint32)[..., None] >> shifts) & 1
    bits = bits.reshape(*words.shape[:-1], -1)
    assert not bits[..., channels:].any(), "unused bits must be 0"
    return np.where(bits[..., :channels] == 1, -1, 1).astype(np.int8)


def serve(lines: Sequence[str] | object) -> None:
    """Answers each folder with the outputs of its model for its images."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    for line in sys.stdin:
        folder = Path(line.strip())
        try:
            loaded = np.load(folder / "x.npy")
            # The interpreter knows NumPy's own types only, not equal ones from a file.
            x = np.empty(loaded.shape, getattr(np, loaded.dtype.name))
            x[...] = loaded
            interpreter = Interpreter((folder / "model.tflite").read_bytes())
            outputs = interpreter.predict(x)
            np.savez(folder / "outputs.npz", *(outputs if isinstance(outputs, list) else [outputs]))
            answer = {}
        except (RuntimeError, ValueError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin)
