"""What tests of training share."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may become larger than 64 kB: what writes more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
