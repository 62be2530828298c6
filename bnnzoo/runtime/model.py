"""The network that `runtime.load` returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnnzoo.arguments import check_integer
from bnnzoo.errors import ArgumentError, GraphError, ModelFormatError
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.call_arguments import by_name
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes import RUNTIME, Pass, apply
from bnnzoo.runtime.planner import Plan, plan
from bnnzoo.runtime.settings import choose_isa, choose_threads, isas

if TYPE_CHECKING:
    from bnnzoo.data.preprocessing import Images

__all__ = ["Model", "NodeTime", "isas", "load"]

Floats = NDArray[np.float32]
# One input; or several, by name or in order.
Input = ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike]


@dataclass(frozen=True)
class NodeTime:
    """The measured cost of one node.

    Attributes:
        name: Name of the node; the elementwise nodes fused with it are not listed.
        op: Operation of the node.
        ms: Milliseconds for one image, the minimum of all runs.
        macs: Multiply-accumulates of a convolution, real or binary; 0 for other nodes.
    """

    name: str
    op: str
    ms: float
    macs: int

    @property
    def gmacs_per_second(self) -> float | None:
        """Giga-multiply-accumulates per second; None if the node has none."""
        return self.macs / (self.ms * 1e6) if self.macs and self.ms > 0 else None


class Model:
    """A network for inference.

    A model can be called from several threads at once. Results do not depend on the number of
    threads. A forked child process gets the same results, on one thread. Pickles and copies keep
    the given arguments: those that were None are chosen again where they are opened.

    Args:
        graph: The network, before or after any passes.
        info: Metadata of the network.
        threads: See `load`.
        isa: See `load`.
        passes: Passes to run before the graph is planned.

    Raises:
        GraphError: The graph is invalid.
        ArgumentError: `threads` or `isa` is invalid.

    Attributes:
        graph: The given graph.
        info: Metadata of the network.
        isa: The instruction set of its kernels.
        threads: Number of threads of a call; the system may grant fewer than requested.
    """

    def __init__(
        self,
        graph: Graph,
        info: NetworkInfo | None = None,
        *,
        threads: int | None = None,
        isa: str | None = None,
        passes: Sequence[Pass] = RUNTIME,
    ) -> None:
        self.graph = graph
        self.info = info or NetworkInfo("network")
        self.isa = choose_isa(isa)
        self.threads = choose_threads(threads)
        self._passes = tuple(passes)
        self._again = partial(Model, threads=threads, isa=isa, passes=self._passes)
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._plan = self._planned(graph.outputs)
        self.threads = self._plan.engine.threads

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Graph, NetworkInfo]]:
        return self._again, (self.graph, self.info)

    def __call__(self, *x: Input) -> Floats | tuple[Floats, ...]:
        """Returns the network's output for preprocessed images.

            model(images)
            model(left, right), model([left, right]) or model({"left": left, "right": right})

        Args:
            x: float32 `(n, h, w, c)`. Several inputs are passed in the order of `input_names`, or
                as a dict with these names.

        Returns:
            float32 `(n, classes)`; if the network has several outputs, a tuple in the order of
            `output_names`.

        Raises:
            ArgumentError: `x` has the wrong shape, type or number of inputs.
        """
        results = self._run(self._plan, x)
        return results[0] if len(results) == 1 else tuple(results)

    def predict(self, images: Images) -> Floats | tuple[Floats, ...]:
        """Returns the network's output for raw images.

        Args:
            images: uint8 arrays `(h, w)`, `(h, w, c)` or `(n, h, w, c)`, a Pillow image, or a list
                of images of any size.

        Raises:
            ArgumentError: The preprocessing of this network is unknown.
            DataError: The images have the wrong type or shape.
        """
        return self(self.preprocess(images))

    def preprocess(self, images: Images) -> Floats:
        """Preprocesses raw images: float32 `(n, h, w, c)`.

        Raises:
            ArgumentError: The preprocessing of this network is unknown, or it has several inputs.
            DataError: The images have the wrong type or shape.
        """
        from bnnzoo.data import preprocessing

        shape = self.input_shape
        if self.info.preprocessing is None:
            raise ArgumentError(
                f"{self.info.name} has no preprocessing in its file. Preprocess images with "
                "bnnzoo.data.preprocessing.get(id) and call the model with the result."
            )
        return preprocessing.get(self.info.preprocessing, shape)(images)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order in which a call takes them."""
        return tuple(self.graph.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the order in which a call returns them."""
        return self.info.output_names or self.graph.outputs

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each input for one image."""
        return tuple(self.graph.inputs.values())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image, `(h, w, c)`, for a network with one input.

        Raises:
            ArgumentError: It has several inputs.
        """
        if len(self.input_shapes) > 1:
            raise ArgumentError(
                f"{self.info.name} must have one input for this, got {len(self.input_shapes)}: "
                f"{', '.join(self.input_names)}. Preprocess each and call the model with all of "
                "them; `input_shapes` has their shapes."
            )
        return self.graph.input_shape

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each output for one image."""
        return tuple(self._plan.output_shapes)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Name of each class; None if they are unknown."""
        if self.info.labels is None and self.info.label_set is not None:
            from bnnzoo.data import labels

            return labels.names(self.info.label_set)
        return self.info.labels

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, real and binary."""
        return sum(self._plan.macs.values())

    @property
    def binary_macs(self) -> int:
        """Those of them whose two factors are binary."""
        return sum(self._plan.macs[name] for name in self._plan.binary)

    @property
    def ram_bytes(self) -> int:
        """Memory for the values of one image; each thread needs it for an image of a batch."""
        return self._plan.arena_bytes

    def run_values(self, x: Input, names: Sequence[str]) -> dict[str, Floats]:
        """Returns chosen values of the graph for preprocessed images.

        Bits are -1 and +1, levels are level / (2^bits - 1), as `dequantize` would return them.

        Args:
            x: float32 `(n, h, w, c)`; several inputs as a list or a dict.
            names: Names of values of `graph`.

        Raises:
            ArgumentError: `x` has the wrong shape or type, or a name is unknown.
        """
        known = {*self.graph.inputs, *(node.name for node in self.graph.nodes)}
        for name in names:
            if name not in known:
                raise ArgumentError(
                    f"names must be values of the graph, got {name!r}. `model.graph` has them."
                )
        wanted = tuple(dict.fromkeys(names))
        if not wanted:
            return {}
        if wanted not in self._plans:
            self._plans[wanted] = self._planned(wanted)
        return dict(zip(wanted, self._run(self._plans[wanted], (x,)), strict=True))

    def profile(self, x: Input | None = None, runs: int = 20) -> list[NodeTime]:
        """Measures every node, in execution order.

        Unlike in a normal call, a pooling is not interleaved with the convolution before it.

        Args:
            x: One preprocessed image `(1, h, w, c)`; several inputs as a list or a dict. Random
                numbers by default.
            runs: Number of runs.

        Raises:
            ArgumentError: `x` has the wrong shape or type, or `runs` is not positive.
        """
        runs = check_integer(runs, "runs")
        plan = self._plan
        images, outputs = self._arrays(plan, (self.random_inputs(1) if x is None else x,))
        plan.engine.run(images, outputs)
        each = [plan.engine.run(images, outputs, True) for _ in range(runs)]
        least = np.asarray(each, np.float64).reshape(runs, -1).min(axis=0) / 1e6
        times = dict.fromkeys(plan.owners, 0.0)
        for (name, op), ms in zip(plan.owners, least / max(1, len(images[0])), strict=True):
            times[name, op] += float(ms)
        return [NodeTime(*node, ms, plan.macs.get(node[0], 0)) for node, ms in times.items()]

    def random_inputs(self, count: int) -> dict[str, Floats]:
        """Returns standard normal numbers for `count` images, always the same ones."""
        rng = np.random.default_rng(0)
        return {
            name: rng.standard_normal((count, *shape), np.float32)
            for name, shape in self.graph.inputs.items()
        }

    def __repr__(self) -> str:
        return f"<{self.info.name}, {self.isa}, threads={self.threads}>"

    def _planned(self, outputs: tuple[str, ...]) -> Plan:
        source = self.graph
        # What the passes infer is not kept with the source.
        known = dict(source.inferred)
        graph = Graph(source.inputs, source.nodes, outputs, source.tensors, known)
        return plan(apply(graph, self._passes)[0], self.isa, self.threads)

    def _run(self, plan: Plan, x: Sequence[Input]) -> list[Floats]:
        images, outputs = self._arrays(plan, x)
        plan.engine.run(images, outputs)
        return outputs

    def _arrays(self, plan: Plan, x: Sequence[Input]) -> tuple[list[Floats], list[Floats]]:
        """Checks the inputs; returns them and empty arrays for the outputs."""
        one, inputs = len(self.graph.inputs) == 1, self.graph.inputs
        arrays = {
            name: _checked(array, inputs[name], "x" if one else name)
            for name, array in by_name(inputs, x).items()
        }
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise ArgumentError(
                f"All inputs must have the same number of images, got {found}. "
                "The first axis counts images."
            )
        (count, *_) = counts.values()
        outputs = [np.empty((count, *s), np.float32) for s in plan.output_shapes]
        return list(arrays.values()), outputs


def _checked(x: ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    """Returns an input in the engine's layout."""
    rule = f"{name} must be (n, {', '.join(map(str, shape))})"
    try:
        images: NDArray[Any] = np.asarray(x)
    except ValueError as error:  # of lists whose entries have several shapes
        raise ArgumentError(
            f"{rule}, got images of several shapes. Pass raw images to predict, which resizes them."
        ) from error
    if images.dtype != np.float32:
        raise ArgumentError(
            f"{name} must be float32, got {images.dtype}. Pass raw uint8 images to predict, and "
            f"other arrays as {name}.astype(np.float32)."
        )
    if images.shape[1:] != shape or images.ndim == 0:
        raise ArgumentError(f"{rule}, got {images.shape}. The first axis counts images.")
    return np.ascontiguousarray(images)


def load(path: str | os.PathLike[str], threads: int | None = None, isa: str | None = None) -> Model:
    """Loads a packed network.

    Args:
        path: A packed file.
        threads: Number of threads of a call. None takes `BNNZOO_NUM_THREADS`, or the number of
            available cores, at most 8.
        isa: One of `isas()`. None takes `BNNZOO_FORCE_ISA`, or the best one of this CPU.

    Raises:
        ModelFormatError: The file does not exist or is broken.
        ArgumentError: `threads` or `isa` is invalid.
    """
    from bnnzoo.formats import packed

    graph, info = packed.read(path)
    try:
        return Model(graph, info, threads=threads, isa=isa)
    except GraphError as error:
        raise ModelFormatError(f"{os.fspath(path)}: {error}") from error
