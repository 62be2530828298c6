"""Networks go to a Hub on loopback and come back, by the package `huggingface_hub`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.hub_addresses import is_stored, parse_address
from tests.hub.hub_server import TOKEN, HubServer

NAME, DATA = "binarynet.fashion_mnist_small", "sample:fashion_mnist"
FILE = Path(bnnzoo.__file__).parent / "pretrained" / f"{NAME}.safetensors"
ADDRESS = "hf://me/small"

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub():
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(hub, tmp_path):
    """Runs `bnnzoo` with this Hub: its package reads the environment when it is imported."""

    def command(*arguments, **changes):
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", **changes,
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "bnnzoo", *map(str, arguments)],
            env=environment, capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip

    return command


def test_a_network_is_pushed_and_evaluated(hub, run):
    done = run("push", NAME, ADDRESS)
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["me/small"]
    (oid,) = repository.commits
    assert f"{ADDRESS}@{oid}" in done.stdout and not repository.private
    files = repository.commits[oid]
    assert files["model.safetensors"] == FILE.read_bytes()

    done = run("evaluate", ADDRESS, "--data", DATA, "--json", "-v")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["n"], result["top1"], result["runtime"]) == (2000, 91.3, "packed")
    assert result["weights_sha256"] == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert f"{ADDRESS} is {ADDRESS}@{oid}." in done.stderr


def test_the_card_says_what_the_manifest_does(run):
    done = run("push", NAME, ADDRESS, "--dry-run")
    assert done.returncode == 0, done.stderr
    record = manifest.load().weights[NAME]
    front, text = done.stdout.split("---\n")[1:3]
    for line in (
        "library_name: bnnzoo", "license: apache-2.0", "pipeline_tag: image-classification",
        "- fashion_mnist", f"  sha256: {record.file('packed').sha256}", "value: 90.91",
    ):  # fmt: skip
        assert line in front, front
    assert "| keras:fashion_mnist:test | 10,000 | top-1 | 90.91 % |" in text
    assert record.metrics[0].command in text
    assert f"| Paper | {record.paper} |" in text


def test_a_revision_is_pinned(hub, run):
    assert run("push", NAME, ADDRESS).returncode == 0
    (oid,) = hub.repositories["me/small"].commits
    hub.repositories["me/small"].commit({"model.safetensors": b"other"})
    done = run("verify", f"{ADDRESS}@{oid}")
    assert done.returncode == 0, done.stderr
    done = run("verify", ADDRESS)
    assert done.returncode == 4
    assert f"model.safetensors of {ADDRESS} must have the sha256 of its card" in done.stderr
    done = run("verify", f"{ADDRESS}@{'0' * 40}")
    assert done.returncode == 4 and "cannot be downloaded" in done.stderr


def test_the_cache_is_used_offline(hub, run):
    assert run("push", NAME, ADDRESS).returncode == 0
    assert run("verify", ADDRESS).returncode == 0
    hub.shutdown()
    hub.server_close()
    for offline in ("BNNZOO_OFFLINE", "HF_HUB_OFFLINE"):
        done = run("verify", ADDRESS, **{offline: "1"})
        assert done.returncode == 0, done.stderr
        done = run("verify", "hf://me/other", **{offline: "1"})
        assert done.returncode == 4 and done.stderr.count("\n") == 1, done.stderr


def test_what_is_not_there_is_one_line(hub, run):
    hub.repositories.clear()
    for arguments, code, message in (
        (("verify", "hf://me/none"), 4, "hf://me/none cannot be downloaded"),
        (("push", NAME, ADDRESS, "--dry-run", "--private"), 0, ""),
        (("push", NAME, "hf://small"), 2, "must be hf://owner/name or hf://owner/name@revision"),
        (("push", "quicknet", ADDRESS), 2, "quicknet.larq_in1k must have a packed file"),
        (("push", ".", ADDRESS), 2, "must be the folder of a finished run"),
    ):
        done = run(*arguments)
        assert done.returncode == code and message in done.stderr, done.stderr
        assert done.stderr.count("\n") == (code != 0)
    done = run("push", NAME, ADDRESS, HF_TOKEN="hf_wrong")
    assert done.returncode == 1 and "cannot be pushed to" in done.stderr


def test_a_repository_without_a_network_is_named(hub, run):
    assert run("push", NAME, ADDRESS, "--private").returncode == 0
    assert hub.repositories["me/small"].private
    hub.repositories["me/small"].commits[hub.repositories["me/small"].branches["main"]].pop(
        "model.safetensors"
    )
    done = run("verify", ADDRESS)
    assert done.returncode == 4 and "must have the files model.safetensors and README.md" in (
        done.stderr
    )


def test_a_folder_of_the_same_files_is_a_model(run, tmp_path):
    folder = tmp_path / "zoo" / "small"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(FILE.read_bytes())
    assert is_stored(folder) and not is_stored(tmp_path) and not is_stored(NAME)
    done = run("evaluate", "./zoo/small", "--data", DATA, "--limit", "100", "--json")
    assert json.loads(done.stdout)["n"] == 100
    assert "has no sha256 in its card" in done.stderr
    (folder / "README.md").write_text(f"---\nbnnzoo:\n  sha256: {'0' * 64}\n---\n")
    with pytest.raises(WeightsError, match="must have the sha256 of its card"):
        bnnzoo.load(folder)


def test_load_gives_a_keras_model_with_its_classes(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(FILE.read_bytes())
    model = bnnzoo.load(str(folder))
    assert model.model_spec.class_names()[9] == "Ankle boot"
    assert model.output_shape == (None, 10)
    with pytest.raises(ArgumentError, match="has its own classes, input size and outputs"):
        bnnzoo.load(str(folder), num_classes=3)


@pytest.mark.parametrize("address", ["hf://a", "hf://a/b/c", "hf://a/../b", "hf:///b", "hf://a/b@"])
def test_what_is_not_an_address(address):
    with pytest.raises(ArgumentError, match="An address must be hf://owner/name"):
        parse_address(address)


def test_an_address_has_a_revision():
    assert parse_address("hf://me/my.net_1") == ("me/my.net_1", None)
    assert parse_address("hf://me/net@v1.0/a") == ("me/net", "v1.0/a")
