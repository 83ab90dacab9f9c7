"""The shipped scripted profile plays the demo environment, and its recording holds on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from loadtests import metrics
from tests.loadtests.locusts import locust, wait_until

PROFILE = Path(__file__).parents[2] / "loadtests" / "profiles" / "env-scripted.yaml"


def test_the_shipped_script_plays_and_its_recording_holds(demos: dict[str, str], tmp_path: Path) -> None:
    """Each episode ends as the script says, with its nonces; replayed, each step earns what was recorded."""
    shipped: dict[str, Any] = yaml.safe_load(PROFILE.read_text())["spec"]
    golden = str(tmp_path / "golden.jsonl")
    recording = {"file": golden, "ignore": ["/episode_id"]}

    def played(name: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        profile = {**shipped, "arrivals": "8/s", "with": options}
        workload = {"name": name, "url": demos["environment"], "profile": profile}
        with locust(tmp_path / name, workloads=[workload], drain_s=30.0) as load:
            load.begin("baseline")
            wait_until(lambda: load.receiver.count(metrics.ARRIVALS) >= 10, "arrivals")
            assert load.stop() == 0, load.log
            ended = [(row["step"], row["error_type"], row["outcome"]) for row in load.rows(final=True)]
            assert not load.receiver.count(metrics.EPISODE_DURATION, outcome="failed"), (ended, load.log)
            return load.rows()

    rows = played("recording", {**shipped["with"], "record": recording})
    assert {row["outcome"] for row in rows} == {"ok"}
    assert all(row["nonce"] == row["reply_nonce"] is not None for row in rows)
    assert {row["step"] for row in rows if row["done"]} == {3}
    again = played("replaying", {"policy": {"recorded": golden}})
    assert {row["outcome"] for row in again} == {"ok"}
    assert all(row["reward"] == row["expected"] is not None for row in again)
