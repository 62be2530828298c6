"""What a conversion tells: bytes, layers, passes, checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnnzoo.conversion.self_check import Check
from bnnzoo.formats.packed import PackedFile
from bnnzoo.formats.storage import array_names
from bnnzoo.graph.ir import Node
from bnnzoo.graph.ops import BINARY

__all__ = [
    "ConversionReport",
    "DataReport",
    "LayerReport",
    "Sizes",
    "layer_report",
    "packed_parts",
]


@dataclass(frozen=True)
class Sizes:
    """Bytes of what was made, by what they are for.

    Attributes:
        parts: Of a packed file: binary kernels, one bit a weight; float kernels, with the scales of
            those in 8 bits; scales and biases, numbers per channel; metadata: graph, labels,
            digests. Other formats have parts of their own.
        origin: Bytes of the weights in Keras, or of the file that was converted.
        ram: Memory for values, where the format plans it.
    """

    parts: Mapping[str, int]
    origin: int
    ram: int | None = None

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """How many times smaller than its origin it is."""
        return self.origin / self.total

    @property
    def comparison(self) -> str:
        """The same in words, as in 23.0 times smaller than before."""
        if not self.origin:
            return "from no weights before"
        factor = f"{max(self.ratio, 1 / self.ratio):.1f}"
        if factor == "1.0":
            return "as large as before"
        return f"{factor} times {'smaller' if self.ratio > 1 else 'larger'} than before"


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
        origin_top1: Percent, of what was converted.
        packed_top1: Percent, in the packed runtime.
        agreement: Percent of images with the same best class in both.
    """

    dataset: str
    n: int
    origin_top1: float
    packed_top1: float
    agreement: float


@dataclass(frozen=True)
class ConversionReport:
    """The result of `convert`.

    Attributes:
        model: Name of the model.
        origin: What it was compared with: Keras, or the file that was converted.
        path: The file or folder; None where none was written.
        format: Name of its format.
        weights_dtype: How kernels of real numbers are stored.
        sizes: Bytes.
        format_notes: What the format says of the network.
        layers: Every layer with a kernel.
        passes: Name of a pass -> how many nodes it changed, of those before the file is written.
        runtime_passes: The same of those that run when it is loaded.
        samples: Number of images that the layers were compared on.
        runtime: Instruction set of the runtime that was compared; None if its engine is missing.
        check: What the comparison found.
        output_difference: Largest difference of an output of the whole network from its origin, as
            a share of the largest output. On random weights it means nothing: signs flip.
        top1_agreement: Share of these images with the same best class; None if the network is no
            classifier.
        data: Accuracy on real images; None where none were given.
    """

    model: str
    origin: str
    path: str | None
    format: str
    weights_dtype: str
    sizes: Sizes
    format_notes: tuple[str, ...]
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
        parts = ", ".join(f"{name} {count:,}" for name, count in sizes.parts.items())
        real = [layer.name for layer in self.layers if not layer.binary]
        lines = [
            f"{self.model}: {sizes.total:,} bytes ({parts}), {sizes.comparison}.",
            f"{len(real)} of {len(self.layers)} layers compute in real numbers"
            + (f": {', '.join(real)}." if real else "."),
            *self.in_8_bits(),
            *self.notes(),
            *self.findings(),
            *self.format_notes,
            f"Wrote {self.path}." if self.path else "Nothing was written (dry run).",
        ]
        return "\n".join(lines)

    def in_8_bits(self) -> list[str]:
        """Returns a sentence that counts the layers whose input is in 8 bits, where there are."""
        count = sum(layer.input_bits is not None for layer in self.layers)
        return [f"{count} of them multiply in 8 bits."] if count else []

    def notes(self) -> list[str]:
        """Returns a sentence for every layer that is not what its reader would take it for."""
        binary = [
            f"Note: {layer.name} looks binary and is not: {layer.reason}."
            for layer in self.layers
            if layer.surprising
        ]
        wide = [
            f"Note: {layer.name} stays float32: {self.weights_dtype} would cost an output channel "
            "more than a rounding of its largest weight, as where a filter is nearly zero."
            for layer in self.layers
            if self.weights_dtype != "float32" and "float32" in layer.stored
        ]
        return binary + wide

    def findings(self) -> list[str]:
        """Returns a sentence for everything that was compared."""
        lines = []
        if self.samples:
            others = f", the reference interpreter and the runtime ({self.runtime})"
            if not self.runtime:
                others = " and the reference interpreter (the runtime is not built)"
            lines.append(
                f"Checked on {self.samples} images, layer by layer on equal inputs: {self.origin}"
                f"{others} agree in {self.check.numbers:,} numbers. The largest difference is "
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
                f"packed, {self.data.origin_top1:.2f} % in {self.origin}; the best class is the "
                f"same for {self.data.agreement:.2f} %."
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        report = dataclasses.asdict(self)
        report["sizes"] |= {"total": self.sizes.total, "ratio": round(self.sizes.ratio, 2)}
        return report


def packed_parts(file: PackedFile) -> dict[str, int]:
    """Returns the bytes of a packed file by category."""
    kernels = {node.tensors["kernel"] for node in file.graph.nodes if "kernel" in node.tensors}
    counts = {"binary kernels": 0, "float kernels": 0, "scales and biases": 0}
    for name, stored in file.stored.items():
        kind = "float kernels" if name in kernels else "scales and biases"
        kind = "binary kernels" if stored.encoding == "bits" else kind
        arrays = array_names(name, stored.encoding)
        counts[kind] += sum(file.array_bytes[array] for array in arrays)
    return {**counts, "metadata": file.header_bytes}


def layer_report(
    name: str, kind: str, nodes: Sequence[Node], file: PackedFile, why: str, surprising: bool
) -> LayerReport:
    """Returns how a layer computes.

    Args:
        name: Its path.
        kind: Its class.
        nodes: Its convolutions.
        file: What it is stored in.
        why: Why it computes in real numbers, if it does.
        surprising: Whether that would surprise a reader of the model.
    """
    stored = tuple(file.stored[node.tensors["kernel"]].encoding for node in nodes)
    bits = _input_bits(nodes, file)
    if all(node.op in BINARY for node in nodes):
        return LayerReport(name, kind, True, stored, bits, None, False)
    return LayerReport(name, kind, False, stored, bits, why, surprising)


def _input_bits(nodes: Sequence[Node], file: PackedFile) -> int | None:
    """Returns the bits of the input of convolutions as the file has them."""
    names = {node.name for node in nodes}
    bits = [n.attributes.get("input_bits") for n in file.graph.nodes if n.name in names]
    return next((b for b in bits if b is not None), None)
