"""verifiers' `traces.jsonl`: one episode a line, appended as it ends; each agent's trace is a sample.

A torn last line is what a program leaves that was ended in the middle of it. Checked against verifiers 0.4.
Source: verifiers/v1/utils/trace_store.py, episode.py and trace.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from loadtests.adapters.sample import (
    UNSCORED,
    Call,
    Ending,
    Sample,
    error_name,
    ident,
    mapping,
    number,
    sequence,
    text,
)

MOST_LINE: Final = 64 * 1024 * 1024
OPERATION: Final = "rollout"
_STAGES: Final = ("boot", "setup", "agent", "finalize", "scoring")


def read(logs: Sequence[Path], ending: Ending) -> Iterator[Sample]:
    """Every rollout, in the order in which they ended; an item's repeats are numbered in that order."""
    repeats: Counter[str] = Counter()
    for log in logs:
        with log.open("rb") as file:
            for line in _lines(file, log, ending):
                yield from _episode(line, repeats)


def _lines(file: BinaryIO, log: Path, ending: Ending) -> Iterator[dict[str, Any]]:
    """The lines that are JSON objects; others are counted, but for the torn last one of a cut run."""
    bad = 0
    while line := file.readline(MOST_LINE):
        whole = line.endswith(b"\n")
        try:
            found = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            found = ()
        if isinstance(found, dict):
            yield found
        elif found is not None and (whole or not ending.cut):
            bad += 1
        while not whole and line:  # what is left of a line that is too long, or torn
            line = file.readline(MOST_LINE)
            whole = line.endswith(b"\n")
    if bad:
        ending.problems.append(f"{log.name}: {bad} lines are no episodes")


def _episode(row: dict[str, Any], repeats: Counter[str]) -> Iterator[Sample]:
    task = mapping(row.get("task"))
    data = mapping(task.get("data"))
    names = (ident(data.get("id")), ident(data.get("name")), text(task.get("key")), ident(data.get("idx")))
    item = next((name for name in names if name), "(a task without an id)")
    repeats[item] += 1
    epoch = repeats[item]
    traces = [trace for trace in sequence(row.get("traces")) if isinstance(trace, dict)]
    failure = _failure(row)
    if not traces:
        yield Sample(item, OPERATION, epoch=epoch, error_type=failure or UNSCORED)
    for trace in traces:
        agent = text(mapping(trace.get("agent")).get("name"))
        operation = OPERATION if len(traces) == 1 else f"{OPERATION}/{agent or 'agent'}"
        yield _trace(trace, item, operation, epoch, failure)


def _trace(trace: dict[str, Any], item: str, operation: str, epoch: int, failure: str | None) -> Sample:
    timing = mapping(trace.get("timing"))
    ends = [number(mapping(timing.get(stage)).get("end")) or 0.0 for stage in _STAGES]
    reward = _reward(trace.get("rewards"))
    error_type = failure or _failure(trace)
    return Sample(
        item,
        operation,
        epoch=epoch,
        start=number(timing.get("start")),
        end=max(ends) or None,
        reward=reward if error_type is None else None,
        error_type=error_type or (UNSCORED if reward is None else None),
        calls=tuple(_call(call) for call in sequence(trace.get("calls"))),
    )


def _reward(rewards: object) -> float | None:
    """The sum of the weighted rewards; None when there is none, or one is no number."""
    parts = []
    for each in mapping(rewards).values():
        reward = mapping(each)
        score, weight = number(reward.get("score")), number(reward.get("weight", 1.0))
        if score is None or weight is None:
            return None
        parts.append(score * weight)
    return number(sum(parts)) if parts else None


def _failure(record: dict[str, Any]) -> str | None:
    """The error type of an episode or a trace that is not ok; earlier attempts' errors do not count."""
    if record.get("is_timeout") is True:
        return "timeout"
    if record.get("ok") is True:
        return None
    errors = sequence(record.get("errors"))
    if errors:
        return error_name(mapping(errors[-1]).get("type"))
    traces = [_failure(trace) for trace in sequence(record.get("traces")) if isinstance(trace, dict)]
    return next(filter(None, traces), error_name(None))


def _call(call: object) -> Call:
    error = mapping(call).get("error")
    return Call(error_name(mapping(error).get("type")) if error else None)
