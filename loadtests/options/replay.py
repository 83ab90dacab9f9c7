"""The options of users that send recorded requests again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.options.check import STATUSES_SCHEMA, HeaderName, PatternText, expected, statuses_of
from slo.model import Model
from slo.quantities import Duration, Share, format_duration

if TYPE_CHECKING:  # numpy takes its time, and most documents replay nothing
    from loadtests.recordings.recording import Recording

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_RULES: Final = ("class", "recorded", "any")
_SET_BY_USER: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade",
        "proxy-connection", "expect", "traceparent",
    }
)  # fmt: skip


def _header_name(text: str) -> str:
    if text.lower() in _SET_BY_USER:
        raise ValueError(f"{text} is set by the user itself")
    return text


def _expectation(value: Any) -> str | tuple[int | str, ...]:
    if value in _RULES:
        return str(value)
    try:
        return statuses_of(value)
    except ValueError as error:
        raise ValueError(
            f"expected class, recorded, any, or statuses such as 200 or 2xx, got {value}"
        ) from error


Expectation = Annotated[
    str | tuple[int | str, ...],
    BeforeValidator(_expectation),
    WithJsonSchema({"anyOf": [{"enum": ["class", "recorded", "any"]}, *STATUSES_SCHEMA["anyOf"]]}),
]


class ReplayOptions(Model):
    """What is recorded, which of it is sent again, and what must come of it."""

    file: str = Field(min_length=1, description="An access log, a HAR file, or JSON lines.")
    format: Literal["auto", "common", "combined", "har", "jsonl"] = "auto"
    speed: float = Field(1.0, gt=0, le=100_000, description="Recorded times are divided by this.")
    at_end: Literal["repeat", "stop"] = Field(
        "repeat", description="repeat: from the beginning. stop: with recorded times, nobody comes any more."
    )
    bad_lines: Share = Field(0.01, description="The share of lines that may be no requests.")
    only_safe: bool = Field(True, description="Only GET, HEAD and OPTIONS: they change nothing.")
    methods: tuple[Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")], ...] | None = Field(
        None, min_length=1, description="Only these methods."
    )
    paths: PatternText | None = Field(None, description="Only paths (and queries) that match (RE2).")
    skip: PatternText | None = Field(None, description="No paths (and queries) that match (RE2).")
    operations: dict[Annotated[str, Field(pattern=r"^[\w .:/-]{1,100}$")], PatternText] = Field(
        default_factory=dict,
        max_length=100,
        description="Names for telemetry, by a pattern (RE2) of paths; the first that fits. Else the method.",
    )
    headers: tuple[Annotated[HeaderName, AfterValidator(_header_name)], ...] = Field(
        ("Accept", "Accept-Language", "Content-Type"),
        description="Recorded headers that are sent again. Authorization and Cookie only if named here.",
    )
    expect: Expectation = Field(
        "class",
        description="class: a status with the recorded one's first digit. recorded: that very one. any. Or "
        "statuses.",
    )
    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = Field(0.5, ge=0)
    connection: Literal["pooled", "fresh"] = "pooled"


@lru_cache(maxsize=2048)
def expected_of(recorded: int, rule: str | tuple[int | str, ...]) -> frozenset[int]:
    """The statuses that are right where `recorded` (0: none) was. Nothing excuses a 5xx under `class`.

    408 and 429 speak of load, not of the request: they are right only where they were recorded. A recorded
    304 was the answer to a condition that is not sent again.
    """
    if not isinstance(rule, str):
        return expected(rule)
    if rule == "any":
        return frozenset(range(100, 600))
    if rule == "recorded" and recorded:
        return frozenset({recorded})
    if recorded == 304:
        return frozenset({*range(200, 300), 304})
    if 100 <= recorded < 500 and recorded != 499:  # 499: nginx's word for a client that went away
        hundred = recorded // 100 * 100
        return frozenset(range(hundred, hundred + 100)) - ({408, 429} - {recorded})
    return frozenset(range(100, 500)) - {408, 429}


class ReplayProfile(Profile):
    """Users that send recorded requests again, one each.

    Without `arrivals` and `users` they come when the recorded ones came; the n-th arrival sends the n-th
    request of the recording in any case.
    """

    own_schedule: ClassVar[bool] = True

    user: Literal["replay"]
    with_: ReplayOptions = Field(alias="with")

    def placed(self, root: Path) -> Self:
        """With its file made absolute."""
        options = self.with_.model_copy(update={"file": str(root / self.with_.file)})
        return self.model_copy(update={"with_": options})

    def recording(self) -> Recording:
        """What is to be sent again, read once until the file changes. Raises Unusable."""
        from loadtests.recordings.recording import SAFE, Wanted, recording

        options = self.with_
        methods = SAFE if options.only_safe else None
        if options.methods is not None:
            methods = frozenset(options.methods)
        return recording(
            Wanted(
                options.file,
                options.format,
                methods,
                options.paths,
                options.skip,
                tuple(options.operations.items()),
            )
        )

    @property
    def recorded_times(self) -> bool:
        """Whether users come when the recorded ones came."""
        return self.arrivals is None and self.users is None

    def most_arrivals(self) -> int | None:
        """How many users come at most, or None: for ever. Raises Unusable."""
        return len(self.recording()) if self.with_.at_end == "stop" else None

    def offset(self, ordinal: int) -> float | None:
        """When the `ordinal`-th user is due, in seconds from the first; None: nobody is. Raises Unusable."""
        recording = self.recording()
        if not len(recording) or (self.with_.at_end == "stop" and ordinal >= len(recording)):
            return None
        return recording.offset(ordinal) / self.with_.speed

    def offsets(self) -> Iterator[float]:
        """When the users are due, in order, in seconds from the first; it has no end with `at_end: repeat`.

        Raises Unusable.
        """
        recording, speed = self.recording(), self.with_.speed
        if not len(recording):
            return
        for ordinal in range(len(recording)) if self.with_.at_end == "stop" else count():
            yield recording.offset(ordinal) / speed

    def flaws(self) -> list[Flaw]:
        """What is wrong with the recording: no file, too many bad lines, nothing that is wanted in it."""
        from loadtests.recordings.recording import Unusable

        options, key = self.with_, ("with", "file")
        found: list[Flaw] = []
        if not self.recorded_times and "speed" in options.model_fields_set:
            hint = "leave out arrivals and users, and the recorded times hold"
            found.append(Flaw(("with", "speed"), "speed is for recorded times, but others are given", hint))
        if not self.recorded_times and options.at_end == "stop":
            hint = "leave out arrivals and users, and the recorded times hold"
            found.append(Flaw(("with", "at_end"), "stop is for recorded times, but others are given", hint))
        for number, method in enumerate(options.methods or ()):
            if options.only_safe and method not in _SAFE:
                hint = "write only_safe: false to send it again"
                found.append(Flaw(("with", "methods", number), f"{method} may change things", hint))
        name = Path(options.file).name
        try:
            recording = self.recording()
        except Unusable as error:
            if error.line:
                return [*found, Flaw(key, str(error), file=options.file, at=(error.line, error.column))]
            return [*found, Flaw(key, f"{name}: {error}")]
        counts = recording.counts
        if counts.bad > options.bad_lines * counts.lines:
            share = f"{counts.bad} of {counts.lines} lines are bad"
            hint = f"{share}, and bad_lines allows {options.bad_lines:.2%}"
            found += [
                Flaw(key, bad.message, hint, options.file, (bad.line, bad.column)) for bad in recording.bad
            ]
        elif not counts.requests:
            found.append(Flaw(key, f"{name} has no request that is wanted: {self._left_out(recording)}"))
        elif self.recorded_times and recording.first_timeless is not None:
            message = f"{counts.timeless} of {counts.requests} requests have no time"
            hint = "write when users come: arrivals, such as 20/s"
            found.append(Flaw(key, message, hint, options.file, (recording.first_timeless, 1)))
        return found

    def notes(self) -> list[str]:
        """What the recording holds and what is left out of it, for people. Raises Unusable."""
        recording, options = self.recording(), self.with_
        counts, name = recording.counts, Path(options.file).name
        told = f"{name} ({recording.format}): {counts.requests} requests of {counts.lines} lines"
        if self.recorded_times and len(recording):
            told += f", over {format_duration(recording.span_s / options.speed)}"
            told += f" ({options.speed:g} times as fast as recorded)" if options.speed != 1 else ""
        left_out = self._left_out(recording)
        return [told + (f"; left out: {left_out}" if left_out else "")]

    def _left_out(self, recording: Recording) -> str:
        counts = recording.counts
        parts = [
            f"{number} {what}"
            for number, what in (
                (counts.bad, "bad line" if counts.bad == 1 else "bad lines"),
                (counts.no_request, "that are no HTTP request"),
                (counts.other_method, "of another method"),
                (counts.other_path, "of another path"),
            )
            if number
        ]
        if recording.bad:
            parts[0] += f" (first: line {recording.bad[0].line})"
        return ", ".join(parts)
