"""Claim: only arrays of images with class indices become data sets, and nothing is unpickled."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import arrays, labels, open_source
from bnnzoo.data.arrays import from_arrays
from bnnzoo.errors import ArgumentError, DataError

ROOT = Path(__file__).parents[2]
X = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
Y = np.array([2, 0, 1])


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BNNZOO_DATA_DIR", str(tmp_path))
    return tmp_path


def save(path: Path, **named: np.ndarray) -> Path:
    np.savez(path, **named)
    return path


@pytest.mark.parametrize("y", [Y, Y[:, None], Y.astype("uint8"), Y.tolist()], ids=repr)
def test_labels_may_be_a_column(y: object) -> None:
    source = from_arrays(X, y)
    assert [item.label for item in source.items] == [2, 0, 1]
    assert [item.id for item in source.items] == ["arrays/0", "arrays/1", "arrays/2"]
    np.testing.assert_array_equal([image for image, _, _ in source], X)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (X / 255, Y, "images must be uint8, got float64"),
        (X[0], Y, r"images must be \(n, h, w\).* got \(4, 4\)"),
        (X.reshape(3, 1, 4, 4), Y, r"got \(3, 1, 4, 4\)\. Put channels last"),
        (X[:0], Y[:0], "must not be empty"),
        (X, Y.astype(float), "labels must be integers, got float64"),
        (X, Y[:2], r"one index per image, \(3,\), got \(2,\)"),
        (X, np.eye(3, dtype=int), r"got \(3, 3\)\. Turn one-hot rows into indices"),
        ([X[0], X[1], X[2, 1:]], Y, "images must have one shape, got several. Resize them"),
    ],
    ids=[
        "float",
        "one image",
        "channels first",
        "empty",
        "float label",
        "fewer",
        "one-hot",
        "sizes",
    ],
)
def test_arrays_that_cannot_be_used(x: np.ndarray, y: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        from_arrays(x, y)


def test_npz_file_and_its_splits(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", x_test=X, y_test=Y, x_train=X[:2], y_train=Y[:2])
    assert len(open_source(path)) == len(open_source(f"{path}:test")) == 3
    assert len(open_source(f"{path}:train")) == 2
    assert open_source(path).name == "d.npz"
    assert open_source(f"{path}:train").name == "d.npz:train"


def test_npz_label_out_of_range_names_the_image(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", x_test=X, y_test=Y)
    with pytest.raises(DataError, match=r"d.npz/0: class index must be from 0 to 1, got 2"):
        open_source(path, num_classes=2)
    source = open_source(path, num_classes=2, skip_bad=True)
    assert (len(source), [s.id for s in source.skipped]) == (2, ["d.npz/0"])


def test_npz_without_the_arrays(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", images=X, y_test=Y)
    with pytest.raises(DataError, match=r"no arrays x_test and y_test; it has 'images', 'y_test'"):
        open_source(path)


class Bomb:
    """Would make a file if anyone unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_pickled_npz_is_refused(tmp_path: Path) -> None:
    bombs = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    path = save(tmp_path / "d.npz", x_test=bombs, y_test=Y)
    with pytest.raises(DataError, match="it holds pickled objects, which are never opened"):
        open_source(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated", "bit flip", "npy"])
def test_broken_npz_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x_test=X, y_test=Y)
    whole = bytearray(path.read_bytes())
    path.unlink()
    if kind == "bit flip":
        whole[120] ^= 0xFF
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, X)
    elif kind != "missing":
        parts = {"text": b"hello", "empty": b"", "truncated": whole[:-40], "bit flip": whole}
        path.write_bytes(parts[kind])
    reason = " is not a readable .npz: it is not an archive of arrays" if kind == "text" else ""
    with pytest.raises(DataError, match=rf"d\.npz{reason}") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def npy_header(text: str) -> bytes:
    """Bytes of an `.npy` file that has this text for a header, and no numbers."""
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "header",
    [
        "(" * 100,
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999999,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': 'abc'}",
        "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': ['a', 1], 'fortran_order': False, 'shape': (1,)}",
    ],
    ids=["open", "beyond 64 bits", "terabytes", "text", "no shape", "type"],
)
def test_npz_with_a_broken_header_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, y_test=np.zeros(1, np.int64))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_test.npy", npy_header(header))
    with pytest.raises(DataError, match=r"d\.npz is not a readable \.npz: "):
        open_source(path)


def test_npz_with_damaged_lzma_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4, 4), np.uint8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_test.npy", buffer.getvalue())
        archive.writestr("y_test.npy", buffer.getvalue())
    content = bytearray(path.read_bytes())
    content[62] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"d\.npz is not a readable \.npz: "):
        open_source(path)


def test_open_images_are_converted(rng: np.random.Generator) -> None:
    colours = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    images = [colours.convert("P"), colours]
    expected = [np.asarray(image.convert("RGB")) for image in images]
    found = [image for image, _, _ in from_arrays(images, [0, 1])]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")  # NumPy warns of some broken headers before it raises
@pytest.mark.parametrize("save_npz", [np.savez, np.savez_compressed])
def test_mutated_npz_gives_images_or_a_data_error(
    tmp_path: Path, rng: np.random.Generator, save_npz: Callable[..., None]
) -> None:
    save_npz(tmp_path / "d.npz", x_test=X, y_test=Y)
    whole = np.frombuffer((tmp_path / "d.npz").read_bytes(), dtype=np.uint8)
    for _ in range(500):
        broken = whole.copy()
        broken[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        (tmp_path / "d.npz").write_bytes(broken.tobytes())
        try:
            assert len(open_source(tmp_path / "d.npz", num_classes=9)) == 3
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", arrays.KERAS_DATASETS)
def test_keras_dataset_is_read_from_the_data_folder(data_dir: Path, name: str) -> None:
    save(data_dir / f"{name}.npz", x_test=X, y_test=Y, x_train=X[:1], y_train=Y[:1])
    source = open_source(f"keras:{name}")
    assert (source.name, len(source)) == (f"keras:{name}:test", 3)
    assert source.class_names == labels.names(name)
    assert next(item.id for item in source.items) == f"{name}:test/0"
    assert len(open_source(f"keras:{name}:train")) == 1


def test_keras_dataset_offline_says_where_it_looked(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNNZOO_OFFLINE", "yes")
    with pytest.raises(DataError, match=rf"is not at {data_dir}.* and BNNZOO_OFFLINE is set"):
        open_source("keras:mnist")


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNNZOO_DATA_DIR", "~nobody_of_this_name/images")
    with pytest.raises(DataError, match=r"must be in a folder, got '~nobody.*Set BNNZOO_DATA_D"):
        open_source("keras:mnist")


def test_keras_dataset_that_cannot_be_downloaded(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = pytest.importorskip("keras")

    def load_data() -> None:
        print("Downloading data from https://example.invalid")
        raise Exception("URL fetch failure on https://example.invalid: None -- refused")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    match = r"keras:mnist cannot be downloaded: URL fetch failure.*Put mnist.npz into"
    with pytest.raises(DataError, match=match):
        open_source("keras:mnist")
    assert capsys.readouterr().out == ""


def test_keras_dataset_is_taken_from_keras_without_a_file(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = pytest.importorskip("keras")
    data = ((X[:1], Y[:1, None]), (X, Y[:, None]))
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: data)
    assert [len(open_source(f"keras:cifar10:{split}")) for split in ("train", "test")] == [1, 3]
    keras.config.set_image_data_format("channels_first")
    colour = np.stack([X, X + 1, X + 2], axis=-1)
    first = (colour.transpose(0, 3, 1, 2), Y[:, None])  # as Keras then gives them
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: (first, first))
    try:
        image, _, _ = next(iter(open_source("keras:cifar10")))
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(image, colour[0])


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("keras:fashion-mnist", r"Unknown data set 'keras:fashion-mnist'. Did you mean"),
        ("d.npz:valid", r"Split of d.npz must be one of train, test, got 'valid'"),
        ("keras:mnist:", r"Split of keras:mnist must be one of train, test, got ''"),
        ("keras:mnist:val", r"Split of keras:mnist must be one of train, test, got 'val'"),
        ("sample:mnist", r"Unknown data set 'sample:mnist'.*sample:fashion_mnist"),
    ],
)
def test_unknown_names(spec: str, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        open_source(spec)


@pytest.mark.parametrize("option", ["labels_csv", "class_map"])
def test_folder_options_are_refused_elsewhere(option: str) -> None:
    with pytest.raises(ArgumentError, match=r"must not be given for sample:fashion_mnist"):
        open_source("sample:fashion_mnist", **{option: "x.csv"})  # type: ignore[arg-type]


def test_another_number_of_classes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    open_source("sample:fashion_mnist", num_classes=1000)
    assert "sample:fashion_mnist has 10 classes, the model has 1000." in caplog.text


def test_sample_is_balanced_and_small() -> None:
    source = open_source("sample:fashion_mnist")
    assert len(source) == 2000
    assert np.bincount([item.label for item in source.items]).tolist() == [200] * 10
    assert next(iter(source))[0].shape == (28, 28)
    assert source.class_names == labels.names("fashion_mnist")
    folder = ROOT / "bnnzoo" / "data" / "samples"
    assert (folder / "fashion_mnist.npz").stat().st_size < 900_000
    assert "MIT" in (folder / "fashion_mnist.LICENSE.txt").read_text()


def test_sample_is_what_the_script_makes(tmp_path: Path) -> None:
    whole = arrays.data_folder() / "fashion_mnist.npz"
    if not whole.is_file():
        pytest.skip(f"{whole} is not there: only the sample is part of the repository")
    made = tmp_path / "sample.npz"
    script = ROOT / "examples" / "make_sample.py"
    subprocess.run(
        [sys.executable, script, "--output", made],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    ours = ROOT / "bnnzoo" / "data" / "samples" / "fashion_mnist.npz"
    with np.load(made) as new, np.load(ours) as shipped:
        assert new.files == shipped.files
        for name in new.files:
            np.testing.assert_array_equal(new[name], shipped[name])
    with np.load(whole) as full, np.load(ours) as shipped:
        np.testing.assert_array_equal(full["x_test"][shipped["index"]], shipped["x_test"])


def test_sample_has_the_pixels_of_the_published_file() -> None:
    with np.load(ROOT / "bnnzoo" / "data" / "samples" / "fashion_mnist.npz") as sample:
        digest = hashlib.sha256(sample["x_test"].tobytes() + sample["y_test"].tobytes())
    assert digest.hexdigest() == "8e8b02fc2db0ff9ed2d481ff30f8bd7cc5c88205cb131d7f4a0c19448f6957c9"
