"""Runbooks are whole, are there when they are named, and their commands work when they are needed."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from chaos.documents.amend import parse_sets
from chaos.documents.models import Project
from chaos.documents.project import ProjectFolder
from chaos.documents.resolve import resolve
from chaos.report.runbook import SECTIONS, read
from loadtests.columns import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.md"))
SNIPPET = re.compile(
    r"^\.venv/bin/python - \"\$RUN/history/history\.parquet\" <<'PY'\n(.*?)^PY$", re.M | re.S
)
HISTORY = {
    "run": "r",
    "arm": "fault",
    "worker": "w1",
    "workload": "episodes",
    "phase": "fault",
    "user": 1,
    "episode": 1,
    "item": "task-1",
    "step": 1,
    "attempt": 0,
    "final": True,
    "nonce": "a",
    "reply_nonce": "a",
    "operation": "step",
    "connection": 1,
    "intended_start": 100.0,
    "start": 100.1,
    "end": 100.2,
    "outcome": "ok",
    "error_type": None,
    "status": 200,
    "reward": 0.0,
    "expected": None,
    "done": False,
    "bytes_sent": 10,
    "bytes_received": 20,
    "trace_id": "0" * 32,
}


@pytest.fixture(params=RUNBOOKS, ids=lambda path: path.stem)
def runbook(request: pytest.FixtureRequest) -> Path:
    """Each runbook in turn."""
    return request.param


def documents(folder: str) -> Iterator[tuple[Path, dict]]:
    """The YAML documents of a folder."""
    for path in sorted((ROOT / folder).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path, document


def named() -> set[str]:
    """Every runbook that an experiment, an objective or the source names."""
    uses = {
        use["runbook"]
        for _, document in documents("chaos/experiments")
        for use in document["spec"]["objectives"]
        if "runbook" in use
    }
    annotated = {
        document["metadata"].get("annotations", {}).get("brownout.dev/runbook")
        for _, document in documents("slo/objectives")
    }
    source = {
        name
        for path in (ROOT / "chaos").rglob("*.py")
        for name in re.findall(r"runbook=\"([a-z-]+)\"", path.read_text())
    }
    return uses | (annotated - {None}) | source


def experiments() -> set[str]:
    """The names of the shipped experiments."""
    return {document["metadata"]["name"] for _, document in documents("chaos/experiments")}


def test_every_named_runbook_exists() -> None:
    """Nobody is sent to a runbook that is not there."""
    assert named() - {path.stem for path in RUNBOOKS} == set()


def test_runbooks_are_whole(runbook: Path) -> None:
    """A runbook has a title and all sections, in the order in which they are needed, and none is empty."""
    excerpt = read(runbook)
    assert excerpt.title != runbook.stem
    assert excerpt.missing == ()
    assert tuple(s.heading for s in excerpt.sections) == SECTIONS


def test_acts_begin_with_an_act(runbook: Path) -> None:
    """The first lines of Act, which every report quotes, are the numbered acts themselves."""
    act = read(runbook).act
    assert act[0].startswith("1. **")
    assert all(re.match(r"\d+\. |…$", line) for line in act)


def test_runbooks_are_rehearsed(runbook: Path) -> None:
    """Rehearse names a shipped experiment, and Verify a command that shows that the act worked."""
    sections = {s.heading: s.text for s in read(runbook).sections}
    rehearsed = set(re.findall(r"`brownout run ([a-z0-9-]+)", sections["Rehearse"]))
    assert rehearsed
    assert rehearsed - experiments() == set()
    assert re.search(r"^brownout (run|heal)", sections["Verify"], re.MULTILINE)


def test_experiments_in_commands_exist(runbook: Path) -> None:
    """Every experiment that a command names is shipped; what is to be filled in is in capitals."""
    named = re.findall(r"brownout (?:run|plan) ([\w-]+)", runbook.read_text())
    assert {n for n in named if not n.isupper()} - experiments() == set()


def test_commands_are_valid(runbook: Path) -> None:
    """Every run that a runbook tells to start would start: the experiment resolves with all that is set."""
    project = ProjectFolder(ROOT, Project(apiVersion="brownout/v1", kind="Project"))
    for line in re.findall(r"(?:`|^)brownout run ([a-z][^`\n]*)", runbook.read_text(), re.MULTILINE):
        name, *options = shlex.split(line)
        sets = [value for option, value in pairwise(options) if option == "--set"]
        assert resolve(name, sets=parse_sets(sets), project=project).name == name


def run_snippet(snippet: str, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the Python of a Check as its command line would."""
    script = history.with_suffix(".py")
    script.write_text(snippet)
    monkeypatch.setattr(sys, "argv", ["-", str(history)])
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("rows", [0, 3], ids=["empty", "rows"])
def test_checks_run(runbook: Path, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of a Check runs as it stands on a history, an empty one too."""
    path = tmp_path / "history.parquet"
    others = [{}, {"outcome": "error", "error_type": "timeout", "final": False}, {"reply_nonce": "b"}]
    table = pa.Table.from_pylist([HISTORY | other for other in others], schema=SCHEMA)
    pq.write_table(table.slice(0, rows), path)
    for snippet in SNIPPET.findall(runbook.read_text()):
        run_snippet(snippet, path, monkeypatch)


def test_wrong_replies_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Check of stale-replies counts what it says."""
    path = tmp_path / "history.parquet"
    pq.write_table(pa.Table.from_pylist([HISTORY, HISTORY | {"reply_nonce": "b"}], schema=SCHEMA), path)
    (snippet,) = SNIPPET.findall((ROOT / "runbooks" / "stale-replies.md").read_text())
    run_snippet(snippet, path, monkeypatch)
    assert capsys.readouterr().out.startswith("1 of 2 replies belong to another request")
