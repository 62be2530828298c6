"""Opens whole models that Keras 2 or Larq saved as HDF5 (`model.save("net.h5")`).

The file contains the weights, and the model's structure as JSON. Layers, quantizers, constraints
and activations are looked up by name in fixed tables (`layers`), and the model is built from them.
Nothing in the file is imported or executed. Initializers, regularizers, losses and optimizers are
ignored.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnzoo.dry_build import count_numbers
from bnnzoo.errors import ModelFormatError, WeightsError, first_line
from bnnzoo.formats.strict_json import decode
from bnnzoo.hdf5_file import check_hdf5, largest_count
from bnnzoo.hdf5_model.building import build
from bnnzoo.hdf5_model.heaps import are_heaps_whole
from bnnzoo.snapshot import Snapshot

if TYPE_CHECKING:
    import keras

__all__ = ["open_hdf5_model"]

MAX_CONFIG_CHARACTERS = 2**24
# Allows for the seeds of random generators and similar state.
SPARE_NUMBERS = 4096
_CONFIG, _WEIGHTS = "model_config", "model_weights"


def open_hdf5_model(path: Snapshot) -> keras.Model:
    """Returns the model in an HDF5 file, without executing code in it.

    Raises:
        WeightsError: The file is damaged, contains only weights, has a layer that is not in the
            tables, or describes more weights than it stores.
    """
    try:
        config = _config(path)
        claimed = count_numbers(lambda: build(config))
        data, most = io.BytesIO(path.read_bytes()), largest_count(claimed)
        held = check_hdf5(data, str(path), most, lists=False)
        if claimed > 2 * held + SPARE_NUMBERS:
            raise WeightsError(
                f"{path} must store the {claimed:,} weights of its model, got {held:,}. Do not "
                "trust this file."
            )
        model = build(config)
        _assign(model, path)
        return model
    except ModelFormatError as error:
        raise WeightsError(f"{path} cannot be opened: {error}") from error
    except WeightsError:
        raise
    except Exception as error:  # Keras and its backends raise many kinds
        raise WeightsError(f"{path} cannot be opened: {first_line(error)}") from error


def _config(path: Snapshot) -> Any:
    """Returns the structure of the model."""
    import h5py

    data = path.read_bytes()
    if not are_heaps_whole(data):
        raise WeightsError(f"{path} is damaged. Download or save it again.")
    with h5py.File(io.BytesIO(data), "r") as file:
        if _CONFIG not in file.attrs:
            raise WeightsError(
                f"{path} contains only weights, not a model. Load them with bnnzoo.load(NAME, "
                "weights=FILE), or save the whole model with model.save('net.h5')."
            )
        kind = file.attrs.get_id(_CONFIG)
        if kind.shape != () or h5py.check_string_dtype(kind.dtype) is None:
            raise ModelFormatError(f"{_CONFIG} must be a string. Do not trust this file.")
        text = file.attrs[_CONFIG]
    text = text if isinstance(text, str) else bytes(text).decode(errors="replace")
    if len(text) > MAX_CONFIG_CHARACTERS:
        raise ModelFormatError(f"{_CONFIG} must have at most {MAX_CONFIG_CHARACTERS:,} characters.")
    return decode(text, _CONFIG)


def _assign(model: keras.Model, path: Snapshot) -> None:
    """Assigns the weights of each layer, which are in the group of the layer's name.

    The lists of weight names in the file are not needed: the last parts of an array's path are the
    names of its layer and weight.
    """
    import h5py

    with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        for layer in model.layers:
            if not layer.weights:
                continue
            group = file.get(f"{_WEIGHTS}/{layer.name}")
            arrays = dict(_arrays(group)) if isinstance(group, h5py.Group) else {}
            for leaf in _leaves(layer):
                for variable in [*leaf.trainable_weights, *leaf.non_trainable_weights]:
                    names = (variable.name,) if leaf is layer else (leaf.name, variable.name)
                    array = _only(arrays, names, f"{path}: layer '{layer.name}'")
                    if array.shape != tuple(variable.shape):
                        raise WeightsError(
                            f"{path}: {variable.name} of layer '{leaf.name}' must have shape "
                            f"{tuple(variable.shape)}, got {array.shape}. Save the model again."
                        )
                    variable.assign(np.asarray(array))


def _leaves(layer: Any) -> Iterator[Any]:
    """Yields the layers of a model, including those of nested models, or the layer itself."""
    if not hasattr(layer, "layers"):
        yield layer
        return
    for inner in layer.layers:
        yield from _leaves(inner)


def _arrays(group: Any, parts: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the arrays in a group with the parts of their paths."""
    for name, found in group.items():
        if hasattr(found, "items"):
            yield from _arrays(found, (*parts, name))
        else:
            yield (*parts, name.split(":")[0]), found


def _only(arrays: dict[tuple[str, ...], Any], names: tuple[str, ...], what: str) -> Any:
    """Returns the array whose path ends in `names`. Keras 2 names depthwise kernels differently."""
    last = (names[-1], f"depthwise_{names[-1]}")
    found = [
        array
        for parts, array in arrays.items()
        if parts[-1] in last and parts[-len(names) : -1] == names[:-1]
    ]
    if len(found) != 1:
        raise WeightsError(
            f"{what} must have one array {'/'.join(names)}, got {len(found)}. Save the model again."
        )
    return found[0]
