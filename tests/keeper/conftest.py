"""A keeper with a stage's mark, and bounded waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.keeper.handle import Keeper
from chaos.registry import MARKER

STAGE = "keeper-test"


def wait_for(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Until `condition()` is true; fails after `within_s`."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.01)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """A keeper with a long lease."""
    keeper = Keeper(60.0, environment={MARKER: f"{STAGE}-{tmp_path.name}"})
    yield keeper
    keeper.close()
