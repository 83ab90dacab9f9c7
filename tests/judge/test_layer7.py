"""Faults at layer 7 are seen by the proxy's own count of messages, and findings by the record of what was struck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.evidence import Evidence
from chaos.hits import STRUCK_BY, Hit, Hits, explained
from chaos.journal import (
    ArrivalsEnded,
    Event,
    FaultHealed,
    FaultInjected,
    HitsMissed,
    LoadStopped,
    PhaseStarted,
    RunEnded,
)
from chaos.judge import judge
from chaos.verdict import Verdict
from loadtests.columns import SCHEMA
from slo.finding import Finding
from slo.outcome import Outcome
from slo.series import Samples
from tests.judge.test_judge import T0, plan

TRACE, OTHER = "a" * 32, "b" * 32


def verdict(
    counts: dict[str, int], hits: tuple[Hit | None, ...] = (), *more: HitsMissed, **fault: Any
) -> Verdict:
    """Of a run with one fault at layer 7, of which the proxy counted `counts`."""
    base = plan("baseline")
    changed = {"name": "wrong", "type": "http_reply", "attributes": {"status": 200}, "effects": (), **fault}
    one = base.faults[0].model_copy(update=changed)
    events: tuple[Event, ...] = (
        PhaseStarted(phase="baseline", t=T0),
        PhaseStarted(phase="fault", t=T0 + 3),
        FaultInjected(fault="wrong", t=T0 + 3),
        FaultHealed(fault="wrong", t=T0 + 9, counts=counts),
        PhaseStarted(phase="recovery", t=T0 + 9),
        ArrivalsEnded(t=T0 + 12),
        LoadStopped(complete=True, t=T0 + 12),
        *more,
        RunEnded(ending="completed", t=T0 + 13),
    )
    return judge(
        Evidence(
            run="r",
            plan=base.model_copy(update={"faults": (one,)}),
            events=events,
            samples=Samples(),
            history=SCHEMA.empty_table(),
            hits=hits,
        )
    )


def counted(applied: int, matched: int, unread: int = 0) -> dict[str, int]:
    """The proxy's counts."""
    return {"connections": 3, "bytes": 9, "applied": applied, "matched": matched, "unread": unread}


def hit(**keys: Any) -> Hit:
    """A hit of the fault."""
    return Hit(**{"fault": "wrong", "at_s": T0, "what": "POST /v1/x", "applied": "done", **keys})


def test_a_fault_that_struck_messages_acted() -> None:
    """However little of it shows in telemetry."""
    effect = verdict(counted(37, 180)).faults[0].effect
    assert effect is not None
    assert (effect.outcome, effect.samples) == (Outcome.PASS, 180)
    assert effect.reason == "struck 37 of 180 messages"


@pytest.mark.parametrize(
    ("counts", "hits", "where", "said"),
    [
        (counted(0, 0), 0, {}, "there came no message"),
        (counted(0, 0), 0, {"path": "/v2"}, "`where` fitted no message"),
        (counted(0, 120), 0, {"path": "/*"}, "`where` fitted 120 messages, and none was struck"),
        (
            counted(0, 120),
            24,
            {},
            "there came 120 messages, and it struck 24 of them in vain",
        ),
        (
            counted(0, 0, 12),
            0,
            {},
            "there came no message; 12 connections or messages could not be read: no HTTP/1.1?",
        ),
        ({}, 0, {}, "whether fault wrong struck anything is not known: no count was read"),
    ],
)
def test_one_that_did_nothing_leaves_the_run_inconclusive(
    counts: dict[str, int], hits: int, where: dict[str, str], said: str
) -> None:
    """And says why: nothing came, nothing fitted, none was drawn, nothing to change, nothing that can be read."""
    found = verdict(counts, (hit(applied=""),) * hits, where=where)
    effect = found.faults[0].effect
    assert effect is not None
    assert effect.outcome is Outcome.INCONCLUSIVE
    assert effect.runbook == "fault-without-effect"
    lead = "" if said.startswith("whether") else "fault wrong at env had no observable effect: "
    assert effect.reason.removeprefix(lead) == said
    assert not found.outcome.passes


def test_what_could_not_be_read_is_a_warning() -> None:
    """Beside what was struck: never left out in silence."""
    effect = verdict(counted(5, 9, 1), (hit(),) * 5 + (hit(applied=""),) * 2).faults[0].effect
    assert effect is not None
    assert effect.outcome is Outcome.WARN
    assert effect.reason == (
        "struck 5 of 9 messages (2 more in vain: there was nothing for it to do); it may have missed some, as 1 connection or "
        "message could not be read: no HTTP/1.1?"
    )


def test_a_record_with_gaps_is_told() -> None:
    """How many messages it lacks, where, why, and how many lines cannot be read; the verdict is as it was."""
    found = verdict(
        counted(5, 9),
        (hit(), None),
        HitsMissed(place="env", missed=70, t=T0 + 13),
        HitsMissed(place="db", missed=0, reason="gone", t=T0 + 13),
    )
    told = {f.objective: f for f in found.findings if f.objective.startswith("hits")}
    assert {f.outcome for f in told.values()} == {Outcome.WARN}
    assert "lacks at least 70 messages that were struck, which came faster" in told["hits/env"].reason
    assert told["hits/db"].reason.endswith("lacks some, perhaps: gone")
    assert told["hits"].reason.startswith("1 of the lines of hits.jsonl cannot be read")


def rows(*found: dict[str, Any]) -> Finding:
    """A finding with offending rows."""
    return Finding(
        objective="o", kind="invariant", phase="fault", outcome=Outcome.FAIL, reason="", rows=tuple(found)
    )


def causes(row: dict[str, Any], *hits: Hit) -> object:
    """What a row says that struck it."""
    return explained([rows(row)], hits).findings[0].rows[0].get(STRUCK_BY)


def test_a_row_says_which_fault_struck_it() -> None:
    """By the trace of its request; a row of another trace, and a hit that did nothing, are joined to nothing."""
    row = {"trace_id": TRACE, "nonce": "item-3", "end": T0 + 1}
    assert causes(row, hit(trace=TRACE, id="#1")) == "wrong"
    assert causes(row, hit(trace=TRACE), hit(trace=TRACE, fault="late"), hit(trace=TRACE)) == "wrong, late"
    assert causes(row, hit(trace=OTHER, id="item-3")) is None
    assert causes(row, hit(trace=TRACE, applied="")) is None
    assert causes(row, hit(id="item-3")) == "wrong"
    assert causes(row, hit(id="item-4"), hit()) is None


def test_of_a_websocket_by_the_nonce_or_as_what_came_before() -> None:
    """Its messages share a trace: a message itself is told from one that was struck earlier, and from a later one."""
    row = {"trace_id": TRACE, "nonce": "n3", "end": T0 + 1}
    message = {"trace": TRACE, "what": "text message"}
    assert causes(row, hit(**message, id="n3")) == "wrong"
    assert causes(row, hit(**message, id="n2")) == "wrong (earlier on its connection)"
    assert causes(row, hit(**message, id="n4", at_s=T0 + 2)) is None
    assert causes(row, hit(trace=TRACE, what="GET /ws")) == "wrong"


def test_rows_without_ids_are_joined_to_nothing() -> None:
    """An empty id is no id."""
    assert causes({"user": 1}, hit(), hit(trace=TRACE), hit(id="x")) is None


def test_a_record_is_read_line_by_line(tmp_path: Path) -> None:
    """As often as it is asked for; what was cut short is told, and no file is an empty record."""
    path = tmp_path / "hits.jsonl"
    assert list(Hits(path)) == []
    line = {
        "fault": "f",
        "place": "p",
        "number": 1,
        "at_ms": 1500.0,
        "type": "ws_drop",
        "what": "text message",
    }
    path.write_text(json.dumps(line) + "\n" + "[1]\n" + json.dumps(line)[:40])
    hits = Hits(path)
    assert list(hits) == list(hits) == [Hit("f", 1.5, "text message"), None, None]
