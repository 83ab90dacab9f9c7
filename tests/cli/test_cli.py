"""The command line as a whole: quick help, exit codes, mistakes told."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.cli import COMMANDS
from chaos.exits import Exit, combined, exit_for
from slo.outcome import Outcome, worst

HEAVY = ("pydantic", "locust", "gevent", "rich", "yaml", "opentelemetry", "pyarrow", "requests", "psutil")


def brownout(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", *args], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_help_imports_nothing_heavy() -> None:
    """`--help` is quick because it imports nothing that is slow to import."""
    code = (
        "import sys; from chaos.cli import _run; sys.argv = ['brownout', '--help']; _run();"
        f"sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Commands:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    """Every command explains itself."""
    done = brownout(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_mistyped_command() -> None:
    """An unknown command exits 2 with a guess."""
    done = brownout("rnu")
    assert done.returncode == 2
    assert "Did you mean run?" in done.stderr


@pytest.mark.parametrize("command", ["judge", "report"])
def test_a_folder_that_is_no_run(command: str, tmp_path: Path) -> None:
    """A folder without a run exits 2 and says what is missing, without a traceback."""
    done = brownout(command, str(tmp_path))
    assert done.returncode == 2
    assert "plan.json is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_heal_with_nothing_to_do() -> None:
    """`heal` says clean, and exits 0."""
    done = brownout("heal")
    assert done.returncode == 0
    assert "clean" in done.stdout


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.com:8474", "allow_hosts"),
        ("localhost:8474", "did you mean http://localhost:8474?"),
        ("http://127.0.0.1:99999", "port"),
    ],
)
def test_a_toxiproxy_that_may_not_be_used(url: str, told: str, tmp_path: Path) -> None:
    """`--toxiproxy` is held to the user's allow-list like any other host, before anything starts."""
    done = brownout("run", "env-slow-steps", "--toxiproxy", url, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_defect_is_told_as_one(tmp_path: Path) -> None:
    """What nobody expected exits 70, with its traceback and a word that it is ours."""
    code = (
        "import sys; import chaos.cli as c; c.COMMANDS['heal'] = ('no.such.module', '');"
        "sys.argv = ['brownout', 'heal']; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert "defect of Brownout" in done.stderr


def test_doctor_finds_what_a_run_needs() -> None:
    """Here everything that a run needs is installed."""
    done = brownout("doctor")
    assert done.returncode == 0, done.stdout
    assert "MISSING" not in done.stdout


def test_outcomes_and_exits_have_one_ordering() -> None:
    """Exit codes derive from outcomes; over several, the heaviest that applies."""
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.WARN]) is Outcome.INCONCLUSIVE
    assert worst([]) is Outcome.INCONCLUSIVE
    assert [exit_for(o) for o in (Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE, Outcome.FAIL)] == [
        Exit.OK,
        Exit.OK,
        Exit.INCONCLUSIVE,
        Exit.FAIL,
    ]
    order = [70, 5, 130, 143, 4, 1, 3, 0]
    for heavier, lighter in itertools.pairwise(order):
        assert combined([Exit(lighter), Exit(heavier)]) == heavier
    assert combined([]) is Exit.INCONCLUSIVE
