"""The shipped suites, each run once for a module, on both proxy servers side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.suites import BothProxies


@pytest.fixture(scope="module")
def both_proxies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BothProxies]:
    """The module's suite (its `SUITE`); on the embedded proxy alone where there is no Toxiproxy."""
    try:
        api: str | None = request.getfixturevalue("toxiproxy_api")
    except pytest.skip.Exception:
        api = None
    ran = BothProxies(request.module.SUITE, tmp_path_factory.mktemp("suite"), api)
    yield ran
    ran.close()
