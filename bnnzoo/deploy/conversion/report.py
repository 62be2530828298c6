"""What a conversion tells: bytes, layers, passes, checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from bnnzoo.deploy.conversion.self_check import Check
from bnnzoo.deploy.formats.packed import PackedFile
from bnnzoo.deploy.formats.storage import array_names
from bnnzoo.deploy.ir import Graph, Node
from bnnzoo.deploy.keras_frontend import Trace, TracedCall
from bnnzoo.deploy.keras_frontend.convolving import CONVOLVING

__all__ = ["ConversionReport", "DataReport", "LayerReport", "Sizes", "layer_reports", "sizes"]


@dataclass(frozen=True)
class Sizes:
    """Bytes of a packed file, by what they are for.

    Attributes:
        binary_kernels: One bit a weight.
        float_kernels: Kernels of real numbers, with the scales of those stored in 8 bits.
        vectors: Scales, biases, thresholds: numbers per channel.
        metadata: Graph, labels, digests.
        keras_weights: Bytes of the weights in Keras.
    """

    binary_kernels: int
    float_kernels: int
    vectors: int
    metadata: int
    keras_weights: int

    @property
    def total(self) -> int:
        """Bytes of the file."""
        return self.binary_kernels + self.float_kernels + self.vectors + self.metadata

    @property
    def ratio(self) -> float:
        """How many times smaller than Keras's weights the file is."""
        return self.keras_weights / self.total


@dataclass(frozen=True)
class LayerReport:
    """How a layer with a kernel computes.

    Attributes:
        name: Its path.
        kind: Its class.
        binary: Whether it counts bits.
        stored: How its kernels are stored, as `bits` or `float32`.
        input_bits: 8 where it takes its input in 8 bits, to multiply integers; None elsewhere.
        reason: Why it is not binary; None if it is.
        surprising: Whether a reader of the model would take it for binary.
    """

    name: str
    kind: str
    binary: bool
    stored: tuple[str, ...]
    input_bits: int | None
    reason: str | None
    surprising: bool


@dataclass(frozen=True)
class DataReport:
    """Accuracy on real images, before and after.

    Attributes:
        dataset: Name of the data set.
        n: Number of images.
        keras_top1: Percent, in Keras.
        packed_top1: Percent, in the packed runtime.
        agreement: Percent of images with the same best class in both.
    """

    dataset: str
    n: int
    keras_top1: float
    packed_top1: float
    agreement: float


@dataclass(frozen=True)
class ConversionReport:
    """The result of `convert`.

    Attributes:
        model: Name of the model.
        path: The file; None where none was written.
        weights_dtype: How kernels of real numbers are stored.
        sizes: Bytes.
        layers: Every layer with a kernel.
        passes: Name of a pass -> how many nodes it changed, of those before the file is written.
        runtime_passes: The same of those that run when it is loaded.
        samples: Number of images that the layers were compared on.
        runtime: Instruction set of the runtime that was compared; None if its engine is missing.
        check: What the comparison found.
        output_difference: Largest difference of an output of the whole network from Keras, as a
            share of the largest output. On random weights it means nothing: signs flip.
        top1_agreement: Share of these images with the same best class; None if the network is no
            classifier.
        data: Accuracy on real images; None where none were given.
    """

    model: str
    path: str | None
    weights_dtype: str
    sizes: Sizes
    layers: tuple[LayerReport, ...]
    passes: dict[str, int]
    runtime_passes: dict[str, int]
    samples: int
    runtime: str | None
    check: Check
    output_difference: float | None
    top1_agreement: float | None
    data: DataReport | None

    def __str__(self) -> str:
        """Returns the report as some lines of text, without the tables."""
        sizes = self.sizes
        real = [layer.name for layer in self.layers if not layer.binary]
        lines = [
            f"{self.model}: {sizes.total:,} bytes, {sizes.ratio:.1f} times smaller than in Keras "
            f"(binary kernels {sizes.binary_kernels:,}, float kernels {sizes.float_kernels:,}, "
            f"scales and biases {sizes.vectors:,}, metadata {sizes.metadata:,}).",
            f"{len(real)} of {len(self.layers)} layers compute in real numbers"
            + (f": {', '.join(real)}." if real else "."),
            *self.in_8_bits(),
            *self.notes(),
            *self.findings(),
            f"Wrote {self.path}." if self.path else "Nothing was written (dry run).",
        ]
        return "\n".join(lines)

    def in_8_bits(self) -> list[str]:
        """Returns a sentence that counts the layers whose input is in 8 bits, where there are."""
        count = sum(layer.input_bits is not None for layer in self.layers)
        return [f"{count} of them multiply in 8 bits."] if count else []

    def notes(self) -> list[str]:
        """Returns a sentence for every layer that a reader of the model would take for binary."""
        return [
            f"Note: {layer.name} looks binary and is not: {layer.reason}."
            for layer in self.layers
            if layer.surprising
        ]

    def findings(self) -> list[str]:
        """Returns a sentence for everything that was compared."""
        lines = []
        if self.samples:
            who = f"Keras, the oracle and the runtime ({self.runtime})"
            who = who if self.runtime else "Keras and the oracle (the runtime is not built)"
            lines.append(
                f"Checked on {self.samples} images, layer by layer on equal inputs: {who} agree "
                f"in {self.check.numbers:,} numbers. The largest difference is "
                f"{100 * self.check.worst:.0f} % of what rounding explains; {self.check.flips:,} "
                "signs differ, all next to zero."
            )
        if self.output_difference is not None:
            line = f"Whole network: outputs differ by {self.output_difference:.2g} of the largest"
            if self.top1_agreement is not None:
                line += f", the best class is the same for {100 * self.top1_agreement:.0f} %"
            lines.append(f"{line}.")
        if self.data is not None:
            lines.append(
                f"{self.data.dataset} (n = {self.data.n:,}): top-1 {self.data.packed_top1:.2f} % "
                f"packed, {self.data.keras_top1:.2f} % in Keras; the best class is the same for "
                f"{self.data.agreement:.2f} %."
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        report = dataclasses.asdict(self)
        report["sizes"] |= {"total": self.sizes.total, "ratio": round(self.sizes.ratio, 2)}
        return report


def sizes(file: PackedFile, model: keras.Model) -> Sizes:
    """Returns the bytes of a file by category."""
    kernels = {
        node.tensors["kernel"] for node in file.graph.all_nodes() if "kernel" in node.tensors
    }
    counts = {"binary_kernels": 0, "float_kernels": 0, "vectors": 0}
    for name, stored in file.stored.items():
        kind = "float_kernels" if name in kernels else "vectors"
        kind = "binary_kernels" if stored.encoding == "bits" else kind
        arrays = array_names(name, stored.encoding)
        counts[kind] += sum(file.array_bytes[array] for array in arrays)
    weights = sum(int(weight.nbytes) for weight in model.get_weights())
    return Sizes(**counts, metadata=file.header_bytes, keras_weights=weights)


def layer_reports(traced: Trace, file: PackedFile) -> tuple[LayerReport, ...]:
    """Returns how every layer with a kernel computes, in order; shared layers once."""
    return tuple(
        _layer_report(call, list(_nodes(traced.graph, call)), file)
        for call in traced.calls
        if type(call.call.layer) in CONVOLVING and call.call.path == call.call.first_path
    )


def _nodes(graph: Graph, call: TracedCall) -> Iterator[Node]:
    """Yields the convolutions of a layer."""
    path = call.call.path
    for node in graph.nodes:
        own = node.name == path or node.name.rpartition("/")[0] == path
        if own and node.op in ("conv2d", "bconv2d"):
            yield node


def _layer_report(call: TracedCall, nodes: list[Node], file: PackedFile) -> LayerReport:
    stored = tuple(file.stored[node.tensors["kernel"]].encoding for node in nodes)
    binary = all(node.op == "bconv2d" for node in nodes)
    layer = call.call.layer
    reason, surprising = (None, False) if binary else _why_real(layer, call.quantized, stored)
    kind = type(layer).__name__
    bits = _input_bits(nodes, file)
    return LayerReport(call.call.path, kind, binary, stored, bits, reason, surprising)


def _input_bits(nodes: list[Node], file: PackedFile) -> int | None:
    """Returns the bits of the input of convolutions as the file has them."""
    names = {node.name for node in nodes}
    bits = [n.attributes.get("input_bits") for n in file.graph.nodes if n.name in names]
    return next((b for b in bits if b is not None), None)


def _why_real(layer: Any, quantized: str | None, stored: tuple[str, ...]) -> tuple[str, bool]:
    """Returns why a layer computes in real numbers, and whether that is a surprise."""
    if not hasattr(layer, "quantizers"):
        return f"{type(layer).__name__} has no quantizers", False
    if "bits" not in stored and quantized is None:
        return "it has no quantizers", False
    if "bits" not in stored:
        return "its kernel is real: it has an input quantizer, but no kernel quantizer", True
    if quantized is None:
        return "its input is real: it has a binary kernel, but no input quantizer", True
    if "Depthwise" in type(layer).__name__ or "Separable" in type(layer).__name__:
        return "depthwise kernels have too few products per output to count bits", False
    return "its input has values that bits and levels cannot hold at the border", True
