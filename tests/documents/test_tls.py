"""Targets with TLS: what may be written, what is refused, and what is planned."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from chaos.documents.checking import validate_paths
from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.plan import Plan
from chaos.plan_view import plan_text
from chaos.planning import make_plan

TARGET = """\
apiVersion: brownout/v1
kind: Target
metadata: {name: t}
spec:
"""
EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata: {name: x}
spec:
  target: t
  load: {profile: web, arrivals: 1/s}
  phases: {baseline: 1s, fault: 3s, recovery: 1s}
  faults: [{name: f, place: api, type: latency, latency: 10ms}]
  objectives: [{ref: chat-success, phases: [baseline]}]
"""
PROFILE = """\
apiVersion: brownout/v1
kind: LoadProfile
metadata: {name: web}
spec: {user: http, service: SERVICE, arrivals: 1/s, with: {steps: [{name: a, path: /}]}}
"""


def written(root: Path, spec: str, service: str = "api", hosts: str = "api.example") -> Path:
    """A project with one target, an experiment on it, and a CA's file."""
    for folder in ("chaos/targets", "chaos/experiments", "loadtests/profiles"):
        (root / folder).mkdir(parents=True)
    (root / "brownout.yaml").write_text(
        f"apiVersion: brownout/v1\nkind: Project\nallow_hosts: [127.0.0.1, {hosts}]\n"
    )
    (root / "ca.pem").write_text("")
    target = TARGET + textwrap.indent(textwrap.dedent(spec), "  ")
    (root / "chaos/targets/t.yaml").write_text(target)
    (root / "chaos/experiments/x.yaml").write_text(EXPERIMENT)
    (root / "loadtests/profiles/web.yaml").write_text(PROFILE.replace("SERVICE", service))
    return root


def said(root: Path) -> str:
    """What is wrong with the project."""
    return "\n".join(
        f"{p.key}: {p.message}" for p in validate_paths([str(root)], find_project(root)).problems
    )


def plan_of(root: Path) -> Plan:
    """The plan of its experiment."""
    return make_plan(resolve("x", project=find_project(root)), 1, 10)


def test_an_https_service_is_planned(tmp_path: Path) -> None:
    """With its scheme, its port (443 if none is said), and whom its proxy trusts; the plan shows it."""
    root = written(
        tmp_path,
        """
        services: {api: {url: "https://api.example", upstream_ca: ca.pem}}
        proxies: {front: {upstream: "https://api.example:8443", tls: true, upstream_verify: false}}
        """,
    )
    assert said(root) == ""
    plan = plan_of(root)
    (service,) = plan.services
    own, front = plan.proxies
    assert (service.scheme, service.address) == ("https", "api.example:443")
    assert (own.service, own.upstream_ca, own.upstream_verify, own.tls) == (
        "api",
        str(root / "ca.pem"),
        True,
        False,
    )
    assert (front.upstream, front.upstream_verify, front.tls) == ("https://api.example:8443", False, True)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    shown = plan_text(plan)
    assert "service api: https://api.example:443, which runs already" in shown
    assert "https://api.example:8443, listening by TLS, trusted unseen" in shown


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ('services: {api: {url: "https://other.example"}}', "runs may not touch the host other.example"),
        (
            'services: {api: {url: "http://api.example"}}\nproxies: {a: {upstream: "https://other.example"}}',
            "spec.proxies.a.upstream: runs may not touch the host other.example",
        ),
        (
            'services: {api: {url: "http://api.example", upstream_ca: ca.pem}}',
            "upstream_ca belongs to an https:// address",
        ),
        (
            'services: {api: {url: "http://api.example"}}\n'
            'proxies: {a: {upstream: "api.example:1", upstream_verify: false}}',
            "upstream_verify belongs to an https:// address",
        ),
        (
            'services: {api: {url: "https://api.example", upstream_ca: no.pem}}',
            "spec.services.api.upstream_ca: there is no file no.pem",
        ),
        (
            'services: {api: {url: "https://api.example/v1"}}',
            "expected an address such as http://127.0.0.1:8000",
        ),
        ('services: {api: {url: "https://api.example:0"}}', "expected a port from 1 up, got 0"),
        (
            'services: {api: {url: "http://api.example"}}\nproxies: {a: {upstream: "https://api.example/v1"}}',
            "expected an address such as 127.0.0.1:8000 or https://api.example.com",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, spec: str, words: str) -> None:
    """Hosts beyond the allow-list as ever, TLS where there is none, files that are not there."""
    assert words in said(written(tmp_path, spec))


def test_load_cannot_go_to_a_tls_listener(tmp_path: Path) -> None:
    """It speaks none: said at validation, with what to do."""
    spec = """
        services: {api: {url: "http://api.example"}}
        proxies: {front: {upstream: "api.example:1", tls: true}}
        """
    assert "spec.load: load cannot go to front, a TLS listener" in said(written(tmp_path, spec, "front"))
