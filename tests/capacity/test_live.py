"""A search on a real service of known capacity, through the real proxy, by the real load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.capacity.result import Capacity
from chaos.journal import outstanding, read_events


@pytest.mark.timeout(300)
def test_the_capacity_of_a_queue_is_found_without_a_fault_and_with_it(project: Path) -> None:
    """A service of at most 25/s holds 12/s and not 48/s; late requests are seen to act, and are healed."""
    command = [
        *(sys.executable, "-m", "chaos", "capacity", "q.yaml#queue", "--fault", "late-requests", "--json"),
        *("--from", "12/s", "--to", "48/s", "--precision", "100%"),
        *("--point-min", "3s", "--point-max", "8s", "--seed", "7", "--out", str(project / "runs")),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout, done.stderr
    result = Capacity.model_validate_json(done.stdout)
    told = json.dumps(json.loads(done.stdout), indent=1) + done.stderr
    control, fault = result.arms
    assert control.held is not None and control.held <= 26, told
    assert control.breached is not None and control.breached <= 48, told
    assert control.returned is not None
    assert any(point.acted == {"late-requests": True} for point in fault.points), told
    assert all(point.rate <= control.held for point in fault.points), told
    assert done.returncode == result.exit_code
    assert result.stopped == ""
    folder = project / "runs" / result.name
    assert (folder / "capacity.html").read_text().startswith("<!DOCTYPE html>")
    assert Capacity.model_validate_json((folder / "capacity.json").read_text()) == result
    for point in (*control.points, *fault.points):
        events = list(read_events(folder / "points" / point.folder / "events.jsonl"))
        assert not outstanding(events)  # each point is a run: journalled, healed, and judged
        assert (folder / "points" / point.folder / "verdict.json").is_file()
