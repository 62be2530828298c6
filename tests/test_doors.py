"""Which module may import which, read from the code, and what a fresh interpreter imports."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import bnnzoo

PACKAGE = Path(bnnzoo.__file__).parent

# Room -> the rooms of bnnzoo that it may import, at the top or inside a function.
DOORS = {
    "arguments": {"errors"},
    "atomic": {"errors"},
    "errors": {"plain_text"},
    "plain_text": set(),
    "dry_build": set(),
    "hdf5_file": {"errors"},
    "keras_archive": {"dry_build", "errors", "hdf5_file", "snapshot"},
    "manifest": {"errors"},
    "network": {"errors"},
    "download": {"errors", "network"},
    "snapshot": set(),
    "weights": {"download", "errors", "manifest", "network", "snapshot"},
    "nn": {"errors"},
    "architectures": {"arguments", "errors", "nn", "registry", "model_spec"},
    "registry": {"errors", "manifest", "architectures"},
    "model_spec": {"arguments", "errors", "data"},
    "loading": {
        "architectures", "arguments", "deploy", "errors", "hdf5_file", "manifest", "model_spec",
        "registry", "snapshot", "weights",
    },
    "opening": {
        "architectures", "deploy", "errors", "keras_archive", "loading", "registry", "snapshot",
    },
    "data": {"errors", "network"},
    "model_summary": {"errors", "nn", "opening", "plain_text"},
    "evaluation": {
        "arguments", "data", "deploy", "errors", "model_spec", "opening", "registry", "runtime",
        "snapshot", "weights",
    },
    "deploy": {"errors"},
    "deploy.keras_frontend": {"architectures", "deploy", "errors", "nn"},
    "deploy.keras_model": {
        "architectures", "deploy", "dry_build", "errors", "model_spec", "nn", "registry",
    },
    "deploy.conversion": {
        "arguments", "atomic", "data", "deploy", "errors", "evaluation", "manifest",
        "model_spec", "nn", "opening", "registry", "runtime", "snapshot",
    },
    "publishing": {
        "atomic", "data", "deploy", "errors", "evaluation", "manifest", "model_spec", "network",
        "nn", "opening", "registry", "runtime", "training",
    },
    "runtime": {"arguments", "data", "deploy", "errors", "model_spec"},
    "training": {
        "atomic", "data", "deploy", "errors", "evaluation", "model_spec", "nn", "opening",
        "registry",
    },
}  # fmt: skip
# Folders of which some files are rooms of their own.
DIVIDED = ("deploy",)
# Rooms above the line, which may import Keras.
KERAS_ROOMS = {
    "nn", "architectures", "loading", "opening", "model_summary", "evaluation", "training",
    "publishing", "deploy.keras_frontend", "deploy.keras_model", "deploy.conversion", "dry_build",
    "keras_archive",
}  # fmt: skip


def room_of(path: Path) -> str:
    room, *parts = path.relative_to(PACKAGE).with_suffix("").parts
    if room in DIVIDED and f"{room}.{parts[0]}" in DOORS:
        return f"{room}.{parts[0]}"
    return room


def imports(path: Path) -> list[str]:
    """Every module that a file imports outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in set(ast.walk(tree)) - typing_only:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if room_of(path) not in ("cli", "__init__", "__main__")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_uses_only_its_doors(path):
    room = room_of(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("bnnzoo.")}
    allowed = DOORS[room] | {room, "__version__"}
    assert used <= allowed, f"{path} opens {used - allowed}; see docs/architecture.md"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_rooms_above_the_line_import_keras(path):
    backends = {"keras", "tensorflow", "jax", "torch"} & {n.split(".")[0] for n in imports(path)}
    assert (
        not backends
        or (backends == {"keras"} and room_of(path) in KERAS_ROOMS)
        or (
            room_of(path)
            == "data"  # the sources keras: and tfds: import their packages when opened
        )
    )


def test_registry_sees_only_the_catalog_of_the_architectures():
    opened = [n for n in imports(PACKAGE / "registry.py") if n.startswith("bnnzoo.architectures")]
    assert opened == ["bnnzoo.architectures.catalog.CATALOG"]


HEAVY = "'keras', 'tensorflow', 'jax', 'torch', 'pooch', 'requests', 'rich', 'PIL', 'matplotlib'"
LIGHT_STATEMENTS = {
    "import": "import bnnzoo",
    "list_models": "import bnnzoo; bnnzoo.list_models()",
    "info": "import bnnzoo; bnnzoo.info('birealnet')",
    "help": "from bnnzoo.cli.main import main; main(['--help'])",
}


@pytest.mark.parametrize("name", LIGHT_STATEMENTS)
def test_a_fresh_interpreter_imports_nothing_heavy(name):
    code = f"{LIGHT_STATEMENTS[name]}\nimport sys\nassert not {{{HEAVY}}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def processor_seconds(arguments: list[str]) -> float:
    """Processor time of a fresh interpreter, which other processes do not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# The limits are those of the design: what a person feels when typing the command.
START_UPS = {
    "import bnnzoo": (["-c", "import numpy, bnnzoo"], 0.05),
    "bnnzoo --help": (["-m", "bnnzoo", "--help"], 0.4),
    "bnnzoo list": (["-m", "bnnzoo", "list"], 0.4),
}


@pytest.mark.parametrize("name", START_UPS)
def test_start_up_is_quick(name):
    arguments, limit = START_UPS[name]
    # In turns, so that both see the machine as it is.
    rounds = [
        (processor_seconds(arguments), processor_seconds(["-c", "import numpy"])) for _ in range(10)
    ]
    beyond = min(ours for ours, _ in rounds) - min(numpy for _, numpy in rounds)
    assert beyond <= limit, f"{name} takes {beyond:.3f} s beyond `import numpy`"
