"""`bnnzoo completion`: what a shell completes after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnnzoo.cli.main import main

COMPLETED = {
    "bnnzoo fine": {"finetune"},
    "bnnzoo evaluate reactnet_a": {
        "reactnet_a", "reactnet_a.adambnn_in1k", "reactnet_a.liuzechun_in1k"
    },
    "bnnzoo train binarynet.mnist-": {"binarynet.mnist-small"},
    "bnnzoo convert quicknet out --format q": {"qonnx"},
    "bnnzoo predict net.kera": {"net.keras"},
    "bnnzoo cache r": {"rm"},
}  # fmt: skip
BASH = """
source {script}
read -ra COMP_WORDS <<< "$1"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ mapfile -t COMPREPLY < <(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"); }}
_bnnzoo_completion bnnzoo
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("line", COMPLETED)
def test_bash_completes_names(line, tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "net.keras").touch()
    run = tmp_path / "bin" / "bnnzoo"
    run.parent.mkdir()
    run.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bnnzoo "$@"\n')
    run.chmod(0o755)
    environment = {**os.environ, "PATH": f"{run.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", BASH.format(script=script), "bash", line],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == COMPLETED[line]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_the_script(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = Path(tmp_path / "completion")
    script.write_text(capsys.readouterr().out)
    assert "_BNNZOO_COMPLETE" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n", str(script)], check=True)


def test_a_wrong_shell_is_one_line(capsys):
    assert main(["completion", "csh"]) == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err
