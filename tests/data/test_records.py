"""Single records of TFRecord files are read at their places; broken files are named."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bnnzoo.data.records import RecordFile, Records
from bnnzoo.errors import DataError

DATA = [bytes([i]) * (5 * i) for i in range(6)]


def write(path: Path, data: list[bytes]) -> str:
    """Writes the frames of the format; checksums are not read."""
    frames = [struct.pack("<Q", len(d)) + b"crc1" + d + b"crc2" for d in data]
    path.write_bytes(b"".join(frames))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write(tmp_path / "a.tfrecord", DATA)


@pytest.mark.parametrize(("skip", "take"), [(0, 6), (2, 3), (5, 1)])
def test_records_of_a_slice(file: str, skip: int, take: int) -> None:
    records = RecordFile(file, 6, skip, take)
    found = [records.read(i) for i in reversed(range(len(records)))]
    assert found[::-1] == DATA[skip : skip + take]


def test_one_file_follows_the_other(tmp_path: Path, file: str) -> None:
    other = write(tmp_path / "b.tfrecord", DATA[::-1])
    records = Records(
        [RecordFile(file, 6, 1, 2), RecordFile(other, 6, 0, 0), RecordFile(other, 6, 0, 6)]
    )
    assert len(records) == 8
    assert list(records) == [*DATA[1:3], *DATA[::-1]]
    with pytest.raises(IndexError):
        records[8]


@pytest.mark.parametrize("cut", [1, 4, 7, 40, 99])
def test_a_file_that_is_cut_off_is_named(file: str, cut: int) -> None:
    path = Path(file)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"a\.tfrecord is broken at record \d of 6"):
        RecordFile(file, 6, 0, 6).read(0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.tfrecord cannot be read: No such file"):
        RecordFile(str(tmp_path / "b.tfrecord"), 6, 0, 6).read(0)


def test_a_length_that_cannot_be_is_an_error(file: str) -> None:
    data = bytearray(Path(file).read_bytes())
    data[:8] = b"\xff" * 8
    Path(file).write_bytes(data)
    with pytest.raises(DataError, match="is broken at record 0 of 6"):
        RecordFile(file, 6, 0, 6).read(3)


def test_a_count_that_cannot_be_is_an_error(file: str) -> None:
    with pytest.raises(DataError, match=r"a\.tfrecord is broken at record \d+ of 1000000000000000"):
        RecordFile(file, 10**15, 0, 6).read(0)
