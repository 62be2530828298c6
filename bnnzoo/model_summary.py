"""Counts the parameters, bits, bytes and multiply-accumulates (MACs) of each layer of a model."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import keras

from bnnzoo.nn.layers import QuantizedLayer
from bnnzoo.opening import open_model
from bnnzoo.plain_text import plain
from bnnzoo.tables import html_table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LayerSummary", "ModelSummary", "summary"]

Shape: TypeAlias = tuple[int | None, ...]
Call: TypeAlias = tuple[Any, Any]  # the shapes of the input and of the output

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
# Layers that use every kernel weight once per output position,
ONCE_PER_OUTPUT = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
# or once per input position.
ONCE_PER_INPUT = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        name: Name, prefixed by the names of the enclosing models: "backbone/conv".
        type: Class name.
        input_bits: Bits to which the layer quantizes its input; None if it does not.
        output_shape: Output shape of the first call, with None for the batch; a tuple of shapes for
            several outputs; None if unknown.
        params_by_bits: Number of parameters by bits.
        packed_bytes: Bytes of the parameters at these bits, rounded up to whole bytes per tensor.
            The four vectors of a batch normalization count as the two that they fold into.
        float32_bytes: Bytes of the same parameters in float32.
        macs_by_bits: MACs for one example, by the larger of the bits of input and weight; None if
            unknown.
    """

    name: str
    type: str
    input_bits: int | None
    output_shape: tuple[Any, ...] | None
    params_by_bits: Mapping[int, int]
    packed_bytes: int
    float32_bytes: int
    macs_by_bits: Mapping[int, int] | None


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """The layers of a model and their totals. `print` shows a table.

    Attributes:
        name: Name of the model.
        layers: The layers of the model and of the models inside it, in order.
    """

    name: str
    layers: tuple[LayerSummary, ...]

    @property
    def params_by_bits(self) -> dict[int, int]:
        """Number of parameters by bits."""
        return _sum(layer.params_by_bits for layer in self.layers)

    @property
    def params(self) -> int:
        """Number of parameters, equal to `model.count_params()`."""
        return sum(self.params_by_bits.values())

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed parameters, with batch normalization folded."""
        return sum(layer.packed_bytes for layer in self.layers)

    @property
    def float32_bytes(self) -> int:
        """Bytes of the same parameters in float32, with batch normalization folded."""
        return sum(layer.float32_bytes for layer in self.layers)

    @property
    def compression(self) -> float:
        """`float32_bytes / packed_bytes`; 1 for a model without parameters."""
        return self.float32_bytes / self.packed_bytes if self.packed_bytes else 1.0

    @property
    def macs_by_bits(self) -> dict[int, int]:
        """MACs for one example by bits, without `uncounted_layers`."""
        return _sum(layer.macs_by_bits or {} for layer in self.layers)

    @property
    def macs(self) -> int:
        """MACs for one example, without `uncounted_layers`."""
        return sum(self.macs_by_bits.values())

    @property
    def binary_mac_share(self) -> float:
        """Fraction of the MACs with 1-bit input and weight, which XNOR and popcount compute."""
        return self.macs_by_bits.get(1, 0) / self.macs if self.macs else 0.0

    @property
    def uncounted_layers(self) -> tuple[str, ...]:
        """Names of the layers whose MACs are unknown."""
        return tuple(layer.name for layer in self.layers if layer.macs_by_bits is None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the layers and totals as JSON values; bits that are keys become strings."""
        totals = {
            "params": self.params,
            "params_by_bits": self.params_by_bits,
            "packed_bytes": self.packed_bytes,
            "float32_bytes": self.float32_bytes,
            "compression": self.compression,
            "macs": self.macs,
            "macs_by_bits": self.macs_by_bits,
            "binary_mac_share": self.binary_mac_share,
            "uncounted_layers": self.uncounted_layers,
        }
        layers = [asdict(layer) for layer in self.layers]
        value: dict[str, Any] = _json({"name": self.name, "totals": totals, "layers": layers})
        return value

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=240, color_system=None).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __repr__(self) -> str:
        return (
            f"<ModelSummary: {self.name}, {self.params:,} parameters, {self.packed_bytes:,} packed "
            f"bytes, {self.macs:,} MACs>"
        )

    def _repr_html_(self) -> str:
        headers, rows, totals = self.table()
        words = self.totals_in_words().replace("\n", "<br>")
        return html_table(headers, [*rows, totals], numbers=range(2, len(headers))) + words

    def __rich__(self) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        headers, rows, totals = self.table()
        # Text, because rich reads a name in brackets as a style.
        table = Table(
            title=Text(plain(self.name), "table.title"),
            title_justify="left",
            box=SIMPLE_HEAD,
            show_footer=True,
        )
        for header, total in zip(headers, totals, strict=True):
            left = header in ("layer", "type")
            table.add_column(header, total, justify="left" if left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        return Group(table, Text(self.totals_in_words()))

    def table(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Returns the head, the row of each layer, and the totals."""
        param_bits, mac_bits = sorted(self.params_by_bits), sorted(self.macs_by_bits)
        headers = ["layer", "type", "input bits", "output"]
        headers += [f"{bits}-bit params" for bits in param_bits] + ["packed bytes"]
        headers += [f"{bits}-bit MACs" for bits in mac_bits]
        totals = ["total", "", "", "", *_cells(self.params_by_bits, param_bits)]
        totals += [f"{self.packed_bytes:,}", *_cells(self.macs_by_bits, mac_bits)]
        rows = [_row(layer, param_bits, mac_bits) for layer in self.layers]
        return headers, rows, totals

    def totals_in_words(self) -> str:
        """Returns parameters, bytes and MACs of the whole model, a line each."""
        lines = [
            f"Parameters: {self.params:,}",
            f"Packed: {self.packed_bytes:,} bytes, {self.compression:.1f} times smaller than "
            f"{self.float32_bytes:,} bytes of float32",
            f"MACs: {self.macs:,}, {100 * self.binary_mac_share:.2f} % binary",
        ]
        if self.uncounted_layers:
            names = ", ".join(map(plain, self.uncounted_layers))
            lines.append(f"MACs not counted for: {names}")
        return "\n".join(lines)


def summary(model: keras.Model | str | PathLike[str]) -> ModelSummary:
    """Returns parameters, bits, packed bytes and MACs of every layer of a built model.

    The bits of a MAC are the larger of the bits of its two factors; a MAC is binary if both have
    one bit. Inputs that the layer does not quantize count as 32 bits. Weights without a quantizer
    count as the bits of their data type. MACs are counted for dense and convolution layers. They
    are unknown for recurrent and attention layers, for layers inside other layers, in subclassed
    models, and for inputs without a fixed size.

    The result equals that of `larq.models.summary`, except for the following:

    - All parameters are counted. Larq leaves out the two vectors of a batch normalization that
      folding removes; here, they are left out of the bytes only.
    - Larq does not count MACs of 3D convolutions, and counts a layer that is called twice once.
    - A transposed convolution uses each weight once per input pixel. Larq counts output pixels,
      about strides[0] * strides[1] times too many.
    - The pointwise part of a separable convolution works on the 32-bit sums of the depthwise part.
      Larq uses the bits of the layer's input.
    - The bytes of each tensor are rounded up to whole bytes.

    Args:
        model: A Keras model, or a source that `open_model` accepts. No weights are downloaded.

    Raises:
        ValueError: The model has no weights yet.
        BnnZooError: The model cannot be opened; see `open_model`.
    """
    if isinstance(model, (str, PathLike)):
        model = open_model(model)
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} must be built, got one without weights. Add an Input layer, or "
            "call the model once."
        )
    found: dict[int, _Use] = {}
    for use in _walk(model, "", [(None, None)]):
        first = found.get(id(use.layer))
        found[id(use.layer)] = use if first is None else first.and_again(use)
    return ModelSummary(model.name, tuple(_summarize(use) for use in found.values()))


class _Use(NamedTuple):
    """An occurrence of a layer in a model, with the layer's own weights."""

    layer: keras.Layer
    name: str
    weights: list[Any]
    calls: list[Call] | None  # None if unknown

    def and_again(self, other: _Use) -> _Use:
        """Returns this use with the calls of another use of the same layer."""
        if self.calls is None or other.calls is None:
            return self._replace(calls=None)
        return self._replace(calls=self.calls + other.calls)


def _walk(layer: keras.Layer, name: str, calls: list[Call] | None) -> Iterator[_Use]:
    """Yields a layer and its inner layers, if they have own weights or no inner layers."""
    parts = layer.layers if isinstance(layer, keras.Model) else layer._layers
    inside = {id(weight) for part in parts for weight in part.weights}
    own = [weight for weight in layer.weights if id(weight) not in inside]
    if own or not parts:
        yield _Use(layer, name or layer.name, own, calls)
    graph = _calls_inside(layer)
    for part in parts:
        part_name = f"{name}/{part.name}" if name else part.name
        part_calls = None
        if graph is not None and calls is not None:
            part_calls = graph[id(part)] * len(calls)
        yield from _walk(part, part_name, part_calls)


def _calls_inside(layer: keras.Layer) -> dict[int, list[Call]] | None:
    """Returns the calls of every layer of a functional or sequential model, else None."""
    graph = getattr(layer, "_functional", None) or layer
    if not hasattr(graph, "_nodes_by_depth"):
        return None
    calls: dict[int, list[Call]] = {}
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            shapes = (_shape(node.input_tensors), _shape(node.output_tensors))
            calls.setdefault(id(node.operation), []).append(shapes)
    return calls


def _shape(tensors: list[Any]) -> Any:
    shapes = tuple(tuple(tensor.shape) for tensor in tensors)
    return shapes[0] if len(shapes) == 1 else shapes


def _summarize(use: _Use) -> LayerSummary:
    layer, name, weights, calls = use
    quantizers = layer.quantizers if isinstance(layer, QuantizedLayer) else ()
    bits = {id(weight): _bits_of_dtype(weight.dtype) for weight in weights}
    for variable, quantizer in quantizers:
        bits[id(variable)] = min(bits[id(variable)], getattr(quantizer, "bits", 32))
    sizes = [(bits[id(weight)], math.prod(weight.shape)) for weight in weights]
    folded = [_folds(layer, weight) for weight in weights]
    stored = [size for size, folds in zip(sizes, folded, strict=True) if not folds]
    return LayerSummary(
        name=name,
        type=type(layer).__name__,
        input_bits=getattr(getattr(layer, "input_quantizer", None), "bits", None),
        output_shape=calls[0][1] if calls else None,
        params_by_bits=_sum({b: n} for b, n in sizes),
        packed_bytes=sum(math.ceil(b * n / 8) for b, n in stored),
        float32_bytes=sum(4 * n for _, n in stored),
        macs_by_bits=_macs(layer, [(w, bits[id(w)]) for w in weights], calls),
    )


def _bits_of_dtype(dtype: str) -> int:
    digits = "".join(character for character in dtype if character.isdigit())
    return int(digits) if digits else 8  # bool


def _folds(layer: keras.Layer, weight: Any) -> bool:
    # y = gamma (x - mean) / sqrt(variance + epsilon) + beta is a scale and an offset: after
    # training, two of the four vectors are enough. It does not matter which two are dropped here.
    if isinstance(layer, keras.layers.BatchNormalization):
        return weight.name in ("gamma", "beta")
    return weight.name in ("lora_kernel_a", "lora_kernel_b")  # merged into the kernel


def _macs(
    layer: keras.Layer, weights: list[tuple[Any, int]], calls: list[Call] | None
) -> dict[int, int] | None:
    if not any(weight.name.endswith("kernel") for weight, _ in weights):
        return {}
    if calls is None or not isinstance(layer, ONCE_PER_OUTPUT + ONCE_PER_INPUT):
        return None
    macs: Counter[int] = Counter()
    for input_shape, output_shape in calls:
        shape = input_shape if isinstance(layer, ONCE_PER_INPUT) else output_shape
        positions = _positions(layer, shape)
        if None in positions:
            return None
        for weight, bits in weights:
            if weight.name in KERNELS:
                n = math.prod((*weight.shape, *positions))
                macs[max(bits, _input_bits(layer, weight))] += n
    return dict(macs)


def _positions(layer: keras.Layer, shape: Shape) -> Shape:
    if getattr(layer, "data_format", None) == "channels_first":
        return shape[2:]
    return shape[1:-1]


def _input_bits(layer: keras.Layer, kernel: Any) -> int:
    if kernel.name == "pointwise_kernel":
        return 32
    return getattr(getattr(layer, "input_quantizer", None), "bits", 32)


def _sum(counts: Any) -> dict[int, int]:
    total: Counter[int] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted((bits, n) for bits, n in total.items() if n))


def _cells(counts: Mapping[int, int] | None, columns: list[int]) -> list[str]:
    if counts is None:
        return ["?"] * len(columns)
    return [f"{counts[bits]:,}" if bits in counts else "-" for bits in columns]


def _row(layer: LayerSummary, param_bits: list[int], mac_bits: list[int]) -> list[str]:
    return [
        plain(layer.name),
        plain(layer.type),
        "-" if layer.input_bits is None else str(layer.input_bits),
        _shape_in_words(layer.output_shape),
        *_cells(layer.params_by_bits, param_bits),
        f"{layer.packed_bytes:,}" if layer.packed_bytes else "-",
        *_cells(layer.macs_by_bits, mac_bits),
    ]


def _shape_in_words(shape: tuple[Any, ...] | None) -> str:
    if shape is None:
        return "?"
    if shape and isinstance(shape[0], tuple):
        return ", ".join(_shape_in_words(part) for part in shape)
    sides = ["?" if side is None else str(side) for side in shape[1:]]
    return f"({', '.join(['n', *sides])})"


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
