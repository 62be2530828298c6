"""Where the weights are in a checkpoint."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bnnzoo.checkpoints import state_dict
from bnnzoo.checkpoints.allowed_names import Other
from bnnzoo.checkpoints.tensors import DTYPES, Storage, stored_tensor
from bnnzoo.errors import WeightsError
from tests.checkpoints.files import GOLDENS, dictionary, new_file, ones, plain_file, storage, tensor

STORAGE = Storage(DTYPES["float32"], 1, lambda: memoryview(ones(1)))
T = stored_tensor(STORAGE, 0, (1,), (1,))
WEIGHTS = {"conv1.weight": T, "bn1.bias": T}


def prefixed(prefix: str):
    return {prefix + name: tensor for name, tensor in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("loaded", "key", "prefix"),
    [
        (WEIGHTS, None, ""),
        ({"state_dict": WEIGHTS, "epoch": 3, "best_prec1": T}, "state_dict", ""),
        ({"model": WEIGHTS, "optimizer": {"state": {0: {"momentum_buffer": T}}}}, "model", ""),
        ({"net": WEIGHTS, "criterion": {"weight": T}}, "net", ""),
        ({"anything": WEIGHTS, "lr": 0.1}, "anything", ""),
        ({"": WEIGHTS, 5: WEIGHTS}, "", ""),
        ({"state_dict": WEIGHTS, "state_dict_ema": WEIGHTS}, "state_dict_ema", ""),
        (
            {"model": WEIGHTS, "model_ema": prefixed("module.") | {"n_averaged": T}},
            "model_ema",
            "module.",
        ),
        ({"model": WEIGHTS, "model_ema": None}, "model", ""),
        (prefixed("module."), None, "module."),
        (prefixed("module._orig_mod.module."), None, "module._orig_mod.module."),
        (
            {"state_dict": prefixed("module."), "args": Other("argparse.Namespace")},
            "state_dict",
            "module.",
        ),
    ],
)
def test_weights_are_found(loaded, key, prefix):
    found = state_dict.find(loaded)
    assert (found.key, found.prefix) == (key, prefix)
    assert dict(found.tensors) == WEIGHTS and found.others == ()


def test_a_key_selects_others():
    loaded = {"state_dict": {"a": T}, "model_ema": {"b": T}}
    assert set(state_dict.find(loaded, "state_dict").tensors) == {"a"}
    with pytest.raises(WeightsError, match="under the key 'x'. .* 'state_dict', 'model_ema'"):
        state_dict.find(loaded, "x")


def test_a_prefix_must_be_that_of_all():
    found = state_dict.find({"module.a": T, "b": T})
    assert set(found.tensors) == {"module.a", "b"} and found.prefix == ""


def test_entries_that_are_not_tensors_are_named():
    found = state_dict.find({"module.a": T, "module.extra_state": Other("torch.device")})
    assert found.others == ("extra_state",)
    assert state_dict.find({"module.a": T, 5: T, None: T}).others == ("5", "None")


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        ([T], "it must contain a dictionary of tensors, got a list. Save model"),
        (T, "it must contain a dictionary of tensors, got a StoredTensor"),
        ({}, "it must contain named tensors, got none. Save model"),
        ({"epoch": 3, 0: T}, "it must contain named tensors"),
        (
            {"generator": WEIGHTS, "critic": WEIGHTS},
            "keys, 'generator', 'critic'. Choose one: --key",
        ),
    ],
)
def test_objects_without_weights_are_refused(loaded, message):
    with pytest.raises(WeightsError, match=message):
        state_dict.find(loaded)


def test_files_are_read_with_their_digest():
    path = GOLDENS / "trained.pth"
    found = state_dict.read(path)
    assert (found.key, found.prefix) == ("model_ema", "module.")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    expected = np.load(GOLDENS / "expected.npz")
    for name, tensor_ in found.tensors.items():
        np.testing.assert_array_equal(
            tensor_.array(), expected[f"trained/model_ema/module.{name}"], strict=True
        )
    assert state_dict.read(path, "state_dict").key == "state_dict"


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(new_file(b"]"))
    with pytest.raises(WeightsError, match=r"net\.pth: it must contain a dictionary of tensors"):
        state_dict.read(path)


def test_tensors_may_share_a_storage_only_a_few_times(tmp_path):
    """A few tied weights are common, but a small file must not need much memory."""
    path = tmp_path / "net.pth"
    for count, fits in ((3, True), (40, False)):
        held = storage("0", 5000)
        content = dictionary({f"t{i}": tensor(held, (5000,)) for i in range(count)})
        path.write_bytes(new_file(content, {"0": ones(5000)}))
        if fits:
            assert len(state_dict.read(path).tensors) == count
        else:
            with pytest.raises(
                WeightsError,
                match=r"tensors must have at most .* bytes in total, got 800000\. Save",
            ):
                state_dict.read(path)


@pytest.mark.parametrize("old", [False, True])
def test_both_formats(tmp_path, old):
    path = tmp_path / "net.pth.tar"
    path.write_bytes(plain_file(old=old, a=(2, 3), b=(4,)))
    found = state_dict.read(path)
    assert {name: t.shape for name, t in found.tensors.items()} == {"a": (2, 3), "b": (4,)}
