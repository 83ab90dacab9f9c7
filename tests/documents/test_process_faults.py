"""Faults of processes in documents: what is wrong is told with its place and a remedy; what is right is planned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.plan_view import plan_text
from chaos.planning import make_plan

from .conftest import Folder

CASES = Path(__file__).with_name("process_mistakes.txt")
GOLDEN = Path(__file__).parents[1] / "golden" / "plans" / "faults-of-processes.txt"
PROJECT = """
    apiVersion: brownout/v1
    kind: Project
    allow_commands: [/opt/my-env/*, systemctl, docker, tc]
"""
TARGET = """
    apiVersion: brownout/v1
    kind: Target
    metadata: {name: here}
    spec:
      services:
        environment: {demo: environment}
        api: {url: "http://127.0.0.1:8000", health: /health}
        web: {url: "http://127.0.0.1:8001"}
        db: {url: "http://127.0.0.1:8002"}
      processes:
        api: {command: [/opt/my-env/serve, --port, "8000"], env: {MODE: test}, cwd: server, hosts_file: api.hosts}
        web: {pid_file: /run/web.pid, start: [systemctl, start, web]}
        queue: {pid_file: queue.pid, disk: /var/lib/queue}
        store: {compose: store, project: mine, disk: data}
"""
EXPERIMENT = """
    apiVersion: brownout/v1
    kind: Experiment
    metadata: {name: broken}
    spec:
      target: here
      load: {profile: players}
      phases: {baseline: 3s, fault: 6s, recovery: 3s}
      faults:
        - {name: a, place: api, type: kill, for: 1s}
        - {name: b, place: api, type: pause, at: 2s, for: 1s}
        - {name: c, place: web, type: restart, grace: 2s}
        - {name: d, place: environment, type: slow, stopped: 30%}
        - {name: e, place: queue, type: memory_limit, headroom: 64MiB}
        - {name: f, place: queue, type: file_limit, headroom: 8}
        - {name: g, place: queue, type: disk_full, leave: 1MB}
        - {name: h, place: api, type: no_such_host, host: model.internal}
        - {name: i, place: store, type: pause}
        - {name: j, place: queue, type: kill, signal: TERM}
        - name: k
          place: api
          type: command
          inject: [tc, qdisc, add, dev, lo, root, netem, delay, 100ms]
          heal: [tc, qdisc, del, dev, lo, root]
          check: [tc, filter, show]
          timeout: 5s
          effect: {metric: brownout.step.duration, quantile: p90, rises: 50ms}
      objectives: [{ref: steps, phases: [baseline], runbook: other}]
"""


@pytest.fixture
def processes(folder: Folder) -> Folder:
    """A project whose target has each kind of process, and an experiment with each kind of fault of one."""
    folder.write("brownout.yaml", PROJECT)
    folder.write("chaos/targets/here.yaml", TARGET)
    folder.write("chaos/experiments/broken.yaml", EXPERIMENT)
    (folder.root / "chaos/experiments/slow.yaml").unlink()
    return folder


def mistakes() -> list[tuple[str, str, str]]:
    """What is replaced, by what, and what is said."""
    text = "\n".join(line for line in CASES.read_text().splitlines() if not line.startswith("#"))
    cases = []
    for block in text.strip().split("\n\n"):
        old, new, *answer = block.split("\n")
        was, becomes = (line[2:].replace("\\n", "\n") for line in (old, new))
        cases.append((was, becomes, "\n".join(answer)))
    return cases


@pytest.mark.parametrize(("old", "new", "answer"), mistakes())
def test_each_mistake_is_told_with_its_place_and_a_remedy(
    processes: Folder, old: str, new: str, answer: str
) -> None:
    """One mistake, in whichever document, and the whole answer."""
    files = ("chaos/experiments/broken.yaml", "chaos/targets/here.yaml", "brownout.yaml")
    (file,) = (name for name in files if old in (processes.root / name).read_text())
    text = (processes.root / file).read_text()
    assert text.count(old) == 1
    (processes.root / file).write_text(text.replace(old, new))
    assert "\n".join(processes.refused("broken")) == answer


def test_what_the_mistakes_are_made_in_is_right(processes: Folder) -> None:
    """Each kind of fault at each kind of process is planned as it is known to be."""
    text = plan_text(make_plan(processes.resolve("broken"), 1, 10)).replace(str(processes.root), "/project")
    if os.environ.get("BROWNOUT_REGENERATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
