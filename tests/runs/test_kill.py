"""Killing a run at any moment leaves nothing: no toxic, no proxy, no process, and a journal that can be read."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from pathlib import Path

from chaos.journal import outstanding, read_events
from tests.runs.conftest import LEASE_S, brownout, living, wait_for, write_project

RUNS = int(os.environ.get("BROWNOUT_KILLS", "30")) // 2
"""Half of them on each kind of proxy server."""
AT_ONCE = 3
LONGEST_S = 8.0
SEED = int(os.environ.get("BROWNOUT_KILL_SEED", "20261121"))


def proxies(api: str) -> dict[str, dict[str, object]]:
    with urllib.request.urlopen(f"{api}/proxies") as reply:
        found: dict[str, dict[str, object]] = json.load(reply)
        return found


def amidst(journal: Path) -> bool:
    """Whether a run has begun and not ended."""
    events = list(read_events(journal))
    return bool(events) and events[-1].event != "run-ended"


def test_killed_runs_leave_nothing(tmp_path: Path, web: str, any_proxy: str) -> None:
    """SIGKILL at random moments, several runs at once: once the lease has run out, everything is healed."""
    draw = random.Random(SEED)
    project = write_project(tmp_path / "project", AT_ONCE, web, any_proxy)
    state = tmp_path / "state"
    mark = f"BROWNOUT_STATE_DIR={state}"
    cut = 0
    for batch in range(0, RUNS, AT_ONCE):
        moments = [draw.uniform(0.0, LONGEST_S) for _ in range(AT_ONCE)]
        started = time.monotonic()
        runs = [
            brownout(
                project, "run", f"slow-{n}", "--out", str(project / f"runs-{n}"), state=state, name=f"run-{n}"
            ).process
            for n in range(AT_ONCE)
        ]
        if batch + AT_ONCE >= RUNS:
            # where starting takes long, all moments may have come before any run began
            wait_for(lambda: any(map(amidst, project.glob("runs-*/*/events.jsonl"))), 60, "a run that began")
        for moment, run in sorted(zip(moments, runs, strict=True), key=lambda pair: pair[0]):
            time.sleep(max(0.0, started + moment - time.monotonic()))
            run.send_signal(signal.SIGKILL)
            run.wait()
        wait_for(lambda: not living(mark), LEASE_S + 20, f"batch {batch}: no process of the runs alive")
        assert proxies(any_proxy) == {}, f"batch {batch}, moments {moments}"
        for folder in project.glob("runs-*/*"):
            cut += amidst(folder / "events.jsonl")
            assert outstanding(read_events(folder / "events.jsonl")) == [], folder
    healed = brownout(project, "heal", state=state)
    assert healed.wait() == 0, healed.told()
    assert "clean" in healed.told()
    assert not list((state / "stages").glob("*.json"))
    assert cut, "no kill fell into a run: the test did not test anything"
