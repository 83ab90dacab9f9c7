"""A proxy server that is killed and started again under a run: what the run measured then means nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.journal import outstanding, read_events
from chaos.verdict import Verdict
from slo.outcome import Outcome
from tests.runs.conftest import Started, brownout, events_of, run_folder, wait_for, write_project
from tests.runs.servers import THEIR_TOXIC, ProxyServer

BOTH = [pytest.param("embedded"), pytest.param("toxiproxy", marks=pytest.mark.toxiproxy)]


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProxyServer]:
    """A long-lived proxy server of the kind that the test is given."""
    kind = request.param
    binary = request.getfixturevalue("toxiproxy_binary") if kind == "toxiproxy" else None
    made = ProxyServer(kind, binary, tmp_path)
    yield made
    made.kill()


def project_behind(server: ProxyServer, web: str, root: Path) -> Path:
    """Two short faults with a gap between them, in a long fault phase."""
    project = write_project(root / "project", 1, web, server.api)
    experiment = project / "chaos/experiments/slow-0.yaml"
    text = experiment.read_text().replace("fault: 3s", "fault: 40s")
    text = text.replace("latency: 80ms}", "latency: 80ms, for: 500ms}").replace("at: 1s, for: 1s", "at: 39s")
    experiment.write_text(text)
    return project


def reached(project: Path, event: str, run: Started) -> None:
    """Wait until the run's journal has `event`."""
    wait_for(lambda: event in events_of(project) or run.process.poll() is not None, 60, event)
    assert run.process.poll() is None, run.told()


def assert_inconclusive(project: Path, run: Started) -> None:
    """Exit 3, with the restart among the reasons; nothing left to be healed."""
    assert run.wait(120) == 3, run.told()
    verdict = Verdict.model_validate_json((run_folder(project) / "verdict.json").read_bytes())
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.ending == "part-died"
    assert any("restarted" in reason or "not answer" in reason for reason in verdict.reasons), verdict.reasons
    assert "part/proxy" in {finding.objective for finding in verdict.findings}
    assert outstanding(read_events(run_folder(project) / "events.jsonl")) == []
    healed = brownout(project, "heal", name="heal")
    assert healed.wait() == 0, healed.told()
    assert "healed" not in healed.told()


@pytest.mark.parametrize("server", BOTH, indirect=True)
@pytest.mark.parametrize("at", ["fault-injected", "fault-healed"])
def test_a_restarted_proxy_server_is_noticed(tmp_path: Path, web: str, server: ProxyServer, at: str) -> None:
    """With a fault in place and between two faults: inconclusive, never pass, and what is theirs stays."""
    project = project_behind(server, web, tmp_path)
    run = brownout(project, "run", "slow-0")
    reached(project, at, run)
    server.kill()
    server.start()
    server.put_theirs()
    assert_inconclusive(project, run)
    assert server.has_theirs_only(), server.proxies()


@pytest.mark.toxiproxy
@pytest.mark.parametrize("server", ["toxiproxy"], indirect=True)
@pytest.mark.parametrize("at", ["fault-injected", "fault-healed"])
def test_a_restart_is_noticed_when_the_proxies_come_back(
    tmp_path: Path, web: str, server: ProxyServer, at: str
) -> None:
    """A Toxiproxy that has its standing proxies back from its configuration looks as before, and is not."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "toxiproxy.json"
    config.write_text(json.dumps([{"name": "web", "listen": listen, "upstream": web, "enabled": True}]))
    server.kill()
    server.start(config)
    project = project_behind(server, web, tmp_path)
    run = brownout(project, "run", "slow-0")
    reached(project, at, run)
    assert len(server.proxies()) == 2, "the standing proxy, which is used as it is, and the run's mark"
    server.kill()
    server.start(config)
    server.add_toxic("web", THEIR_TOXIC)
    assert_inconclusive(project, run)
    left = server.proxies()
    assert set(left) == {"web"}
    assert left["web"]["enabled"]
    assert [toxic["name"] for toxic in left["web"]["toxics"]] == [THEIR_TOXIC["name"]]
