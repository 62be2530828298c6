"""What is installed is what was tested: a wheel, unpacked elsewhere, has all its data and loads."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a wheel is compiled

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as `pip install .` builds it, but with the tools of the test environment.

    And not optimised, which takes half the time: what is in a wheel does not hang on that.
    """
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--config-settings=cmake.build-type=Debug"]
    command += ["--config-settings=cmake.define.CMAKE_CXX_FLAGS_DEBUG=-O0"]
    command += [f"--config-settings=build-dir={folder / 'build'}"]
    command += ["--config-settings=cmake.args=-GNinja"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
    return folder


def run_installed(folder: Path, code: str) -> str:
    # Without `site` no .pth file is read: an editable install must not answer for the folder.
    path = os.pathsep.join([str(folder), sysconfig.get_path("purelib")])
    environment = {**os.environ, "PYTHONPATH": path, "BNNZOO_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error::UserWarning", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_has_the_code_and_the_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2 and "bnnzoo" in tops  # the package and its dist-info
    code = [path for end in ("*.py", "*.c") for path in (ROOT / "bnnzoo").rglob(end)]
    sources = {str(path.relative_to(ROOT)) for path in code}
    assert sources <= set(names)
    assert "bnnzoo/weights_manifest.json" in names and "bnnzoo/py.typed" in names
    assert any(name.endswith("licenses/NOTICE") for name in names)
    extensions = sorted(name.partition(".")[0] for name in names if name.endswith(".so"))
    assert extensions == [
        "bnnzoo/data/_resampling",
        "bnnzoo/runtime/_engine",
        "bnnzoo/training/native/_network",
    ]
    # A sample of images, class names, the engines: more than that and the weights is an accident.
    weights = sum(p.stat().st_size for p in (ROOT / "bnnzoo" / "pretrained").iterdir())
    assert wheel.stat().st_size < 4_000_000 + weights


def words(text: str) -> str:
    """A text without line breaks and the stars of comments."""
    return " ".join(text.replace("*", " ").split())


def compiled_of_others(wheel: Path) -> dict[str, str]:
    """The licence of each package of others whose files were compiled into the engine."""
    command = ["ninja", "-C", str(wheel.parent / "build"), "-t", "deps"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    read = {(wheel.parent / "build" / line.strip()).resolve() for line in listing.splitlines()}
    system = (ROOT / "src", Path("/usr"), Path(sysconfig.get_path("include")).resolve())
    licences = {}
    for path in filter(Path.is_file, read):
        *_, inside = re.split("/(?:site|dist)-packages/", str(path))
        package, *rest = inside.split("/")
        if inside == str(path):
            assert any(map(path.is_relative_to, system)), f"{path} is not known to NOTICE"
        elif rest[0] == "ext":
            licences[rest[1]] = path.read_text().split("/**", 1)[1].split("*/")[0]
        else:
            distribution = importlib.metadata.distribution(package)
            licences[package] = distribution.read_text("licenses/LICENSE")
    return licences


def test_notice_has_the_licences_of_what_is_compiled_into_the_engine(wheel):
    licences = compiled_of_others(wheel)
    assert {"nanobind", "robin_map"} <= set(licences)
    notice = words((ROOT / "NOTICE").read_text())
    for package, licence in licences.items():
        assert f"{package} (" in notice, package
        assert words(licence) in notice, package


def test_notice_names_the_data_of_a_wheel(wheel):
    """Whose images, class names and weights are in it; code is ours."""
    notice = (ROOT / "NOTICE").read_text()
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bnnzoo/")]
    data = [name for name in names if not re.search(r"\.(py|c|so|typed)$|_manifest.json$", name)]
    assert len(data) > 10
    for name in data:
        assert name.split(".")[0] in notice or f"{Path(name).parent}/" in notice, name


def test_installed_package_reads_its_own_manifest(installed):
    code = "import bnnzoo.manifest as m; print(m.manifest_path()); print(len(m.load().weights))"
    path, count = run_installed(installed, code).splitlines()
    assert Path(path) == installed / "bnnzoo" / "weights_manifest.json"
    assert int(count) == len(json.loads((ROOT / "weights_manifest.json").read_text())["weights"])


def test_installed_package_loads_and_evaluates(installed):
    code = (
        f"import bnnzoo; assert bnnzoo.__file__.startswith({str(installed)!r});"
        "model = bnnzoo.load('binarynet.fashion_mnist_small', pretrained=True);"
        "print(bnnzoo.evaluate(model, 'sample:fashion_mnist', limit=200).top1)"
    )
    assert float(run_installed(installed, code).splitlines()[-1]) > 80


def test_installed_package_runs_a_graph_without_keras(installed):
    code = """
import sys, numpy as np
from bnnzoo import runtime
from bnnzoo.graph.ir import Graph, Node
graph = Graph({"x": (1, 1, 3)}, (Node("y", "affine", ("x",), {}, {"scale": "s"}),), ("y",),
              {"s": np.array([1.0, 2.0, 3.0])})
print(runtime.Model(graph)(np.ones((1, 1, 1, 3), np.float32)).tolist())
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
"""
    assert run_installed(installed, code) == "[[[[1.0, 2.0, 3.0]]]]"


def test_a_missing_compiler_is_named(tmp_path):
    command = ["cmake", "-S", str(ROOT), "-B", str(tmp_path)]
    environment = {**os.environ, "CXX": "no-such-compiler"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs a compiler, g++ 9 or clang++ 10" in " ".join(done.stderr.split())


def test_source_tree_reads_the_manifest_at_its_top(tmp_path):
    """An editable install is the source tree on the path: an edit is seen at once."""
    tree = tmp_path / "tree"
    (tree / "bnnzoo").parent.mkdir()
    (tree / "bnnzoo").symlink_to(ROOT / "bnnzoo", target_is_directory=True)
    manifest = json.loads((ROOT / "weights_manifest.json").read_text())
    code = "import bnnzoo.manifest as m; print(m.manifest_path()); print(len(m.load().weights))"
    for weights in (manifest["weights"], {}):
        (tree / "weights_manifest.json").write_text(json.dumps({**manifest, "weights": weights}))
        path, count = run_installed(tree, code).splitlines()
        assert Path(path) == tree / "weights_manifest.json"
        assert int(count) == len(weights)
