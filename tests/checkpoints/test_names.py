"""Each table names every tensor of the authors' checkpoints, and no others."""

from __future__ import annotations

import math
import re

import pytest

from bnnzoo import registry
from bnnzoo.checkpoints.names import NAMES
from bnnzoo.dry_build import count_numbers
from tests.architectures.authors import GOLDENS, Golden
from tests.architectures.models import swept
from tests.conftest import DATA

LISTED = [name for name in NAMES if name in GOLDENS]
QUICK = ("adabin_resnet20", "reactnet_a")


def sizes(name: str) -> dict[str, int]:
    """Number of elements by the authors' names, for a model without values."""
    found: dict[str, int] = {}

    def build():
        model = registry.builder(name)()
        for weight in model.weights:
            source = NAMES[name].source(weight.path)
            assert source not in found, weight.path
            found[source] = math.prod(weight.shape)
        return model

    count_numbers(build)
    return found


@pytest.mark.parametrize("name", swept(NAMES, QUICK))
def test_every_weight_has_a_unique_name(name):
    assert sum(sizes(name).values()) == registry.info(name).params


@pytest.mark.parametrize("name", swept(LISTED, QUICK))
def test_the_names_are_those_of_the_authors_code(name):
    names = NAMES[name]
    listed = Golden(name).about["weights"]
    held = {names.canonical(weight): math.prod(shape) for weight, _, shape, _ in listed}
    ours = sizes(name)
    assert {n: size for n, size in held.items() if n in ours or not names.is_unused(n)} == ours


def test_the_docs_list_the_networks():
    page = (DATA.parents[1] / "docs" / "checkpoints.md").read_text()
    rows = re.findall(r"^\| (`.+`) \| ", page.partition("## Networks")[2], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(NAMES)
