"""Which module may import which, read from the code, and what a fresh interpreter imports."""

from __future__ import annotations

import ast
import graphlib
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import bnnzoo

PACKAGE = Path(bnnzoo.__file__).parent

ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"
ROW = re.compile(
    r"^\| `(?P<room>\w+)` \| (?P<keras>K?) *\| .* \| (?P<doors>[^|]*) \|$", re.MULTILINE
)
ROWS = list(ROW.finditer(ARCHITECTURE.read_text()))
# Room -> the rooms of bnnzoo that it may import, at the top or in a function; from the ground up.
DOORS = {row["room"]: set(re.findall(r"`(\w+)`", row["doors"])) for row in ROWS}
# Rooms that may import Keras.
KERAS_ROOMS = {row["room"] for row in ROWS if row["keras"]}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


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
MODULES = {
    ".".join(("bnnzoo", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}


def modules_imported(path: Path) -> set[str]:
    """The modules of bnnzoo that a file imports; `from a import b` may mean `a.b` or a name."""
    names = [name for name in imports(path) if name.startswith("bnnzoo.")]
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & set(MODULES)


def test_the_table_has_every_room():
    assert set(DOORS) == {room_of(path) for path in FILES}


@pytest.mark.parametrize("room", DOORS)
def test_a_room_uses_its_doors_and_no_others(room):
    used = {
        module.split(".")[1]
        for path in FILES
        if room_of(path) == room
        for module in modules_imported(path)
    } - {room}
    assert used == DOORS[room], f"{room}: correct its row in docs/architecture.md, or the imports"


def test_every_door_leads_down():
    rooms = list(DOORS)
    up = {room: doors - set(rooms[: rooms.index(room)]) for room, doors in DOORS.items()}
    assert not any(up.values()), f"These rooms are not above the one that imports them: {up}"


def test_no_modules_import_each_other_in_a_circle():
    order = graphlib.TopologicalSorter(
        {name: modules_imported(path) - {name} for name, path in MODULES.items()}
    )
    order.prepare()  # raises CycleError, which names them


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
