"""`compare` and `bnnzoo compare`: networks side by side."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.cli.main import main
from bnnzoo.comparing import compare, fitting, matching
from bnnzoo.errors import ArgumentError, UnknownModelError

NAMES = ["binarynet_mlp", "binarynet.mnist_small", "birealnet20"]


@pytest.fixture(scope="module")
def rows():
    return compare(NAMES, rounds=3)


def test_accuracy_and_size_are_those_of_the_manifest(rows):
    weights = manifest.load().weights
    for row in rows:
        record = weights[row.name]
        assert (row.dataset, row.top1, row.by) == (
            record.metrics[0].dataset, record.metrics[0].top1, record.metrics[0].by
        )  # fmt: skip
        assert row.packed_bytes == record.file("packed").bytes


def test_networks_of_a_data_set_stand_together_the_best_first(rows):
    assert [row.name for row in rows] == [
        "birealnet20.cifar10_short", "binarynet.mnist_small", "binarynet_mlp.mnist"
    ]  # fmt: skip


def test_operations_are_those_of_the_summary(rows):
    """The summary counts those of the Keras model, by the bits of input and kernel."""
    for row in rows:
        counts = bnnzoo.summary(bnnzoo.load(row.name)).macs_by_bits
        assert row.binary_macs == counts[1]
        assert row.binary_macs + row.other_macs == sum(counts.values())


def test_memory_holds_the_largest_map_and_times_are_measured(rows):
    by_name = {row.name: row for row in rows}
    # The first map of birealnet20 has 32 x 32 x 16 real numbers, beside its signs.
    assert by_name["birealnet20.cifar10_short"].ram_bytes > 4 * 32 * 32 * 16
    assert all(0 < row.ms < 1000 for row in rows)


@pytest.mark.slow
def test_a_network_without_a_packed_file_is_built():
    (row,) = compare(["xnornet_vgg"], rounds=1)
    assert (row.name, row.top1, row.dataset) == ("xnornet_vgg", None, None)
    assert row.packed_bytes == CATALOG["xnornet_vgg"].packed_bytes


def test_limits_leave_out_what_is_larger_or_slower(rows):
    sizes = sorted(row.packed_bytes for row in rows)
    assert [row.packed_bytes for row in fitting(rows, max_bytes=sizes[0])] == sizes[:1]
    slowest = max(rows, key=lambda row: row.ms)
    assert slowest not in fitting(rows, max_ms=slowest.ms - 1e-6)
    assert fitting(rows) == rows


def test_patterns_stand_for_names():
    assert matching(["quicknet*", "quicknet", "birealnet18.larq_in1k"]) == [
        *bnnzoo.list_models("quicknet*"), "birealnet18.larq_in1k"
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match=r"must match a model, got 'q\*x'"):
        matching(["q*x"])
    with pytest.raises(UnknownModelError, match="Did you mean 'quicknet'"):
        compare(["quicknt"])


def test_the_command_writes_tables_csv_json_and_plots(capsys, tmp_path):
    command = ["compare", *NAMES, "--runs", "1"]
    assert main([*command, "--max-bytes", "80 kB", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "binarynet.mnist_small"
    assert main([*command, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["top1"] for line in table] == ["76.63", "99.55", "98.9"]
    assert main([*command, "--max-bytes", "1", "--csv"]) == 0
    assert main([*command, "--max-ms", "0"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == ""
    assert "No network is within --max-bytes and --max-ms." in captured.err
    pytest.importorskip("matplotlib")
    plot = tmp_path / "plot.svg"
    assert main([*command, "--plot", str(plot)]) == 0
    assert "birealnet20.cifar10_short" in capsys.readouterr().out
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert main([*command, "--plot", str(plot)]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-bytes", "3Q"], "'3Q' is not a size. Write 2MB, 500kB or 80000."),
        (["--plot", "a.gif"], "--plot must end in .png, .svg, .pdf, got a.gif."),
        (["--threads", "0"], "threads must be an integer from 1 to 1024, got 0"),
    ],
)
def test_mistakes_are_one_line(options, message, capsys):
    assert main(["compare", "binarynet_mlp", *options]) == 2
    assert message in capsys.readouterr().err
