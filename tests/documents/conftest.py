"""A small project in a temporary folder, and ways to write into it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.documents.problems import BadInput
from chaos.documents.project import ProjectFolder, find_project
from chaos.documents.resolve import Resolved, resolve

EXPERIMENT = """
    apiVersion: brownout/v1
    kind: Experiment
    metadata:
      name: slow
    spec:
      target: here
      load:
        profile: players
        with:
          steps: 5
      phases:
        baseline: 3s
        fault: 6s
        recovery: 3s
      faults:
        - name: late-replies
          type: latency
          place: environment
          latency: 250ms
          for: 2s
      objectives:
        - ref: pairing
        - ref: steps
          phases: [baseline]
          runbook: other
"""
TARGET = """
    apiVersion: brownout/v1
    kind: Target
    metadata: {name: here}
    spec:
      services:
        environment: {url: "http://127.0.0.1:8000", health: /health}
"""
PROFILE = """
    apiVersion: brownout/v1
    kind: LoadProfile
    metadata: {name: players}
    spec:
      user: episode
      service: environment
      arrivals: 5/s
      with: {steps: 10, client: naive}
"""
OBJECTIVES = """
    apiVersion: brownout/v1
    kind: Invariant
    metadata:
      name: pairing
      annotations: {brownout.dev/runbook: mixed-up}
    spec: {check: reply-pairing}
    ---
    apiVersion: brownout/v1
    kind: Recovery
    metadata:
      name: back
      annotations: {brownout.dev/runbook: mixed-up}
    spec: {objective: steps, within: 5s}
    ---
    apiVersion: openslo/v1
    kind: SLO
    metadata: {name: steps}
    spec:
      indicator:
        spec:
          ratioMetric:
            good: {metricSource: {type: OpenTelemetry, spec: {metric: brownout.step.duration, at_most: 1s}}}
            total: {metricSource: {type: OpenTelemetry, spec: {metric: brownout.step.duration}}}
      objectives:
        - target: 0.95
"""


class Folder:
    """A project's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("brownout.yaml", "apiVersion: brownout/v1\nkind: Project\n")
        self.write("chaos/experiments/slow.yaml", EXPERIMENT)
        self.write("chaos/targets/here.yaml", TARGET)
        self.write("loadtests/profiles/players.yaml", PROFILE)
        self.write("slo/objectives/all.yaml", OBJECTIVES)
        self.write("runbooks/mixed-up.md", "# Mixed up\n")
        self.write("runbooks/other.md", "# Other\n")

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file, dedented."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            target.write_bytes(text)
        else:
            target.write_text(textwrap.dedent(text).lstrip("\n"))
        return target

    def change(self, path: str, old: str, new: str) -> None:
        """Replace a text that has to be there."""
        text = (self.root / path).read_text()
        assert old in text, f"{old!r} is not in {path}"
        (self.root / path).write_text(text.replace(old, new))

    @property
    def project(self) -> ProjectFolder:
        """The project, read again."""
        return find_project(self.root)

    def resolve(self, ref: str = "slow", **options: object) -> Resolved:
        """Resolve an experiment of this project."""
        return resolve(ref, project=self.project, **options)  # type: ignore[arg-type]

    def refused(self, ref: str = "slow", **options: object) -> list[str]:
        """What resolving says is wrong, a text for each problem."""
        with pytest.raises(BadInput) as caught:
            self.resolve(ref, **options)
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A project in the working directory, with an experiment that is right."""
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.fixture
def has() -> Callable[[list[str], str], None]:
    """Asserts that one of some problems begins with a text."""

    def check(problems: list[str], wanted: str) -> None:
        assert any(problem.startswith(wanted) for problem in problems), "\n".join(problems)

    return check
