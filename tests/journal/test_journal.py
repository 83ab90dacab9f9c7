"""The journal's promises: readable after a kill at any byte, and honest about what is outstanding."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.faults.undo import DeleteProxy, RemoveToxic
from chaos.journal import (
    Event,
    FaultFailed,
    FaultHealed,
    FaultInjected,
    FaultPending,
    Journal,
    ProxyPending,
    ProxyRemoved,
    outstanding,
    read_events,
)

API = "http://127.0.0.1:1"


def pending(name: str) -> FaultPending:
    return FaultPending(fault=name, undo=RemoveToxic(api=API, proxy="p", toxic=name))


def story(steps: list[tuple[str, str]]) -> list[Event]:
    """Events of faults by step: pending, injected, failed, healed."""
    made: list[Event] = []
    for name, step in steps:
        match step:
            case "pending":
                made.append(pending(name))
            case "injected":
                made.append(FaultInjected(fault=name))
            case "failed":
                made.append(FaultFailed(fault=name, reason="no answer"))
            case "healed":
                made.append(FaultHealed(fault=name))
    return made


def test_round_trip(tmp_path: Path) -> None:
    """What is recorded is read back the same, with its time."""
    journal = Journal(tmp_path / "events.jsonl", lambda: 12.5)
    for event in story([("a", "pending"), ("a", "injected"), ("a", "healed")]):
        journal.record(event)
    journal.close()
    read = list(read_events(journal.path))
    assert read == journal.events
    assert {event.t for event in read} == {12.5}


def test_a_cut_anywhere_leaves_a_prefix(tmp_path: Path) -> None:
    """However many bytes of the file a kill left, the events before the cut are read."""
    journal = Journal(tmp_path / "events.jsonl")
    for event in story([("a", "pending"), ("a", "injected"), ("b", "pending"), ("a", "healed")]):
        journal.record(event)
    journal.close()
    whole = journal.path.read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        events = list(read_events(cut))
        assert events == journal.events[: len(events)]
        assert len(events) >= whole[:length].count(b"\n")


def test_another_writer_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    """A healer that appends after a torn last line is read, and the torn line is left out."""
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    journal.record(pending("a"))
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"event":"fault-inj')
    again = Journal(path)
    again.record(FaultHealed(fault="a", by="heal"))
    again.close()
    events = list(read_events(path))
    assert [e.event for e in events] == ["fault-pending", "fault-healed"]
    assert outstanding(events) == []


def test_a_strange_event_is_an_error(tmp_path: Path) -> None:
    """A whole line that this version does not know is not passed over in silence."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event":"who-knows"}\n' + pending("a").model_dump_json().encode() + b"\n")
    with pytest.raises(ValueError, match=r"events.jsonl:1"):
        list(read_events(path))


names = st.sampled_from(["a", "b", "c"])
steps = st.lists(st.tuples(names, st.sampled_from(["pending", "injected", "failed", "healed"])))


@given(steps)
def test_outstanding_is_what_was_begun_and_not_healed(steps: list[tuple[str, str]]) -> None:
    """For any story: a fault is outstanding exactly when its last of pending and healed is pending."""
    last: dict[str, str] = {}
    for name, step in steps:
        if step in ("pending", "healed"):
            last[name] = step
    expected = {name for name, step in last.items() if step == "pending"}
    assert {item.key for item in outstanding(story(steps))} == expected


def test_proxies_are_undone_after_the_toxics_they_carry() -> None:
    """A proxy is deleted last, and one that was removed is not outstanding."""
    events: list[Event] = [
        ProxyPending(name="p", undo=DeleteProxy(api=API, proxy="p")),
        ProxyPending(name="q", undo=DeleteProxy(api=API, proxy="q")),
        pending("a"),
        pending("b"),
        ProxyRemoved(name="q"),
    ]
    assert [item.key for item in outstanding(events)] == ["b", "a", "p"]


def test_a_disk_that_fills_up_in_the_middle_of_a_line_is_an_error(tmp_path: Path) -> None:
    """Half a line is never taken for a line written, and what follows it begins a line of its own."""
    journal = Journal(tmp_path / "events.jsonl")
    journal.record(pending("a"))
    limit = journal.path.stat().st_size + 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with pytest.raises(OSError, match="No space"):
            journal.record(pending("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.record(pending("c"))
    journal.close()
    assert [item.key for item in outstanding(read_events(journal.path))] == ["c", "a"]
    assert len(journal.events) == 2
