"""The example for microcontrollers: on this machine without a device, and on an emulated one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.formats import Network, packed
from bnnzoo.formats.c_source import write

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "microcontroller"
PACKED = ROOT / "bnnzoo" / "pretrained" / "binarynet.fashion_mnist_small.safetensors"
HOST = """\
#include <stdio.h>

static void print(const char *text)
{
    fputs(text, stdout);
}
"""


@pytest.fixture
def folder(tmp_path):
    """What the example is built from, but for the device."""
    file = packed.from_bytes(PACKED.read_bytes())
    sample = np.zeros((1, 28, 28, 1), np.float32)
    written = write(Network(file.graph, file.info, sample, (127.5,), (127.5,)))
    for name, content in written.files.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, EXAMPLE / "make_images.py", PACKED, "20"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    images = subprocess.run(command, env=environment, check=True, capture_output=True)
    (tmp_path / "images.h").write_bytes(images.stdout)
    (tmp_path / "semihosting.h").write_text(HOST)
    shutil.copy(EXAMPLE / "main.c", tmp_path)
    return tmp_path


def run_main(folder):
    sources = [str(folder / name) for name in ("main.c", "model.c", "selftest.c")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", str(folder / "main")]
    subprocess.run(["gcc", *flags, *sources, "-lm"], check=True)
    return subprocess.run([str(folder / "main")], capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_main_on_this_machine(folder):
    done = run_main(folder)
    first, *classes, last = done.stdout.splitlines()
    assert (done.returncode, first, last) == (0, "self-test passed", "all images as on the host")
    assert len(classes) == 20 and len(set(classes)) > 5
    header = (folder / "images.h").read_text()
    right = re.search(r"host_classes\[IMAGES\] = \{(\d)", header)
    wrong = header.replace(right[0], f"{right[0][:-1]}{(int(right[1]) + 1) % 10}")
    (folder / "images.h").write_text(wrong)
    done = run_main(folder)
    assert done.returncode == 1 and done.stdout.count("not as on the host") == 1


@pytest.mark.long
def test_on_an_emulated_cortex_m7():
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    script = ROOT / "scripts" / "test_cortex_m7.sh"
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # QEMU writes what the device prints to standard error.
    assert {"self-test passed", "all images as on the host"} <= set(done.stderr.splitlines())
