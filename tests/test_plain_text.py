"""What steers a terminal reaches none: not by errors, commands, tables, JSON, or the log."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import keras
import pytest

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.cli.output import echo, logging_to_stderr, note, print_json, print_table
from bnnzoo.data import open_source
from bnnzoo.errors import BnnZooError, DataError, MissingDependencyError, WeightsError
from bnnzoo.plain_text import counted, plain, plain_lines
from tests.weight_server import Answer, file_at, get, serving, use_cache

HOSTILE = "\x1b]0;owned\x07\x9b31m\x7f\r\u202egnp.exe\u2066\u2028"
SHOWN = r"\x1b]0;owned\x07\x9b31m\x7f\r\u202egnp.exe\u2066\u2028"


def steers(text: str) -> bool:
    """Whether a text has a control, or a mark that turns a line round or ends it."""
    lines = text.split("\n")
    kinds = {unicodedata.category(c) for line in lines for c in line}
    turns = {unicodedata.bidirectional(c) for c in text}
    return bool(
        kinds & {"Cc", "Zl", "Zp"}
        or turns & {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    )


def test_every_character_that_steers_is_escaped():
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    assert steers(everything) and not steers(plain(everything))
    assert plain(HOSTILE) == SHOWN


@pytest.mark.parametrize("text", ["", "naïve 网络.h5", "a\\b 'c' \"d\"", "👩‍🔬", "עברית", "½ %"])
def test_other_text_stays_as_it_is(text):
    assert plain(text) == text


def test_lines_stay_lines():
    assert plain_lines("a\n\x1bb\n") == "a\n\\x1bb\n"
    assert plain("a\nb") == "a\\nb"


def test_errors_carry_none():
    assert str(WeightsError(f"{HOSTILE} is wrong.")) == f"{SHOWN} is wrong."
    assert str(BnnZooError(HOSTILE, 3)) == str((SHOWN, 3))
    assert not steers(str(MissingDependencyError("x\x1b", "y", "to z")))


def test_what_a_server_says_is_escaped(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    with serving() as server, pytest.raises(WeightsError, match=r"answers 404 \\x1b\[2J") as caught:
        get(file_at(server.serve(Answer(404, b"", reason="\x1b[2J\x9b"))))
    assert not steers(str(caught.value))


def test_what_a_list_of_labels_says_is_escaped(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "l.csv").write_text("file,class_index\na\x1b[2J.png,0\n")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path / "images", labels_csv=tmp_path / "l.csv")
    assert not steers(str(caught.value))


def test_what_commands_write_is_escaped(capsys):
    echo(f"1\n{HOSTILE}")
    with logging_to_stderr():
        note(HOSTILE)
    print_table(["name", "n"], [(HOSTILE, 1)], title=HOSTILE)
    print_json({HOSTILE: [HOSTILE]})
    captured = capsys.readouterr()
    assert not steers(captured.out + captured.err)
    assert captured.out.count(SHOWN) == 3 and captured.err == f"{SHOWN}\n"
    assert json.loads(captured.out[captured.out.index("{") :]) == {HOSTILE: [HOSTILE]}


def test_names_that_a_shell_puts_in_are_escaped(capsys):
    assert main(["list", f"--{HOSTILE}"]) == 2
    assert main([HOSTILE]) == 2
    captured = capsys.readouterr()
    assert not steers(captured.out + captured.err)


def test_names_of_layers_are_escaped_and_no_style():
    name = "conv\x1b[2J[red][bold]"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name=name)])
    text = str(bnnzoo.summary(model))
    assert not steers(text) and r"conv\x1b[2J[red][bold]" in text


LOGGING = """
import logging, sys
from bnnzoo.cli.output import logging_to_stderr

with logging_to_stderr():
    logging.getLogger("bnnzoo.weights").warning("%s is broken", sys.argv[1])
    logging.getLogger("bnnzoo.weights").info("quiet")
"""


def test_the_log_of_the_command_line_is_escaped():
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, HOSTILE], capture_output=True, check=True, timeout=60
    )
    assert done.stderr.decode() == f"{SHOWN} is broken\n"


def test_nouns_agree_with_their_number():
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(2000, "class") == "2,000 classes"


def test_no_command_writes_by_another_way():
    for path in (Path(bnnzoo.__file__).parent / "cli").glob("*.py"):
        if path.name != "output.py":
            text = path.read_text()
            assert "click.echo" not in text and "print(" not in text.replace("_print(", ""), path
