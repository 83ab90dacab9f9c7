"""Real services, and a place in front of each, on each of the two proxy servers.

A test that takes a `…_place` runs twice: with the embedded proxy and with the real Toxiproxy. Both must do
the same to clients. A service that a test is going to disturb itself (kill, pause, fill up) is one of its
own: `service` starts it, `place_of` puts a proxy in front.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from chaos.faults.toxiproxy import ToxiproxyServer
from tests.demo.serving import Running, running
from tests.taxonomy.gateway import Gateway
from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S, Place, Places, Starts

_names = itertools.count()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo environment, for all tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("taxonomy"), "environment", "--exit-with-stdin") as service:
        yield service


@pytest.fixture(scope="session")
def evals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo evals, for all tests that leave it as it is; it logs each request."""
    folder = tmp_path_factory.mktemp("taxonomy")
    with running(folder, "evals", "--access-log", "--exit-with-stdin") as service:
        yield service


@pytest.fixture(scope="session")
def slow_evals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Evals whose streamed replies last six seconds, so that a fault can come in the middle of one."""
    folder = tmp_path_factory.mktemp("taxonomy")
    with running(folder, "evals", "--chunk-delay", "300ms", "--access-log", "--exit-with-stdin") as service:
        yield service


@pytest.fixture(scope="module")
def gateway(evals: Running) -> Iterator[str]:
    """The address of an HTTP/1.0 gateway to the shared evals."""
    with Gateway(evals.address) as made:
        yield made.address


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starts]:
    """Starts demo services that tests may disturb."""
    with contextlib.ExitStack() as started:

        def start(*arguments: str) -> Running:
            folder = tmp_path_factory.mktemp("own")
            return started.enter_context(running(folder, *arguments, "--exit-with-stdin"))

        yield start


@pytest.fixture(scope="module")
def embedded_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of an embedded proxy that runs for as long as the module's tests."""
    command = [sys.executable, "-m", "chaos.proxy", "--port", "0", "--seed", "7"]
    log = tmp_path_factory.mktemp("embedded") / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)["api"]
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=["embedded", pytest.param("toxiproxy", marks=pytest.mark.toxiproxy)])
def proxy_server(request: pytest.FixtureRequest) -> ToxiproxyServer:
    """Each of the two proxy servers in turn."""
    return ToxiproxyServer(request.getfixturevalue(f"{request.param}_api"), timeout_s=WITHIN_S)


@pytest.fixture
def place_of(proxy_server: ToxiproxyServer) -> Iterator[Places]:
    """Makes places; after the test all is healed, and the proxies are gone with their connections."""
    made: list[Place] = []

    def make(address: str) -> Place:
        proxy = proxy_server.create_proxy(f"place-{next(_names)}", "127.0.0.1:0", address)
        made.append(Place(proxy_server, proxy.name, proxy.listen))
        return made[-1]

    yield make
    for place in made:
        place.heal()
        proxy_server.delete_proxy(place.name)


@pytest.fixture
def environment_place(place_of: Places, environment: Running) -> Place:
    """A place in front of the shared environment."""
    return place_of(environment.address)


@pytest.fixture
def slow_evals_place(place_of: Places, slow_evals: Running) -> Place:
    """A place in front of the slow evals."""
    return place_of(slow_evals.address)


@pytest.fixture
def gateway_place(place_of: Places, gateway: str) -> Place:
    """A place in front of the gateway."""
    return place_of(gateway)


@pytest.fixture
def evals_place(place_of: Places, evals: Running) -> Place:
    """A place in front of the shared evals."""
    return place_of(evals.address)


@pytest.fixture
def layer7_of(embedded_api: str) -> Iterator[Callable[[str], Layer7]]:
    """Makes places that read HTTP; after the test all is healed, and the proxies are gone."""
    made: list[Layer7] = []
    with httpx.Client(base_url=embedded_api, timeout=WITHIN_S, trust_env=False) as api:

        def make(address: str) -> Layer7:
            body = {"listen": "127.0.0.1:0", "upstream": address, "protocol": "http"}
            answer = api.post("/proxies", json={"name": f"reading-{next(_names)}", **body})
            assert answer.status_code == 201, answer.text
            proxy = answer.json()
            made.append(Layer7(api, proxy["name"], proxy["listen"]))
            return made[-1]

        yield make
        for place in made:
            place.heal()
            api.delete(f"/proxies/{place.name}")


@pytest.fixture
def evals_http(layer7_of: Callable[[str], Layer7], evals: Running) -> Layer7:
    """A place that reads HTTP in front of the shared evals."""
    return layer7_of(evals.address)
