"""The two containers of torch.save: files that PyTorch wrote, and every way to damage one."""

from __future__ import annotations

import re
import struct
import zipfile

import numpy as np
import pytest

from bnnzoo.checkpoints import torch_file
from bnnzoo.checkpoints.allowed_names import Other
from bnnzoo.checkpoints.tensors import Storage, StoredTensor
from bnnzoo.errors import WeightsError
from tests.checkpoints.files import (
    GOLDENS,
    dictionary,
    integer,
    new_file,
    old_file,
    ones,
    plain_file,
    sequence,
    storage,
    tensor,
    text,
    whole,
    zipped,
)

EXPECTED = np.load(GOLDENS / "expected.npz")
FILES = sorted(path.stem for path in GOLDENS.glob("*.pth") if "refused_" not in path.name)
REFUSED = {
    "complex": "the name `torch.ComplexFloatStorage`, which dense tensors of real numbers do not",
    "expanded": r"must not repeat the 2 elements of its storage, got shape \(2, 50\)",
    "module": r"name `torch.nn.modules.container.Sequential`.*It is a whole model. Save its w",
    "quantized": "it uses the name `torch._utils._rebuild_qtensor`",
    "script": "it is a TorchScript program. Save its weights",
    "sparse": "it uses the name `torch._utils._rebuild_sparse_tensor`",
}
TENSORS = dictionary({"a": tensor(storage("0", 6), (2, 3)), "b": tensor(storage("1", 4), (4,))})
STORAGES = {"0": ones(6), "1": ones(4)}


def refused(data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        torch_file.from_bytes(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def tensors(value, path):
    """The tensors in nested dictionaries, by path as in `expected.npz`."""
    if isinstance(value, StoredTensor):
        yield path, value.array()
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from tensors(item, f"{path}/{key}")


# Files that PyTorch wrote -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_values_equal_those_that_torch_reads(name):
    found = dict(tensors(torch_file.read(GOLDENS / f"{name}.pth"), name))
    assert set(found) == {key for key in EXPECTED.files if key.split("/")[0] == name}
    for key, array in found.items():
        assert array.dtype == EXPECTED[key].dtype, key
        np.testing.assert_array_equal(array, EXPECTED[key], strict=True)
        np.testing.assert_array_equal(np.signbit(array), np.signbit(EXPECTED[key]))


def test_the_goldens_cover_every_type_and_form():
    types = {array.dtype.name for key, array in EXPECTED.items() if key.startswith("types/")}
    assert len(types) == 12  # bfloat16 is float32 there
    assert len(FILES) == 10


def test_other_values_of_a_training_loop_become_plain_values():
    loaded = torch_file.read(GOLDENS / "trained.pth")
    assert (loaded["epoch"], loaded["arch"], loaded["none"]) == (120, "net", None)
    assert loaded["size"] == (3, 4) and loaded["history"] == {"loss": [1.0, 0.5]}
    assert {k: v.kind for k, v in loaded.items() if isinstance(v, Other)} == {
        "args": "argparse.Namespace",
        "best_acc1": "numpy._core.multiarray.scalar",
        "loss": "numpy._core.multiarray.scalar",
        "device": "torch.device",
        "seen": "__builtin__.set",
        "bytes": "_codecs.encode",
    }


@pytest.mark.parametrize("name", REFUSED)
def test_other_objects_are_refused_by_name(name):
    path = GOLDENS / f"refused_{name}.pth"
    with pytest.raises(WeightsError, match=f"^{re.escape(str(path))}: .*{REFUSED[name]}"):
        torch_file.read(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing\.pth cannot be read: No such file"):
        torch_file.read(tmp_path / "nothing.pth")


# Other files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"",
            "must be a zip archive or a pickle of torch.save, got another file. Save its weights",
        ),
        (b"\x89HDF\r\n\x1a\n" + bytes(8), "got an HDF5 file"),
        (
            b"storages".ljust(257, b"\0") + b"ustar" + bytes(250),
            "it is a tar archive, the format of the first versions",
        ),
        (whole(b"}"), "it is a pickle that torch.save did not write"),
        (whole(integer(5)) * 2, "it is a pickle that torch.save did not write"),
        (zipped({"config.json": b"{}"}), "must have one member NAME/data.pkl, got 0"),
        (zipped({"a/data.pkl": b"", "b/data.pkl": b""}), "NAME/data.pkl, got 2"),
        (zipped({"a/b/data.pkl": b""}), "NAME/data.pkl, got 1"),
    ],
)
def test_other_files_are_refused(data, message):
    refused(data, message)


# The zip archive ----------------------------------------------------------------------------------


def test_a_storage_must_be_in_the_archive():
    refused(new_file(TENSORS, {"0": ones(6)}), "it has no storage '1'")


@pytest.mark.parametrize("elements", [5, 7])
def test_a_storage_must_have_its_size(elements):
    refused(new_file(TENSORS, {**STORAGES, "0": ones(elements)}), "'0' must have 24 bytes for")


@pytest.mark.parametrize("name", ["../x", "net/../../x", "/etc/passwd", "C:\\x", "net/data/"])
def test_members_are_never_written_to_their_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storages = {f"net/data/{key}": numbers for key, numbers in STORAGES.items()}
    file = zipped({"net/data.pkl": whole(TENSORS), **storages, name: b"x"})
    assert set(torch_file.from_bytes(file)) == {"a", "b"}
    assert not list(tmp_path.iterdir())


def test_keys_cannot_leave_the_archive():
    refused(
        new_file(dictionary({"a": tensor(storage("../../x", 1), (1,))})), "no storage '../../x'"
    )


def test_compressed_members_are_refused():
    bomb = zipped({"net/data.pkl": whole(b"}"), "net/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 11_000
    refused(bomb, "'net/data.pkl' must be stored uncompressed and unencrypted")


def test_encrypted_members_are_refused():
    file = bytearray(new_file(TENSORS, STORAGES))
    file[file.index(b"PK\1\2") + 8] |= 1
    refused(bytes(file), "uncompressed and unencrypted")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_must_be_unique(tmp_path):
    path = tmp_path / "twice.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for content in (whole(b"}"), whole(TENSORS)):
            archive.writestr("net/data.pkl", content)
    refused(path.read_bytes(), "'net/data.pkl' occurs twice")


def test_members_must_not_overlap():
    file = bytearray(new_file(TENSORS, STORAGES))
    entries = [m.start() for m in re.finditer(b"PK\1\2", bytes(file))]
    file[entries[2] + 42 : entries[2] + 46] = file[entries[1] + 42 : entries[1] + 46]
    refused(bytes(file), "overlaps another member")
    file = bytearray(new_file(TENSORS, STORAGES))
    file[entries[1] + 20 : entries[1] + 28] = struct.pack("<II", 30, 30)
    refused(bytes(file), "overlaps another member|must have 24 bytes")
    file[entries[2] + 20 : entries[2] + 28] = struct.pack("<II", 2**31, 2**31)
    refused(bytes(file), "overlaps another member")


def test_checksums_are_compared():
    file = new_file(TENSORS, STORAGES)
    place = file.index(ones(6))
    changed = torch_file.from_bytes(file[:place] + b"\1" + file[place + 1 :])
    with pytest.raises(WeightsError, match="checksum of 'data/0' is wrong"):
        changed["a"].array()
    np.testing.assert_array_equal(changed["b"].array(), np.ones(4, "f4"))
    refused(file.replace(b"FloatStorage", b"FloatStorag_"), "checksum of 'data.pkl' is wrong")


def test_truncated_files_are_refused():
    file = new_file(TENSORS, STORAGES)
    for length in range(len(file)):
        refused(file[:length], "zip directory is broken|got another file")


@pytest.mark.parametrize("order", [b"little", b"big"])
def test_both_byte_orders_are_read(order):
    numbers = np.arange(6, dtype="<f4" if order == b"little" else ">f4").tobytes()
    loaded = torch_file.from_bytes(new_file(TENSORS, {**STORAGES, "0": numbers}, byteorder=order))
    np.testing.assert_array_equal(loaded["a"].array(), np.arange(6, dtype="f4").reshape(2, 3))


def test_other_byte_orders_are_refused():
    refused(new_file(TENSORS, STORAGES, byteorder=b"mixed"), "must be little or big, got b'mixed'")


def test_a_pickle_must_not_be_too_long():
    refused(new_file(text("x" * 2**22)), "pickle must have at most 4194304 bytes, got 41943")
    refused(old_file(text("x" * 2**22)), "pickle must have at most 4194304 bytes. Save the state")


# The legacy format --------------------------------------------------------------------------------


def old(view: bytes = b"N", elements: int = 6) -> bytes:
    return dictionary({"a": tensor(storage("0", elements, "torch.FloatStorage", view), (2, 2))})


OLD = {"0": (6, ones(6))}


@pytest.mark.parametrize(
    ("content", "storages", "message"),
    [
        (old(), {}, "list of storages does not match its tensors"),
        (old(), {"1": OLD["0"]}, "list of storages does not match its tensors"),
        (old(), {**OLD, "1": (1, ones(1))}, "list of storages does not match its tensors"),
        (old(), {"0": (5, ones(6))}, "storage '0' must have 6 elements, got 5"),
        (old(), {"0": (6, ones(5))}, r"storage '0' ends at byte \d+ but the file has"),
        (old(), {"0": (6, ones(7))}, r"its last storage ends at byte \d+ but the file has"),
        (old(sequence(text("1"), integer(3), integer(4))), OLD, "a view must be within its stor"),
        (old(sequence(text("1"), integer(-1), integer(4))), OLD, "a view must be within its stor"),
        (old(sequence(text("1"), integer(1))), OLD, "a view must be a tuple of three"),
        (old(sequence(text("1"), text("2"), integer(1))), OLD, "a view must have an offset"),
        (old() + b"0" + old(elements=7), OLD, "storage '0' has two types or sizes"),
        (old(), {"0": (2**62, ones(6))}, "storage '0' must have 6 elements"),
        (old(elements=2**61), {"0": (2**61, ones(6))}, "storage '0' ends at byte"),
    ],
)
def test_malformed_files_of_the_legacy_format_are_refused(content, storages, message):
    refused(old_file(content, storages), message)


def test_views_of_storages_begin_at_their_offset():
    content = old(sequence(text("1"), integer(2), integer(4)))
    numbers = np.arange(6, dtype="<f4").tobytes()
    loaded = torch_file.from_bytes(old_file(content, {"0": (6, numbers)}))
    np.testing.assert_array_equal(loaded["a"].array(), np.float32([[2, 3], [4, 5]]))


def test_truncated_files_of_the_legacy_format_are_refused():
    file = plain_file(old=True, a=(2, 3), b=(4,))
    for length in range(len(file)):
        with pytest.raises(WeightsError):
            torch_file.from_bytes(file[:length])


# Ids of storages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "message"),
    [
        (integer(5), "a persistent id must be a tuple of 5 values for a storage, got 5"),
        (sequence(text("module")), "a persistent id must be a tuple of 5 values"),
        (sequence(*[text("storage")] * 5), "a storage must have a type and a key"),
        (storage("0", -1)[:-1], "a storage must have a size, got -1"),
        (storage("0", 1, "torch.Size")[:-1], "a storage must have a type and a key"),
    ],
)
def test_persistent_ids_are_storages(id, message):
    refused(new_file(id + b"Q", STORAGES), message)


def test_a_storage_is_not_read_before_it_is_used():
    assert isinstance(torch_file.from_bytes(new_file(storage("0", 6), STORAGES)), Storage)
