"""The demo services, started once for all load tests; locust processes are started by the modules."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.demo.serving import Running, running


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of a demo environment and of demo evals."""
    folder = tmp_path_factory.mktemp("demos")
    started: dict[str, Running] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> None:
            started[name] = stack.enter_context(running(folder, name))

        threads = [threading.Thread(target=start, args=(name,)) for name in ("environment", "evals")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield {name: service.url for name, service in started.items()}
