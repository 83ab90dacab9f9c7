"""JUnit's XML, as pytest and most test runners write it: each test case is a sample.

A failed test scores 0 and is an error (`test_failure`), a broken one is an error without a score
(`test_error`); a skipped one has neither, so it counts as not scored where phases are compared. JUnit's times
have no zone, so tests count as having run one after the other from the program's start.
Source: https://github.com/testmoapp/junitxml, and pytest's `junit_family = xunit2`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.parsers import expat

from loadtests.adapters.sample import Ending, Sample, number

_CHUNK: Final = 64 * 1024
_WORST: Final = {"skipped": 1, "failure": 2, "error": 3}
_KINDS: Final = {"failure": "test_failure", "error": "test_error"}


class _Refused(ValueError):
    """XML that says what it has no need to say."""


class _Cases:
    """The test cases of one file, as they are parsed; a document type, which may define entities, is none."""

    def __init__(self) -> None:
        self.found: list[tuple[str, float, str]] = []
        """Name, seconds, and `skipped`, `failure`, `error` or nothing; taken out by whoever reads."""
        self._open: tuple[str, float] | None = None
        self._ended = ""
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise _Refused("a document type is not read")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "testcase":
            parts = (attributes.get("classname"), attributes.get("name"))
            self._open = ("::".join(filter(None, parts)), _seconds(attributes.get("time", "")))
            self._ended = ""
        elif name in _WORST and _WORST[name] > _WORST.get(self._ended, 0):
            self._ended = name

    def _end(self, name: str) -> None:
        if name == "testcase" and self._open is not None:
            self.found.append((*self._open, self._ended))
            self._open = None


def read(logs: Sequence[Path], ending: Ending) -> Iterator[Sample]:
    """Every test case, in order."""
    at = ending.start
    for log in logs:
        cases = _Cases()
        with log.open("rb") as file:
            try:
                more = True
                while more:
                    data = file.read(_CHUNK)
                    more = bool(data)
                    cases.parser.Parse(data, not more)
                    for name, seconds, ended in cases.found:
                        yield _sample(name, at, at + seconds, ended)
                        at += seconds
                    cases.found.clear()
            except (expat.ExpatError, _Refused) as error:
                ending.problems.append(f"{log.name}: not JUnit's XML: {error}")


def _sample(name: str, start: float, end: float, ended: str) -> Sample:
    reward = {"": 1.0, "failure": 0.0}.get(ended)
    item = name[:200] or "(a test without a name)"
    return Sample(item, "test", start=start, end=end, reward=reward, error_type=_KINDS.get(ended))


def _seconds(value: str) -> float:
    try:
        return max(number(float(value.replace(",", ""))) or 0.0, 0.0)
    except ValueError:
        return 0.0
