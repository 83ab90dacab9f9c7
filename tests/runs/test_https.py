"""A target whose service is https: the run's proxy speaks TLS to it, and load and health checks know nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.journal import ProxyReady, read_events
from tests.proxy.layer7.tls_peers import Authority, app
from tests.runs.conftest import brownout, run_folder, write_project

TARGET = """\
apiVersion: brownout/v1
kind: Target
metadata: {{name: web-0}}
spec:
  services: {{web: {{url: "https://localhost:{port}", health: /headers{more}}}}}
{toxiproxy}"""


def project(root: Path, port: int, *, more: str = "", toxiproxy: str = "") -> Path:
    """A project with one experiment on the https service at `port`."""
    write_project(root, 1, "unused:1")
    text = TARGET.format(port=port, more=more, toxiproxy=toxiproxy and f"  toxiproxy: {toxiproxy}\n")
    (root / "chaos/targets/web-0.yaml").write_text(text)
    profile = root / "loadtests/profiles/web.yaml"
    profile.write_text(profile.read_text().replace("path: /", "path: /headers"))
    return root


def test_a_run_against_an_https_service_passes(tmp_path: Path) -> None:
    """The load reaches it by its proxy, the faults act, and the journal says where the proxy goes."""
    authority = Authority(tmp_path)
    with app(authority.files("localhost")) as port:
        where = project(tmp_path / "project", port, more=", upstream_ca: ../ca.pem")
        run = brownout(where, "run", "slow-0")
        assert run.wait() == 0, run.told()
    folder = run_folder(where)
    ready = [e for e in read_events(folder / "events.jsonl") if isinstance(e, ProxyReady)]
    assert [event.upstream for event in ready] == [f"https://localhost:{port}"]
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["outcome"] == "pass" and {f["type"] for f in verdict["faults"]} == {"latency", "down"}


def test_one_that_is_not_trusted_is_inconclusive(tmp_path: Path) -> None:
    """Its health check fails, before anything is injected."""
    authority = Authority(tmp_path)
    with app(authority.files("localhost")) as port:
        run = brownout(project(tmp_path / "project", port), "run", "slow-0")
        assert run.wait() == 3, run.told()
    assert f"https://localhost:{port}/headers" in run.told()


@pytest.mark.toxiproxy
def test_a_stock_toxiproxy_is_refused(tmp_path: Path, toxiproxy_api: str) -> None:
    """At validation, and before a run starts, with the place and the remedy."""
    where = project(tmp_path / "project", 443, toxiproxy=toxiproxy_api)
    for command in (["validate", "."], ["run", "slow-0"]):
        run = brownout(where, *command)
        assert run.wait() == 2, run.told()
        said = " ".join(run.told().split())
        assert "spec.services.web.url: https://localhost:443 needs TLS, which only the embedded proxy" in said
        assert "leave out `toxiproxy:`, or point it at `brownout proxy`" in said
