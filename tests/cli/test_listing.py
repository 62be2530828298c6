"""`list`, `info`, `summary` and `doctor`: what they write, for people and for scripts."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version

import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.catalog import CATALOG
from bnnzoo.cli.main import main


def json_of(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_as_json_has_a_row_per_model(capsys):
    rows = {row["name"]: row for row in json_of(capsys, "list")}
    assert list(rows) == bnnzoo.list_models()
    for name, row in rows.items():
        assert row["params"] == CATALOG[name].params
        assert row["packed_bytes"] == CATALOG[name].packed_bytes
        assert row["paper"].startswith("https://")
    assert rows["birealnet18"]["tags"][0] == rows["birealnet18"]["default_tag"] == "larq_in1k"
    assert rows["birealnet18"]["top1"] == 57.47
    assert rows["birealnet34"]["default_tag"] is None and rows["birealnet34"]["top1"] is None


def test_list_shows_all_weights_of_our_own_with_their_accuracy(capsys):
    records = manifest.load().weights.values()
    own = [r for r in records if r.metrics and r.metrics[0].origin == "measured"]
    assert main(["list", "--pretrained"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for record in own:
        (line,) = (x for x in lines if x[:1] == [record.name])
        assert f"{record.metrics[0].top1:.2f}" in line
        paper = record.paper.removeprefix("https://")
        assert line[-3:] == ["bnnzoo", "(measured)", paper]
    rows = {row["name"]: row for row in json_of(capsys, "list", "--pretrained")}
    found = {(name, w["tag"]): w["top1"] for name in rows for w in rows[name]["weights"]}
    assert {(r.architecture, r.tag): r.metrics[0].top1 for r in own}.items() <= found.items()


def test_info_of_weights_shows_their_own_network(capsys):
    assert main(["info", "binarynet.fashion_mnist_small"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in ("input 28 x 28 x 1", "parameters 368,512", "packed bytes 64,072",
                 "binary MACs 16,461,696", "other MACs 169,344"):  # fmt: skip
        assert line in lines
    assert main(["info", "binarynet"]) == 0
    assert "32 x 32 x 3" in capsys.readouterr().out


def test_list_gives_weights_the_size_of_their_own_network(capsys):
    """`binarynet_mlp.mnist` has half the width of the architecture's default arguments."""
    (row,) = json_of(capsys, "list", "binarynet_mlp")
    (weights,) = row["weights"]
    assert weights["arguments"] == {"width": 1024} and weights["params"] == 2_922_536
    assert weights["packed_bytes"] == bnnzoo.info("binarynet_mlp").weights[0].file("packed").bytes
    assert main(["list", "b*"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (mlp,) = (line for line in lines if line[:1] == ["binarynet_mlp.mnist"])
    assert mlp[1:4] == ["2,922,536", str(round(weights["packed_bytes"] / 1000)), "98.90"]
    (bireal,) = (line for line in lines if line[:1] == ["birealnet18.larq_in1k"])
    assert bireal[1:4] == ["11,699,112", "4,189", "57.47"]


def test_list_for_people_cuts_nothing_in_a_pipe(capsys):
    assert main(["list", "binary_densenet*"]) == 0
    out = capsys.readouterr().out
    assert "binary_densenet37_dilated" in out and "64.34" in out
    assert "imagenet2012:validation   Larq Zoo documentation (published)" in out
    assert "birealnet18" not in out


def test_list_of_nothing_says_so_on_standard_error(capsys):
    assert main(["list", "nothing*"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "No model matches 'nothing*'." in captured.err


def test_info_has_the_records_of_the_manifest(capsys):
    value = json_of(capsys, "info", "binarynet.fashion_mnist_small")
    record = manifest.load().weights["binarynet.fashion_mnist_small"]
    (weights,) = value["weights"]
    assert weights["files"][0]["sha256"] == record.files[0].sha256
    assert weights["metrics"][0]["origin"] == "measured"
    assert main(["info", "birealnet"]) == 0
    out = capsys.readouterr().out
    assert "57.47 %" in out and "published by Larq Zoo" in out and "11,699,112" in out


def test_summary_counts_what_the_catalog_says(capsys):
    value = json_of(capsys, "summary", "birealnet20")
    assert value["totals"]["params"] == CATALOG["birealnet20"].params
    assert main(["summary", "birealnet20", "--num-classes", "3", "--input-shape", "16,16,1"]) == 0
    out = capsys.readouterr().out
    assert "(n, 3)" in out and "(n, 16, 16, 16)" in out


def test_doctor_says_what_is_there_and_what_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BNNZOO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BNNZOO_BASE_URL", "https://me:secret@example.org/mirror")
    report = json_of(capsys, "doctor")
    assert report["ready"] is True and report["models"] == len(CATALOG)
    assert report["cache"] == {"path": str(tmp_path / "cache"), "writable": True, "problem": None}
    assert report["environment"]["BNNZOO_BASE_URL"] == "https://example.org/mirror"
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "Ready." in out and "secret" not in out
    for gap in report["missing"]:
        assert f"pip install '.[{gap['extra']}]'" in out


def test_doctor_names_the_engine_and_is_content_without_keras(capsys, monkeypatch):
    def without_keras(package):
        if package == "keras":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr("bnnzoo.cli.doctor.version", without_keras)
    assert json_of(capsys, "doctor")["engine"] == {"isas": list(bnnzoo.runtime.isas())}
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"native engine  {bnnzoo.runtime.isas()[0]}" in out
    assert "Ready to run packed files. For other models, install Keras and a backend." in out


@pytest.mark.parametrize("backend", ["tensorfow", "numpy"])
def test_doctor_fails_where_models_cannot_be_loaded(capsys, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert main(["doctor"]) == 1
    said = f"Not ready: KERAS_BACKEND must be one of tensorflow, jax, torch, got '{backend}'."
    assert said in capsys.readouterr().out
