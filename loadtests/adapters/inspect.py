"""Inspect AI's `.eval` logs: a zip archive of JSON, written as samples end: a killed eval leaves one too.

Read without Inspect: its summaries hold what a history needs, a few samples apiece while the eval is on
(`_journal/summaries/N.json`), so the largest log is read in small pieces. What was not summarised yet when
the eval was killed is read from the samples themselves. What was to be run is in the header (or in
`_journal/start.json`): whatever of it is nowhere else was begun, or should have been, and did not end. A
sample that was run again is written again: the last one holds, as in Inspect, so the newest come first here.

Checked against Inspect AI 0.3.285. Source: inspect_ai/log/_recorders/eval.py and inspect_ai/log/_log.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.adapters.archive import Archive, Damaged
from loadtests.adapters.sample import (
    UNSCORED,
    Ending,
    Sample,
    error_name,
    ident,
    mapping,
    moment,
    number,
    sequence,
    text,
)

_HEADER: Final = "header.json"
_START: Final = "_journal/start.json"
_SUMMARIES: Final = "summaries.json"
_BATCH = re.compile(r"_journal/summaries/(\d{1,9})\.json")
_SAMPLE = re.compile(r"samples/(.+)_epoch_(\d{1,9})\.json", re.DOTALL)
_SCORES: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_MOST_PLANNED: Final = 10_000_000
_MOST_PROBLEMS: Final = 5

Key = tuple[str, int]


def read(logs: Sequence[Path], ending: Ending) -> Iterator[Sample]:
    """Every sample of every log; items of several logs bear their task's name: ids may be the same."""
    for log in logs:
        try:
            with Archive(log) as archive:
                yield from _Log(log.name, archive, ending, named=len(logs) > 1).samples()
        except Damaged as damage:
            ending.problems.append(f"{log.name}: {damage}")


def value_to_float(value: object) -> float | None:
    """A score as a number: C 1, P 0.5, I and N 0, numbers as they are; None for what is no score.

    Source: inspect_ai/scorer/_metric.py, `value_to_float`; what that takes for 0 with a warning is None here.
    """
    if isinstance(value, str):
        known = _SCORES.get(value, _SCORES.get(value.lower()) if len(value) > 1 else None)
        if known is not None:
            return known
        try:
            return number(float(value))
        except ValueError:
            return None
    return number(value)


class _Log:
    """One log as it is read: which samples have been seen, and what was to be run."""

    def __init__(self, name: str, archive: Archive, ending: Ending, *, named: bool) -> None:
        self._name = name
        self._archive = archive
        self._ending = ending
        self._problems = 0
        header = mapping(self._json(_HEADER) or self._json(_START))
        about = mapping(header.get("eval"))
        if not about:
            self._complain("neither a header nor a start: what was to be run is not known")
        task = text(about.get("task"))
        self._prefix = f"{task or name}:" if named else ""
        names = [text(mapping(scorer).get("name")) for scorer in sequence(about.get("scorers"))]
        self._scorers = [each for each in names if each] or ["sample"]
        self._planned = _planned(about)
        self._seen: set[Key] = set()

    def samples(self) -> Iterator[Sample]:
        """Those that ended, then those that did not."""
        members = self._archive.members
        batches = {int(m[1]): name for name in members if (m := _BATCH.fullmatch(name))}
        for name in [batches[n] for n in sorted(batches, reverse=True)] or [_SUMMARIES]:
            for summary in reversed(sequence(self._json(name))):
                yield from self._rows(mapping(summary))
        for name in list(members):
            if (match := _SAMPLE.fullmatch(name)) and (match[1], int(match[2])) not in self._seen:
                yield from self._rows(mapping(self._json(name)))
        if not self._archive.whole and not self._ending.cut:
            self._complain("the archive has no directory: its writer was killed")
        yield from self._left_out()

    def _left_out(self) -> Iterator[Sample]:
        ids, epochs = self._planned
        for epoch in range(1, epochs + 1):
            for item in ids:
                if (item, epoch) not in self._seen:
                    for scorer in self._scorers:
                        error_type = self._ending.left_out
                        yield Sample(self._prefix + item, scorer, epoch=epoch, error_type=error_type)

    def _rows(self, summary: dict[str, Any]) -> Iterator[Sample]:
        item, epoch = ident(summary.get("id")), summary.get("epoch")
        if item is None or not isinstance(epoch, int):
            self._complain("a sample without an id or an epoch")
            return
        if (item, epoch) in self._seen or not 0 < epoch < 2**31:
            return
        self._seen.add((item, epoch))
        retries = summary.get("retries", len(sequence(summary.get("error_retries"))))
        error = summary.get("error")
        error = error.get("message") if isinstance(error, dict) else error
        for operation, reward in self._scores(summary, failed=error is not None):
            failure = None if error is None else error_name(error)
            yield Sample(
                self._prefix + item,
                operation,
                epoch=epoch,
                attempt=min(retries, 0xFFFF) if isinstance(retries, int) and retries > 0 else 0,
                start=moment(summary.get("started_at")),
                end=moment(summary.get("completed_at")),
                reward=reward,
                error_type=failure or (UNSCORED if reward is None else None),
            )

    def _scores(self, summary: dict[str, Any], *, failed: bool) -> list[tuple[str, float | None]]:
        """Each scorer's name with its score; a score of several values is one for each."""
        if failed:
            return [(scorer, None) for scorer in self._scorers]
        found: list[tuple[str, float | None]] = []
        for name, score in mapping(summary.get("scores")).items():
            value = mapping(score).get("value")
            if isinstance(value, dict):
                found += [(f"{name}/{part}"[:100], value_to_float(each)) for part, each in value.items()]
            else:
                found.append((name[:100], value_to_float(value)))
        return found or [(scorer, None) for scorer in self._scorers]

    def _json(self, name: str) -> Any:
        """What a member holds; None where it is not there, or damaged, which is told."""
        member = self._archive.members.get(name)
        if member is None:
            return None
        try:
            return json.loads(self._archive.read(member))
        except Damaged as damage:
            self._complain(str(damage))
        except (ValueError, RecursionError) as error:
            self._complain(f"{name}: {error}")
        return None

    def _complain(self, what: str) -> None:
        self._problems += 1
        if self._problems <= _MOST_PROBLEMS:
            self._ending.problems.append(f"{self._name}: {what}")


def _planned(about: dict[str, Any]) -> tuple[list[str], int]:
    """The ids that were to be run, and how often each; none where the log does not say."""
    ids = [
        name for each in sequence(mapping(about.get("dataset")).get("sample_ids")) if (name := ident(each))
    ]
    epochs = mapping(about.get("config")).get("epochs", 1)
    epochs = epochs if isinstance(epochs, int) and epochs > 0 else 1
    return (ids, epochs) if len(ids) * epochs <= _MOST_PLANNED else ([], 0)
