"""Real command workers for tests: the process that runs programs, what it reports, and what it wrote."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtests import runner, workloads
from loadtests.workloads import is_made
from tests.loadtests.locusts import Load


class Programs(Load):
    """A command worker at a plan."""

    command = staticmethod(runner.commands_command)

    def finish(self) -> int:
        """Say stop, wait for the end; returns the exit code. All that is reported has arrived by then."""
        code = self.stop()
        assert self.receiver.heard(runner.FINAL_METRIC), self.log
        return code


@contextlib.contextmanager
def programs(folder: Path, **plan: Any) -> Iterator[Programs]:
    """A command worker that is ready for its first phase; killed at the end if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    worker = Programs(folder, plan)
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()


def command(argv: Sequence[str], name: str = "evals", url: str = "http://127.0.0.1:9", **options: Any) -> Any:
    """One workload that is a program."""
    profile = {"user": "command", "service": name, "with": {"argv": list(argv), "cwd": "/", **options}}
    return {"name": name, "url": url, "profile": profile}


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a Python program."""
    return [sys.executable, "-c", code, *arguments]


def shipped(name: str) -> Any:
    """The options of a shipped profile."""
    from chaos.documents.source import read_source

    source = read_source(Path(workloads.__file__).parents[1] / "profiles" / f"{name}.yaml")
    return json.loads(json.dumps(plain(source.documents[0])))["spec"]["with"]


def plain(node: Any) -> Any:
    """A YAML node's own value."""
    if hasattr(node, "entries"):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if hasattr(node, "items"):
        return [plain(item) for item in node.items]
    return node.value


def needs(name: str) -> None:
    """Skip (which fails in CI) where a virtual environment of a workload is not there."""
    if not is_made(name):
        pytest.skip(f"no environment {name}: run `make tools`")
