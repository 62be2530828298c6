"""The report of a conversion: bytes, layers, passes and checks."""

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
from bnnzoo.plain_text import counted

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
    """The bytes of the output by category.

    Attributes:
        parts: For a packed file: binary kernels, with one bit per weight; float kernels, with the
            scales of 8-bit ones; scales and biases, per channel; metadata: graph, labels and
            digests. Other formats have other categories.
        origin: Bytes of the weights in Keras, or of the converted file.
        ram: Bytes of memory for values, if the format plans it.
    """

    parts: Mapping[str, int]
    origin: int
    ram: int | None = None

    @property
    def total(self) -> int:
        """Total number of bytes."""
        return sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """`origin / total`."""
        return self.origin / self.total

    @property
    def comparison(self) -> str:
        """The ratio in words, such as "23.0 times smaller than before"."""
        if not self.origin:
            return "no weights before"
        factor = f"{max(self.ratio, 1 / self.ratio):.1f}"
        if factor == "1.0":
            return "as large as before"
        return f"{factor} times {'smaller' if self.ratio > 1 else 'larger'} than before"


@dataclass(frozen=True)
class LayerReport:
    """How a layer with a kernel computes.

    Attributes:
        name: Path of the layer.
        kind: Class of the layer.
        binary: Whether the layer computes on bits.
        stored: Encodings of the kernels, such as `bits` or `float32`.
        input_bits: 8 if the layer quantizes its input to 8 bits; otherwise None.
        reason: Why the layer is not binary; None if it is.
        surprising: Whether a reader of the model would expect a binary layer.
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
    """Accuracy before and after the conversion.

    Attributes:
        dataset: Name of the data set.
        n: Number of images.
        metric: Name of the accuracy: `top-1`, or for segmentation `mean IoU`.
        origin: Accuracy of the origin, in percent.
        packed: Accuracy in the packed runtime, in percent.
        agreement: Percentage of images with the same predicted class; None for segmentation.
    """

    dataset: str
    n: int
    metric: str
    origin: float
    packed: float
    agreement: float | None


@dataclass(frozen=True)
class ConversionReport:
    """The result of `convert`.

    Attributes:
        model: Name of the model.
        origin: Reference of the comparison: Keras, or the converted file.
        path: The written file or folder; None for a dry run.
        format: Name of the format.
        weights_dtype: Data type of real-valued kernels.
        sizes: Bytes by category.
        format_notes: Notes of the format about the network.
        layers: Every layer with a kernel.
        passes: Number of changed nodes by pass, for passes before the file is written.
        runtime_passes: The same for passes when the file is loaded.
        samples: Number of images on which layers were compared.
        runtime: Instruction set of the compared runtime; None if its engine is missing.
        check: Result of the comparison.
        output_difference: Largest difference between outputs of the whole network and its origin,
            divided by the largest output. Not meaningful for random weights, whose signs flip.
        top1_agreement: Fraction of these images, or of their pixels for segmentation, with the same
            predicted class; None if the network has no classes.
        data: Accuracy on `data`; None without data.
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
        """Returns the report as text without tables."""
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
        """Returns a sentence with the number of layers with 8-bit inputs, if there are any."""
        count = sum(layer.input_bits is not None for layer in self.layers)
        return [f"{count} of them multiply in 8 bits."] if count else []

    def notes(self) -> list[str]:
        """Returns a sentence for every layer that computes or is stored unexpectedly."""
        binary = [
            f"Note: {layer.name} looks binary but is not: {layer.reason}."
            for layer in self.layers
            if layer.surprising
        ]
        wide = [
            f"Note: {layer.name} stays float32: in {self.weights_dtype} an output channel would "
            "lose more than the rounding of its largest weight, as if its weights are nearly zero."
            for layer in self.layers
            if self.weights_dtype != "float32" and "float32" in layer.stored
        ]
        return binary + wide

    def findings(self) -> list[str]:
        """Returns a sentence for each comparison."""
        lines = []
        if self.samples:
            others = f", the reference interpreter and the runtime ({self.runtime})"
            if not self.runtime:
                others = " and the reference interpreter (the runtime is not built)"
            lines.append(
                f"Checked each layer on {counted(self.samples, 'image')}: {self.origin}{others} "
                f"agree on {self.check.numbers:,} numbers. The largest difference is "
                f"{100 * self.check.worst:.0f} % of the float32 rounding bound. {self._flips()}"
            )
        if self.output_difference is not None:
            line = f"Whole network: outputs differ by {self.output_difference:.2g} of the largest"
            if self.top1_agreement is not None:
                line += f"; {100 * self.top1_agreement:.0f} % of the predicted classes are equal"
            lines.append(f"{line}.")
        if self.data is not None:
            line = (
                f"{self.data.dataset} (n = {self.data.n:,}): {self.data.metric} "
                f"{self.data.packed:.2f} % packed, {self.data.origin:.2f} % in {self.origin}"
            )
            if self.data.agreement is not None:
                line += f"; {self.data.agreement:.2f} % of the predicted classes are equal"
            lines.append(f"{line}.")
        return lines

    def _flips(self) -> str:
        flips = self.check.flips
        if not flips:
            return "No sign differs."
        verb = "differs" if flips == 1 else "differ"
        return f"{counted(flips, 'sign')} {verb}, all within rounding."

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
    """Returns a report of a layer.

    Args:
        name: Path of the layer.
        kind: Class of the layer.
        nodes: Convolutions of the layer.
        file: The packed file with the layer.
        why: Why the layer computes in real numbers, if it does.
        surprising: Whether this would surprise a reader of the model.
    """
    stored = tuple(file.stored[node.tensors["kernel"]].encoding for node in nodes)
    bits = _input_bits(nodes, file)
    if all(node.op in BINARY for node in nodes):
        return LayerReport(name, kind, True, stored, bits, None, False)
    return LayerReport(name, kind, False, stored, bits, why, surprising)


def _input_bits(nodes: Sequence[Node], file: PackedFile) -> int | None:
    """Returns the number of bits to which the file quantizes the input of convolutions."""
    names = {node.name for node in nodes}
    bits = [n.attributes.get("input_bits") for n in file.graph.nodes if n.name in names]
    return next((b for b in bits if b is not None), None)
