"""Training curves: what is read from logs, drawn, and sketched."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training.curves import drawn, read_curves, sketched

LOG = """phase,epoch,loss,top1,val_loss,val_top1,learning_rate,flip_ratio,seconds,images_per_second
1,1,2.0,30.0,1.9,32.0,0.003,0.10,1.0,90.0
1,2,1.5,40.0,1.6,41.0,0.002,0.08,1.0,90.0
2,3,1.2,55.0,1.3,52.0,0.001,0.02,1.0,90.0
"""


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "first run"
    folder.mkdir()
    (folder / "log.csv").write_text(LOG)
    return folder


def test_a_log_is_read_from_a_folder_a_file_and_the_package(run):
    curves = read_curves(run)
    assert (curves.name, curves.epochs, curves.new_phases) == ("first run", 3, [3])
    np.testing.assert_array_equal(curves.columns["val_top1"], [32, 41, 52])
    assert read_curves(run / "log.csv").epochs == 3
    shipped = sorted((Path(bnnzoo.__file__).parent / "pretrained").glob("*.log.csv"))
    assert shipped
    for file in shipped:
        assert f"{read_curves(file).name}.log.csv" == file.name


MISTAKES = {
    "no folder": (None, ArgumentError, "must be the folder of a run with a log.csv"),
    "no epoch": ("phase,epoch,loss\n", ArgumentError, "has no finished epoch. Wait"),
    "words": ("epoch,loss\n1,much\n", DataError, "must be a table of numbers: could not convert"),
    "a short row": ("epoch,loss\n1\n", DataError, "must be a table of numbers"),
    "other columns": ("epoch,cost\n1,2\n", DataError, "must have a column loss, got epoch, cost"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_log_is_one_line(name, tmp_path):
    text, error, message = MISTAKES[name]
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    with pytest.raises(error, match=message) as caught:
        read_curves(tmp_path)
    assert "\n" not in str(caught.value)


def test_bars_go_from_the_least_to_the_greatest_mean(run):
    rows = {(name, quantity): rest for name, quantity, *rest in sketched([read_curves(run)])}
    assert rows["first run", "val loss"] == ["█▅▁", 1.9, 1.3]  # 1.6 is halfway, 3.5 of 7 steps
    assert rows["first run", "val top-1 %"] == ["▁▄█", 32.0, 52.0]  # 41: 3.15 steps
    assert rows["first run", "flips %"] == ["█▆▁", 10.0, 2.0]  # 8: 5.25 steps
    ((*_, bars, first, last), *_) = sketched([read_curves(run)], width=2)
    assert (len(bars), first, last) == (2, 1.9, 1.3)


def test_a_run_is_drawn_in_all_formats(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for suffix in (".png", ".svg", ".pdf"):
        out = tmp_path / f"curves{suffix}"
        assert main(["plot", str(run), str(run / "log.csv"), "-o", str(out)]) == 0
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1080, 720)
    assert ElementTree.parse(tmp_path / "curves.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert main(["plot", str(run), "-o", str(tmp_path / "curves.png")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_phase_is_a_dotted_line_in_every_panel(run):
    pytest.importorskip("matplotlib")
    curves = read_curves(run)

    def pixels():
        return np.asarray(Image.open(io.BytesIO(drawn([curves], ".png"))).convert("L"))

    with_phase = pixels()
    curves.columns["phase"][:] = 1
    changed = (with_phase != pixels()).any(axis=0)
    assert 2 <= changed.sum() <= 12  # columns of pixels, in the panels on the left and right


def test_the_command_sketches_on_a_terminal_and_names_mistakes(run, capsys):
    assert main(["plot", str(run)]) == 0
    out = capsys.readouterr().out
    assert "Epochs: first run 3" in out and "▁▄█" in out and "0.001" in out
    assert main(["plot", str(run), "-o", "curves.gif"]) == 2
    assert "--out must end in .png, .svg, .pdf, got curves.gif." in capsys.readouterr().err
    assert main(["plot", "none"]) == 2
    assert main(["plot"]) == 2
