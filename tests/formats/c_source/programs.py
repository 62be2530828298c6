"""Compiles generated source with the compilers of this machine, and runs it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from bnnzoo.formats import Network, Written
from bnnzoo.formats.c_source import write
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types

T = TypeVar("T")

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZERS = ("-O0", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def _works(compiler: str) -> bool:
    """Whether there is such a compiler, with its sanitizers."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.c").write_text("int main(void) { return 0; }\n")
        command = [compiler, *SANITIZERS, "main.c", "-o", "main"]
        return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


COMPILERS = tuple(name for name in ("gcc", "clang") if _works(name))
needs_compiler = pytest.mark.skipif(
    not COMPILERS, reason="there is neither gcc nor clang with sanitizers here"
)


def shared(rows: Sequence[T], compiler: str) -> Sequence[T]:
    """The rows for a compiler, where each takes its part of them."""
    return rows[COMPILERS.index(compiler) :: len(COMPILERS)]


_MAIN = """\
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{includes}

/* Arguments: the network's index, and what to do. Images come from stdin, outputs go to stdout. */
int main(int count, char **arguments)
{{
    const int which = count > 2 ? atoi(arguments[1]) : -1;
    const int pixels = count > 2 && !strcmp(arguments[2], "pixels");
    const int test = count > 2 && !strcmp(arguments[2], "test");

{networks}
    return 99;
}}
"""
_NETWORK = """\
    if (which == {index}) {{
        static float x[{size}], y[{macros}_OUTPUT_SIZE];
        static uint8_t bytes[{size}];

        if (test)
            return {prefix}_self_test();
        while (pixels ? fread(bytes, sizeof bytes, 1, stdin) : fread(x, sizeof x, 1, stdin)) {{
            if (pixels)
                {run_pixels};
            else
                {prefix}_run({inputs}, y);
            fwrite(y, sizeof y, 1, stdout);
        }}
        return 0;
    }}
"""


def network(
    graph: Graph, sample: np.ndarray | None = None, name: str = "net", **fields: Any
) -> Network:
    """A network of a graph; its sample is one of zeros and ones, which nothing rounds."""
    info = fields.pop("info", NetworkInfo(name))
    if sample is not None:
        return Network(graph, info, np.asarray(sample, np.float32), **fields)
    samples = {
        input: (np.indices((1, *shape)).sum(axis=0) % 2).astype(np.float32)
        for input, shape in graph.inputs.items()
    }
    return Network(graph, info, samples, **fields)


def real_outputs(graph: Graph) -> Graph:
    """The graph with each output once, and those of bits and levels as numbers."""
    types, nodes, outputs = infer_types(graph), list(graph.nodes), []
    for name in dict.fromkeys(graph.outputs):
        if types[name].kind != "real":
            nodes.append(Node(f"{name}/number", "dequantize", (name,)))
            name = nodes[-1].name
        outputs.append(name)
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))


def prefix_of(written: Written) -> str:
    """What the names of the source begin with."""
    (line,) = (x for x in written.files["model.h"].decode().splitlines() if "_run(const" in x)
    return line.split()[1].split("_run(")[0]


@dataclass(frozen=True)
class Program:
    """A program with the source of some networks in it."""

    path: Path
    sizes: tuple[list[int], ...]

    def run(self, index: int, x: np.ndarray | dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs `(n, size)` of a network, for float32 or uint8 images, or several inputs."""
        if isinstance(x, dict):
            x = np.concatenate([array.reshape(len(array), -1) for array in x.values()], axis=1)
        todo = "pixels" if x.dtype == np.uint8 else "floats"
        data = np.frombuffer(self._call(index, todo, x.tobytes()), np.float32)
        sizes = self.sizes[index]
        return np.split(data.reshape(len(x), sum(sizes)), np.cumsum(sizes)[:-1], axis=1)

    def self_test(self, index: int) -> None:
        """Fails if the self-test does."""
        self._call(index, "test", b"")

    def _call(self, index: int, todo: str, data: bytes) -> bytes:
        command = [str(self.path), str(index), todo]
        done = subprocess.run(command, input=data, capture_output=True, env=dict(os.environ))
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def build(
    folder: Path,
    networks: Sequence[Network],
    compiler: str,
    flags: Sequence[str] = SANITIZERS,
) -> Program:
    """Writes networks and compiles them, all warnings on, with a main of their own."""
    includes, blocks, sources, sizes = [], [], [], []
    for index, net in enumerate(networks):
        net = dataclasses.replace(
            net, info=dataclasses.replace(net.info, name=f"net_{index}", tag=None)
        )
        written = write(net)
        write_files(folder / str(index), written.files)
        prefix = prefix_of(written)
        has_pixels = f"{prefix}_run_pixels".encode() in written.files["model.h"]
        input_sizes = [int(np.prod(shape)) for shape in net.graph.inputs.values()]
        includes.append(f'#include "{index}/model.h"')
        blocks.append(
            _NETWORK.format(
                index=index,
                prefix=prefix,
                macros=prefix.upper(),
                size=sum(input_sizes),
                inputs=", ".join(f"x + {begin}" for begin in np.cumsum([0, *input_sizes[:-1]])),
                run_pixels=f"{prefix}_run_pixels(bytes, y)" if has_pixels else "return 98",
            )
        )
        sources += [str(folder / str(index) / name) for name in ("model.c", "selftest.c")]
        types = infer_types(net.graph)
        sizes.append([int(np.prod(types[name].shape)) for name in net.graph.outputs])
    main = folder / "main.c"
    main.write_text(_MAIN.format(includes="\n".join(includes), networks="".join(blocks)))
    path = folder / f"program_{compiler}"
    compile_c(compiler, [*flags, str(main), *sources, "-o", str(path), "-lm"])
    return Program(path, tuple(sizes))


def compile_c(compiler: str, arguments: Sequence[str]) -> None:
    """Compiles; warnings are errors."""
    done = subprocess.run([compiler, *WARNINGS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
