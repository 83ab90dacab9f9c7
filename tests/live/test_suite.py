"""The shipped suite, whole, through the command line: the same verdicts from both proxies."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from chaos.verdict import Verdict
from tests.live.suites import BothProxies, Ran, told

SUITE = "demo"

EXPECTED = {
    "env-slow-steps": ("fail", 1),
    "env-slow-steps-careful": ("pass", 0),
    "eval-connection-resets": ("pass", 0),
    "env-proxy-down": ("pass", 0),
    "eval-fault-without-effect": ("inconclusive", 3),
}


def check(ran: Ran) -> None:
    code, verdicts, shown = ran.code, ran.verdicts, told(ran.verdicts, ran.log)
    assert {v.experiment: (str(v.outcome), v.exit_code) for v in verdicts} == EXPECTED, shown
    assert code == 0, shown
    failed = verdicts[0]
    breached = {f.objective for f in failed.findings if f.outcome == "fail"}
    assert "reply-pairing" in breached, shown
    assert all(not v.left_behind for v in verdicts)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.timeout(300)
def test_with_the_embedded_proxy(both_proxies: BothProxies) -> None:
    """Each shipped experiment ends as its suite expects, and its folder holds what a verdict rests on."""
    check(both_proxies.embedded())
    for folder in both_proxies.embedded().out.iterdir():
        assert files(folder) >= {
            "experiment.yaml",
            "plan.json",
            "events.jsonl",
            "metrics.jsonl",
            "history",
            "verdict.json",
            "report.html",
            "report.md",
            "junit.xml",
        }
        before = Verdict.model_validate_json((folder / "verdict.json").read_bytes())
        again = subprocess.run(
            [sys.executable, "-m", "chaos", "judge", str(folder), "--json"],
            capture_output=True,
            check=False,
        )
        assert Verdict.model_validate_json(again.stdout) == before, "judging offline gave another verdict"
        assert again.returncode == before.exit_code


@pytest.mark.toxiproxy
@pytest.mark.timeout(300)
def test_with_a_real_toxiproxy(both_proxies: BothProxies, toxiproxy_api: str) -> None:
    """The same experiments give the same verdicts through Toxiproxy itself, and leave it empty."""
    check(both_proxies.toxiproxy())
    with urllib.request.urlopen(f"{toxiproxy_api}/proxies") as reply:
        assert json.load(reply) == {}


def test_a_new_project_runs_as_it_is(tmp_path: Path) -> None:
    """What `brownout init` lays out validates and runs, without an edit."""

    def brownout(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "chaos", *args], cwd=cwd, capture_output=True, text=True, check=False
        )

    assert brownout("init", "mine", cwd=tmp_path).returncode == 0
    project = tmp_path / "mine"
    (experiment,) = (project / "chaos" / "experiments").glob("*.yaml")
    assert brownout("validate", ".", cwd=project).returncode == 0
    done = brownout("run", experiment.stem, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((project / "runs").iterdir())) == 1
