"""`bnnzoo unpack`: writes the weights of a packed file as NumPy arrays or memory images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli import _completing
from bnnzoo.cli._packed import packed_file
from bnnzoo.cli.output import note, print_json
from bnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@click.command("unpack")
@click.argument("model", shell_complete=_completing.models)
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["npz", "mem"]),
    default="npz",
    show_default=True,
    help="NumPy arrays, or a folder of hex words for $readmemh.",
)
@click.option(
    "--word-bits",
    type=int,
    metavar="N",
    help="With --format mem: word size of binary kernels in bits. Default: 32.",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    model: str,
    output: Path,
    format_name: str,
    word_bits: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the tensors of MODEL to OUT. MODEL is a packed file, or a name.

    Binary kernels are written as int8 arrays of -1 and +1, (c_out, h, w, c_in), or as bits of hex
    words. All other tensors are float32.
    """
    from bnnzoo.formats.packed import read

    if format_name == "npz" and word_bits is not None:
        raise ArgumentError("--word-bits requires --format mem. Add it, or leave --word-bits out.")
    file = packed_file(model)
    if format_name == "mem":
        from bnnzoo.conversion.writing import Target
        from bnnzoo.formats.mem import MEM, WORD_BITS, to_files

        target = Target(output, MEM, force)
        files = to_files(*read(file), WORD_BITS if word_bits is None else word_bits)
        target.write(files)
        written = {"files": len(files)}
    else:
        from bnnzoo.graph.ir import numbers

        check_writable(output, force, [file])
        graph, _ = read(file)
        arrays = {name: numbers(tensor) for name, tensor in graph.tensors.items()}
        write_file(output, _npz(arrays))
        written = {"arrays": len(arrays)}
    if as_json:
        print_json({"file": str(file), "output": str(output), "format": format_name, **written})
    else:
        note(f"{output}: {', '.join(f'{n:,} {what}' for what, n in written.items())}")


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns the bytes of an .npz file. np.savez reserves names that a tensor may have."""
    from numpy.lib import format as npy

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                npy.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()
