"""An injection that arrives after its heal: the network held it back while whoever had sent it was killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.journal import outstanding, read_events
from tests.runs.conftest import LEASE_S, Started, brownout, living, run_folder, wait_for, write_project
from tests.runs.relay import Relay
from tests.runs.servers import create, delete, proxies_of

pytestmark = pytest.mark.toxiproxy


def state_mark() -> str:
    return f"BROWNOUT_STATE_DIR={os.environ['BROWNOUT_STATE_DIR']}"


@pytest.fixture
def standing(toxiproxy_api: str, web: str) -> Iterator[str]:
    """A proxy of somebody else's before the service, which runs use as it is."""
    create(toxiproxy_api, "web", web)
    yield "web"
    delete(toxiproxy_api, "web")


@pytest.fixture
def relay(toxiproxy_api: str, request: pytest.FixtureRequest) -> Iterator[Relay]:
    """A slow network before a real Toxiproxy, for requests to the path that the test is given."""
    made = Relay(toxiproxy_api, getattr(request, "param", "/toxics"))
    yield made
    made.close()


def start(tmp_path: Path, web: str, relay: Relay, lease_s: float = LEASE_S) -> Started:
    """A run with a request under way."""
    project = write_project(tmp_path / "project", 1, web, relay.api)
    config = project / "brownout.yaml"
    config.write_text(config.read_text().replace(f"lease: {LEASE_S:g}s", f"lease: {lease_s:g}s"))
    run = brownout(project, "run", "slow-0")
    wait_for(lambda: relay.held.is_set() or run.process.poll() is not None, 60, "the injection is sent")
    assert run.process.poll() is None, run.told()
    return run


def arrive_after_the_heal(relay: Relay) -> None:
    """Let it come after a heal has found nothing."""
    wait_for(lambda: relay.deleted, 60, "a heal that comes too early")
    relay.let_go.set()
    wait_for(relay.created.is_set, 60, "it is there after all")


def assert_gone(api: str, run: Started, *theirs: str) -> None:
    """Nothing but `theirs` is on the server, nothing of the run alive, and its journal says so."""
    wait_for(lambda: not living(state_mark()), 60, "no process of the run is alive")
    found = proxies_of(api)
    assert {name: proxy["toxics"] for name, proxy in found.items()} == {name: [] for name in theirs}
    assert outstanding(read_events(run_folder(run.log.parent) / "events.jsonl")) == []


def test_a_toxic_that_comes_after_the_keepers_heal(
    tmp_path: Path, web: str, toxiproxy_api: str, standing: str, relay: Relay
) -> None:
    """The conductor killed in mid-request: the keeper heals what was not answered until a lease has passed."""
    run = start(tmp_path, web, relay, lease_s=15)
    run.process.kill()
    run.wait()
    arrive_after_the_heal(relay)
    assert_gone(toxiproxy_api, run, standing)


@pytest.mark.parametrize("relay", ["/proxies"], indirect=True)
def test_a_proxy_that_comes_after_the_keepers_heal(
    tmp_path: Path, web: str, toxiproxy_api: str, relay: Relay
) -> None:
    """A proxy that the run was about to create when its conductor was killed goes in the same way."""
    run = start(tmp_path, web, relay, lease_s=15)
    run.process.kill()
    run.wait()
    arrive_after_the_heal(relay)
    assert_gone(toxiproxy_api, run)


def test_a_toxic_that_comes_after_the_next_commands_heal(
    tmp_path: Path, web: str, toxiproxy_api: str, standing: str, relay: Relay
) -> None:
    """Conductor and keeper killed in mid-request: the next command, too, heals until a lease has passed."""
    run = start(tmp_path, web, relay, lease_s=30)
    keepers = [process for process in living(state_mark()) if "chaos.keeper" in process.cmdline()]
    for process in (*keepers, run.process):
        process.kill()
    run.wait()
    wait_for(lambda: not any(process.is_running() for process in keepers), 60, "the keeper is dead")
    healed = brownout(run.log.parent, "heal", name="heal")
    arrive_after_the_heal(relay)
    assert healed.wait() == 0, healed.told()
    assert_gone(toxiproxy_api, run, standing)


def test_a_toxic_that_comes_after_its_own_run(
    tmp_path: Path, web: str, toxiproxy_api: str, standing: str, relay: Relay
) -> None:
    """Nobody killed: an injection that went unanswered is held by the keeper beyond its heal."""
    run = start(tmp_path, web, relay, lease_s=15)
    arrive_after_the_heal(relay)
    assert run.wait(120) == 3, run.told()
    assert_gone(toxiproxy_api, run, standing)
