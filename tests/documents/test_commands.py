"""The commands about documents: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chaos.cli import init, list_, plan, schema, validate
from chaos.documents.problems import BadInput

from .conftest import Folder


def invoke(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))  # type: ignore[arg-type]


def test_validate_counts_what_is_right(folder: Folder) -> None:
    """One line, and success."""
    result = invoke(validate.command, ".")
    assert (result.output, result.exit_code) == ("ok: 7 documents in 5 files\n", 0)
    assert invoke(validate.command, "slow").output == "ok: 1 document in 1 file\n"


def test_validate_raises_all_problems(folder: Folder) -> None:
    """They are raised as bad input, which ends the process with 2."""
    folder.change("chaos/experiments/slow.yaml", "250ms", "250")
    error = invoke(validate.command, ".").exception
    assert isinstance(error, BadInput)
    assert error.render() == (
        "chaos/experiments/slow.yaml:19:16: spec.faults[0].latency: "
        "expected a duration such as 250ms, got 250\n  hint: did you mean 250ms?"
    )


def test_plan_prints_the_timeline_and_starts_nothing(folder: Folder) -> None:
    """As text, and as the JSON that a run folder keeps; with `--set` and `--seed` in effect."""
    text = invoke(plan.command, "slow", "--set", "phases.fault=9s", "--seed", "7").output
    assert text.startswith("experiment slow (seed 7, 15s)")
    assert "service environment: 127.0.0.1:8000, which runs already" in text
    data = json.loads(invoke(plan.command, "slow", "--json").output)
    assert [cue["action"] for cue in data["cues"]] == ["phase", "phase", "inject", "heal", "phase", "end"]
    assert isinstance(invoke(plan.command, "slow", "--set", "x").exception, BadInput)


def test_list_names_everything(folder: Folder) -> None:
    """By kind, with where it is from; the same as JSON."""
    text = invoke(list_.command).output
    for heading in ("experiments", "suites", "targets", "load profiles", "objectives", "runbooks"):
        assert f"{heading}\n" in text
    assert "[project]" in text
    rows = json.loads(invoke(list_.command, "--json").output)
    assert {"kind": "runbook", "name": "other"}.items() <= next(
        r for r in rows if r["name"] == "other"
    ).items()


def test_schema_is_json(folder: Folder) -> None:
    """All kinds, or one; every kind can be asked for."""
    from chaos.documents.document import API_VERSIONS

    assert set(schema.KINDS) == set(API_VERSIONS)
    assert len(json.loads(invoke(schema.command).output)["oneOf"]) == len(schema.KINDS)
    assert len(json.loads(invoke(schema.command, "--kind", "Suite").output)["oneOf"]) == 1


def test_init_says_what_comes_next(folder: Folder) -> None:
    """The files, and the commands that work at once."""
    result = invoke(init.command, "gym")
    assert "wrote gym/brownout.yaml\n" in result.output
    assert result.output.endswith("next: cd gym && brownout validate . && brownout run gym-slow\n")
    assert isinstance(invoke(init.command, "gym").exception, BadInput)


@pytest.mark.parametrize(
    "content",
    [b"a: [" * 5000, b"\xff\xfe", b"", b"a: " + b"9" * 5000, b"x: 1\n" * 2_000_000, b"a: !!python/name:x"],
    ids=["deep", "utf-16", "empty", "digits", "10MB", "tag"],
)
def test_hostile_files_end_with_2_and_no_traceback(folder: Folder, content: bytes) -> None:
    """As a user sees it: a process, its exit code, one clear problem, and within its time."""
    folder.write("bad.yaml", content)
    code = "import sys; from chaos.cli import main; sys.argv[1:] = ['validate', 'bad.yaml']; main()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder.root,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "", "HOME": str(folder.root)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert "bad.yaml" in result.stderr
    assert "Traceback" not in result.stderr
