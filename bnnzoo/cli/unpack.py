"""`bnnzoo unpack`: the weights of a packed file as arrays of NumPy."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.cli.output import check_writable, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray


@click.command("unpack")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.npz", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite OUT.npz.")
def command(file: Path, output: Path, force: bool) -> None:
    """Write the tensors of the packed file FILE to OUT.npz.

    Binary kernels become int8 -1 and +1, (c_out, h, w, c_in); everything else float32.
    """
    from bnnzoo.deploy.formats.packed import read
    from bnnzoo.deploy.ir import numbers

    check_writable(output, force)
    graph, _ = read(file)
    arrays = {name: numbers(tensor) for name, tensor in graph.tensors.items()}
    write_atomic(output, _npz(arrays), force)
    click.echo(f"{output}: {len(arrays):,} arrays", err=True)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns the bytes of an .npz; np.savez has names of its own that a tensor could have."""
    from numpy.lib import format as npy

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                npy.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()
