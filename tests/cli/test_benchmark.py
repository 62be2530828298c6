"""`bnnzoo benchmark` measures a packed file and says where its time goes."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.cli.main import main
from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.passes import STORED, apply
from tests.graph.graphs import GraphBuilder


@pytest.fixture
def file(tmp_path):
    builder = GraphBuilder(np.random.default_rng(0), (9, 9, 3))
    x = builder.conv("images", binary=False, filters=65)
    for _ in range(7):
        x = builder.conv(builder.add("sign", x), binary=True, filters=65)
    graph, _ = apply(builder.graph(builder.add("global_avg_pool2d", x)), STORED)
    path = tmp_path / "net.safetensors"
    path.write_bytes(packed.to_bytes(graph, NetworkInfo("net")))
    return path


def test_json_has_times_speed_and_the_longest_nodes(file, capsys):
    arguments = ["benchmark", str(file), "--runs", "7", "--threads", "1", "--batch-size", "2"]
    assert main([*arguments, "--isa", "portable", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "net" and report["isa"] == "portable" and report["threads"] == 1
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p90_ms"] <= report["p99_ms"]
    assert report["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert report["cpu"] and report["date"] == date.today().isoformat()
    assert report["versions"]["numpy"] == np.__version__
    assert report["macs"] == runtime.load(file).macs > 0
    speed = 2 * report["macs"] / report["median_ms"] / 1e6
    assert report["gmacs_per_second"] == pytest.approx(speed)
    times = [node["ms"] for node in report["nodes"]]
    assert len(times) == 5 and times == sorted(times, reverse=True)


def test_profile_lists_every_node_in_order(file, capsys):
    assert main(["benchmark", str(file), "--runs", "2", "--profile", "--json"]) == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    expected = [time.name for time in runtime.load(file).profile(runs=1)]
    assert [node["name"] for node in nodes] == expected and len(expected) >= 9


def test_table_names_the_instruction_set(file, capsys):
    assert main(["benchmark", str(file), "--runs", "2"]) == 0
    output = capsys.readouterr().out
    assert runtime.isas()[0] in output and "The 5 slowest nodes" in output and "p99 ms" in output


def test_wrong_settings_are_one_line(file, capsys):
    assert main(["benchmark", str(file), "--isa", "sse5"]) == 2
    assert "isa must be an instruction set of this CPU, got 'sse5'" in capsys.readouterr().err
    assert main(["benchmark", str(file), "--threads", "0"]) == 2
    assert "threads must be an integer from 1 to 1024, got 0" in capsys.readouterr().err
