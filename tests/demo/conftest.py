"""The demo services as processes, started once; and a receiver of their metrics."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.demo.serving import Metrics, Running, running


@pytest.fixture(scope="session")
def metrics() -> Iterator[Metrics]:
    """A receiver that both shared services report to."""
    taken = Metrics()
    yield taken
    taken.receiver.stop()


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, metrics: Metrics) -> Iterator[dict[str, Running]]:
    """One environment and one evals, for all tests that do not end them."""
    folder = tmp_path_factory.mktemp("demo")
    reports = {"OTEL_EXPORTER_OTLP_ENDPOINT": metrics.receiver.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "100"}
    started: dict[str, Running] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> None:
            started[name] = stack.enter_context(running(folder, name, **reports))

        threads = [threading.Thread(target=start, args=(name,)) for name in ("environment", "evals")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield started


@pytest.fixture
def environment(services: dict[str, Running]) -> Running:
    """The shared environment."""
    return services["environment"]


@pytest.fixture
def evals(services: dict[str, Running]) -> Running:
    """The shared evals."""
    return services["evals"]
