"""`bnnzoo inspect`: shows the graph, the tensors and the metadata of a packed file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._packed import packed_file
from bnnzoo.cli.output import echo, print_json, print_table

if TYPE_CHECKING:
    from bnnzoo.formats.packed import PackedFile


@click.command("inspect")
@click.argument("model", shell_complete=_completing.models)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(model: str, as_json: bool) -> None:
    """Show the graph, tensors, bits, bytes and metadata of MODEL: a packed file, or a name."""
    from bnnzoo.formats.packed import open_file

    file = packed_file(model)
    report = describe(open_file(file))
    report = {"file": str(file), "bytes": file.stat().st_size, **report}
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def describe(packed: PackedFile) -> dict[str, Any]:
    """Returns the contents of a packed file as JSON values."""
    from bnnzoo.formats.graph_document import to_document
    from bnnzoo.graph.ops import infer_types

    types = infer_types(packed.graph)
    graph = to_document(packed.graph, packed.stored, version=2)
    for node in graph["nodes"]:
        node["kind"] = types[node["name"]].kind
        node["shape"] = list(types[node["name"]].shape)
    del graph["tensors"]
    used = dict.fromkeys(name for node in packed.graph.nodes for name in node.tensors.values())
    tensors = [_tensor(packed, name) for name in used]
    return {
        "format": packed.format,
        "header_bytes": packed.header_bytes,
        "digest": packed.digest,
        "info": packed.info.to_dict(),
        "graph": graph,
        "tensors": tensors,
        "totals": _totals(tensors),
    }


def _tensor(packed: PackedFile, name: str) -> dict[str, Any]:
    from bnnzoo.formats.storage import BITS, array_names

    stored = packed.stored[name]
    arrays = array_names(name, stored.encoding)
    return {
        "name": name,
        "encoding": stored.encoding,
        "bits": BITS[stored.encoding],
        "shape": list(stored.shape),
        "elements": math.prod(stored.shape),
        "bytes": sum(packed.array_bytes[array] for array in arrays),
        "sha256": {array: packed.array_sha256[array] for array in arrays},
    }


def _totals(tensors: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for tensor in tensors:
        total = totals.setdefault(tensor["encoding"], {"tensors": 0, "elements": 0, "bytes": 0})
        total["tensors"] += 1
        total["elements"] += tensor["elements"]
        total["bytes"] += tensor["bytes"]
    return totals


def _print_report(report: dict[str, Any]) -> None:
    info = report["info"]
    facts = {
        "file": f"{report['file']} ({report['bytes']:,} bytes, {report['header_bytes']:,} header)",
        "format": report["format"],
        "digest": report["digest"],
        **{name: info.get(name) for name in ("name", "tag", "preprocessing", "licence")},
        "labels": f"{len(info['labels']):,}" if "labels" in info else None,
        "weights": "random" if info.get("random_weights") else None,
        "weights sha256": info.get("weights_sha256"),
        "made with": ", ".join(f"{k} {v}" for k, v in info.get("versions", {}).items()) or None,
    }
    for key, value in facts.items():
        if value is not None:
            echo(f"{key:>14}  {value}")
    graph = report["graph"]
    inputs = ", ".join(f"{entry['name']} {_shape(entry['shape'])}" for entry in graph["inputs"])
    echo(f"{'inputs':>14}  {inputs}")
    echo(f"{'outputs':>14}  {', '.join(info.get('output_names', graph['outputs']))}")
    echo()
    print_table(
        ["node", "operation", "kind", "shape", "inputs"],
        [
            [n["name"], _operation(n), n["kind"], _shape(n["shape"]), ", ".join(n["inputs"])]
            for n in graph["nodes"]
        ],
        title="Graph",
        optional=("inputs", "kind", "shape"),
    )
    columns = ["name", "encoding", "bits", "shape", "elements", "bytes"]
    rows = [[t[c] if c != "shape" else _shape(t[c]) for c in columns] for t in report["tensors"]]
    optional = ("elements", "bits", "shape")
    print_table(["tensor", *columns[1:]], rows, title="Tensors", optional=optional)
    totals = [[name, *total.values()] for name, total in report["totals"].items()]
    print_table(["encoding", "tensors", "elements", "bytes"], totals, title="Totals")


def _operation(node: dict[str, Any]) -> str:
    bits = node.get("attributes", {}).get("input_bits")
    return node["op"] if bits is None else f"{node['op']}, {bits}-bit input"


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))
