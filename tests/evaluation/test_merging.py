"""Claim: merged reports of parts equal the report of the whole data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.errors import DataError
from bnnzoo.evaluation.merging import merge_reports
from tests.evaluation.test_report import report

NAME, DATA = "binarynet.fashion_mnist_small", "sample:fashion_mnist"


@pytest.fixture(scope="module")
def parts() -> list[dict]:
    reports = [bnnzoo.evaluate(NAME, DATA, runtime="packed", shard=(i, 3)) for i in range(3)]
    return [each.to_dict(per_class=True) for each in reports]


def test_merged_shards_are_the_whole(parts: list[dict]) -> None:
    whole = bnnzoo.evaluate(NAME, DATA, runtime="packed").to_dict(per_class=True)
    assert [part["n"] for part in parts] == [667, 667, 666]
    assert all(part["partial"] for part in parts)
    merged = merge_reports(parts[::-1])
    for key in ("model", "tag", "dataset", "n", "partial", "top1", "top1_interval", "top5",
                "top5_interval", "per_class", "weights_sha256"):  # fmt: skip
        assert merged[key] == whole[key], key
    # Each loss is rounded to 6 digits.
    assert merged["loss"] == pytest.approx(whole["loss"], abs=1.1e-6)
    assert [part["shard"] for part in merged["merged"]] == [[2, 3], [1, 3], [0, 3]]


def test_a_missing_shard_is_partial_and_a_repeated_one_is_refused(parts: list[dict]) -> None:
    assert merge_reports(parts[:2])["partial"] is True
    with pytest.raises(DataError, match="must be of different images, got sample:fashion_mnist tw"):
        merge_reports([parts[0], parts[0]])
    with pytest.raises(DataError, match="must be of different images"):
        merge_reports([parts[0], {**parts[1], "shard": [1, 4]}])


def test_data_sets_are_merged() -> None:
    a, b = (report(dataset=name).to_dict() for name in ("a", "b"))
    merged = merge_reports([a, b])
    assert (merged["dataset"], merged["n"], merged["top1"]) == ("a + b", 8, 50.0)
    assert merged["partial"] is True  # an image was skipped
    assert merged["skipped"] == [{"id": "e", "reason": "e is broken."}]
    clean = [{**each, "skipped": []} for each in (a, b)]
    assert merge_reports(clean)["partial"] is False


def test_what_cannot_be_merged_is_named() -> None:
    good = report().to_dict()
    for reports, message in [
        ((), "must be one or more, got none"),
        ((good, {**good, "tag": "other"}), "must have the same tag, got best, other"),
        (({"mean_iou": 1},), "must be those of classifiers, got one for segmentation"),
        ((3,), "must be those of classifiers, got 3"),
        (({"n": 3},), "must have model, as `bnnzoo evaluate -o FILE` writes it, got n"),
        (({**good, "top1": 49.0},), "must be the percentage of a number of its images, got 49.0"),
        (({**good, "n": "4"},), "must be the percentage"),
    ]:
        with pytest.raises(DataError, match=message):
            merge_reports(reports)


def test_the_command_merges_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for i in range(2):
        files.append(str(tmp_path / f"{i}.json"))
        arguments = ["--data", DATA, "--runtime", "packed", "--shard", f"{i}/2", "-o", files[-1]]
        assert main(["evaluate", NAME, *arguments]) == 0
    capsys.readouterr()
    assert main(["report", "merge", *files, "-o", str(tmp_path / "all.json")]) == 0
    assert "91.30 %" in capsys.readouterr().out
    merged = json.loads((tmp_path / "all.json").read_text())
    assert (merged["n"], merged["top1"], merged["partial"]) == (2000, 91.3, False)
    assert main(["report", "merge", files[0], str(tmp_path / "none.json")]) == 5
    assert "none.json is not a report" in capsys.readouterr().err
    assert main(["evaluate", NAME, "--data", DATA, "--shard", "2/2"]) == 2
    assert "'2/2' is not I/N with I below N" in capsys.readouterr().err
