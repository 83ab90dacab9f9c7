"""Recordings: what is read from logs, archives and JSON lines, what is left out, and when each is due."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.options.replay import ReplayProfile, expected_of
from loadtests.recordings.accesslog import AccessLog
from loadtests.recordings.entry import BadEntry, NoRequest
from loadtests.recordings.har import Archive, NotAnArchive, places
from loadtests.recordings.jsonlines import JsonLines
from loadtests.recordings.recording import Recording, Unusable, Wanted, recognised

LINE = '10.0.0.1 - ann [31/Jan/2026:12:00:{second:02} +0000] "{request}" {status} 512'
AGENT = ' "http://a.example/" "Mozilla/5.0 (\\"x\\")"'


def line(second: int = 0, request: str = "GET / HTTP/1.1", status: int = 200, more: str = "") -> str:
    """A line of an access log, without its end."""
    return LINE.format(second=second, request=request, status=status) + more


def profile(file: Path, *, root: dict[str, Any] | None = None, **options: Any) -> ReplayProfile:
    """A replay of a file."""
    spec = {"user": "replay", "service": "s", "with": {"file": str(file), **options}, **(root or {})}
    return ReplayProfile.model_validate(spec)


def escaped(data: bytes) -> str:
    """As nginx and Apache write a byte that a log cannot hold."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02X}" for byte in data
    )


@given(
    st.integers(630_000_000, 3_800_000_000),
    st.integers(-12 * 60, 14 * 60),
    st.sampled_from(["GET", "HEAD", "POST", "PROPFIND"]),
    st.binary(max_size=30).filter(lambda path: b"#" not in path),
    st.integers(100, 599),
    st.booleans(),
)
def test_what_a_server_logs_is_read_back(
    at: int, minutes: int, method: str, path: bytes, status: int, combined: bool
) -> None:
    """Time, method, target and status survive, whatever bytes were in the path and wherever the server was."""
    zone = timezone(timedelta(minutes=minutes))
    stamp = datetime.fromtimestamp(at, zone).strftime("%d/%b/%Y:%H:%M:%S %z")
    text = f'::1 - - [{stamp}] "{method} /{escaped(path)} HTTP/1.1" {status} -'
    data = (text + (AGENT if combined else "") + "\n").encode()
    for reader in (AccessLog(combined=False), *([AccessLog(combined=True)] if combined else [])):
        read = reader.read(data)
        assert (read.at, read.method, read.status) == (at, method, status)
        assert unquote_to_bytes(read.target) == unquote_to_bytes(b"/" + path)
        assert re.fullmatch(r"[!-~]+", read.target)
        assert reader.scan(data) == (read.at, read.method, read.target)


@given(st.binary(max_size=200))
def test_no_line_is_more_than_refused(data: bytes) -> None:
    """Whatever a line holds, it is a request, a line without one, or a bad one."""
    for reader in (AccessLog(combined=True), AccessLog(combined=False), JsonLines(), Archive()):
        try:
            read = reader.read(data)
        except (BadEntry, NoRequest):
            continue
        assert read.target.isascii()


@given(st.binary(max_size=60), st.integers(0, 200))
def test_noise_in_a_line_is_never_another_request(noise: bytes, at: int) -> None:
    """Bytes that were put into a line make it bad, or change what they stand in: no line has two requests."""
    good = (line(more=AGENT) + "\n").encode()
    data = good[: at % len(good)] + noise.replace(b"\n", b" ") + good[at % len(good) :]
    try:
        read = AccessLog(combined=True).read(data)
    except (BadEntry, NoRequest):
        return
    assert re.fullmatch(r"[!-~]+", read.target)
    assert not {"\r", "\n"} & set("".join(read.headers.values()))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (line(request="GET http://other.example:8080/a?b=1#c HTTP/1.1"), "/a?b=1"),
        (line(request="GET http://other.example HTTP/1.1"), "/"),
        (line(request='GET /a\\"b HTTP/1.1'), "/a%22b"),
        (line(request="GET /a b HTTP/1.1"), "/a%20b"),
        (line(request="GET /caf\\xC3\\xA9 HTTP/2.0"), "/caf%C3%A9"),
        (line(request="GET /é HTTP/1.0", more=AGENT), "/%C3%A9"),
        (line(more=AGENT + ' "-" 0.123'), "/"),
        ("example.com:443 " + line(), "/"),
    ],
)
def test_targets_are_what_can_be_sent(text: str, target: str) -> None:
    """Hosts and fragments are left out, escapes undone, and what no request line may hold is encoded."""
    assert AccessLog(combined=False).read((text + "\n").encode()).target == target


def test_a_combined_line_has_its_headers() -> None:
    """Referer and user agent, with their escapes undone."""
    read = AccessLog(combined=True).read(line(more=AGENT).encode())
    assert read.headers == {"Referer": "http://a.example/", "User-Agent": 'Mozilla/5.0 ("x")'}


@pytest.mark.parametrize(
    "request_", ["-", "", "\\x16\\x03\\x01", "GET /", "CONNECT a:443 HTTP/1.1", "GET a HTTP/1.1"]
)
def test_a_line_without_a_request_is_no_bad_line(request_: str) -> None:
    """Connections that sent no HTTP are logged as well: such lines are left out, and counted apart."""
    with pytest.raises(NoRequest):
        AccessLog(combined=False).read(line(request=request_, status=400).encode())


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("GET / HTTP/1.1", 1),
        (line()[:-12], 1),
        (line().replace("Jan", "Jam"), 17),
        (line().replace("31/Jan", "31/Feb"), 17),
        (line().replace(" +0000", ""), 1),
    ],
)
def test_a_bad_line_is_told_where(text: str, column: int) -> None:
    """What is no line of a log, or has no time, is refused with its column."""
    with pytest.raises(BadEntry) as caught:
        AccessLog(combined=False).read(text.encode())
    assert caught.value.column == column


def test_lines_are_put_in_order_and_spread_over_their_second(tmp_path: Path) -> None:
    """A log knows seconds: the requests of one come evenly over it, in the order of their times."""
    seconds = [0, 2, 0, 1, 0, 2, 0]
    file = tmp_path / "access.log"
    file.write_text("".join(line(second, f"GET /{i} HTTP/1.1") + "\n" for i, second in enumerate(seconds)))
    recording = Recording(Wanted(str(file)))
    assert list(recording.offsets) == [0, 0.25, 0.5, 0.75, 1, 2, 2.5]
    assert [recording.request(i).target for i in range(7)] == ["/0", "/2", "/4", "/6", "/3", "/1", "/5"]
    assert [recording.line(i) for i in range(7)] == [1, 3, 5, 7, 4, 2, 6]
    assert [recording.request(i).target for i in (7, 8)] == ["/0", "/2"]
    assert recording.offset(7) == pytest.approx(2.5 + 2.5 / 6)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0.1, 100))
def test_recorded_times_are_kept_to_their_scale(times: list[float], speed: float) -> None:
    """Offsets begin at 0, go up, keep all gaps divided by the speed, and go on rising when it is repeated."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.jsonl"
        file.write_text("".join(json.dumps({"path": "/", "time": at + 0.5}) + "\n" for at in times))
        once = list(profile(file, speed=speed, at_end="stop").offsets())
        again = list(islice(profile(file, speed=speed).offsets(), 3 * len(times)))
        by_ordinal = [profile(file, speed=speed).offset(i) for i in range(3 * len(times))]
    assert once == again[: len(times)]
    assert again == by_ordinal == sorted(again)
    ordered = sorted(at + 0.5 for at in times)
    if any(at % 1 for at in ordered):  # whole seconds are spread over theirs
        assert once == pytest.approx([(at - ordered[0]) / speed for at in ordered], abs=1e-6)


def test_what_is_not_wanted_is_counted_by_why(tmp_path: Path) -> None:
    """Unsafe methods, other paths, lines without a request and bad lines are counted apart, and shown."""
    lines = [
        line(request="POST /a HTTP/1.1"), line(request="DELETE /a HTTP/1.1"), line(request="GET /a HTTP/1.1"),
        line(request="HEAD /b HTTP/1.1"), line(request="GET /a/skip HTTP/1.1"), line(request="-"), "", "nonsense",
        "# a comment", line(request="GET /static HTTP/1.1"),
    ]  # fmt: skip
    file = tmp_path / "access.log"
    file.write_text("\n".join(lines) + "\n")
    replayed = profile(
        file, paths="^/(a|b)", skip="skip", bad_lines="20%", operations={"item": "^/a", "any": "."}
    )
    recording = replayed.recording()
    counts = recording.counts
    assert (counts.lines, counts.requests, counts.bad, counts.no_request) == (8, 2, 1, 1)
    assert (counts.other_method, counts.other_path) == (2, 2)
    assert [(bad.line, bad.column) for bad in recording.bad] == [(8, 1)]
    assert [recording.operation(i) for i in range(2)] == ["item", "any"]
    assert replayed.flaws() == []
    (note,) = replayed.notes()
    for words in (
        "2 requests of 8 lines",
        "1 bad line (first: line 8)",
        "1 that are no",
        "2 of another method",
    ):
        assert words in note


def test_a_repeat_of_an_unsafe_request_is_asked_for(tmp_path: Path) -> None:
    """Only `only_safe: false` sends what changes things; its body and headers then come from the recording."""
    file = tmp_path / "requests.jsonl"
    file.write_text('{"method": "POST", "path": "/a", "json": {"a": [1]}, "status": 201}\n')
    assert not profile(file).recording().counts.requests
    read = profile(file, only_safe=False).recording().request(0)
    assert (read.method, read.body, read.status) == ("POST", b'{"a":[1]}', 201)
    assert read.headers == {"Content-Type": "application/json"}


ENTRY: dict[str, Any] = {
    "startedDateTime": "2026-01-31T12:00:00.250+01:00",
    "request": {
        "method": "POST",
        "url": "https://shop.example/a?b=é#c",
        "headers": [
            {"name": ":path", "value": "/a"},
            {"name": "Cookie", "value": "secret"},
            {"name": "Accept", "value": "*/*"},
            {"name": "X-Bad", "value": "a\r\nb"},
        ],
        "postData": {"mimeType": "text/plain", "text": "hé"},
    },
    "response": {"status": 201, "content": {"text": '{"log": {"entries": [1, 2]}}'}},
}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_archive_is_read_entry_by_entry(tmp_path: Path, indent: int | None, bom: bytes) -> None:
    """Also with other keys before its entries, keys of the same name inside, and a byte order mark."""
    later = {**ENTRY, "startedDateTime": "2026-01-31T11:00:01Z"}
    archive = {"log": {"version": "1.2", "creator": {"entries": []}, "entries": [later, ENTRY], "z": 1}}
    file = tmp_path / "a.har"
    file.write_bytes(bom + json.dumps(archive, indent=indent, ensure_ascii=False).encode())
    recording = Recording(Wanted(str(file), methods=None))
    assert (recording.format, list(recording.offsets)) == ("har", [0, 0.75])
    read = recording.request(0)
    assert (read.method, read.target, read.status, read.body) == ("POST", "/a?b=%C3%A9", 201, "hé".encode())
    assert read.headers == {"Cookie": "secret", "Accept": "*/*"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"log": {}}', '{"log": {"entries": {}}}', '{"log": {"entries": [{}', '{"log": 1}'],
)
def test_what_is_no_archive_is_refused_with_its_place(text: str) -> None:
    """It has no list of entries, or breaks off in it."""
    with pytest.raises(NotAnArchive) as caught:
        list(places(text.encode()))
    assert 0 <= caught.value.at <= len(text)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    ),
    st.integers(0, 4),
)
def test_places_are_those_of_the_entries(other: Any, indent: int) -> None:
    """What stands between two places of an archive is an entry, whatever the rest of the archive holds."""
    entries = [other, ENTRY, {"entries": other}]
    data = json.dumps({"x": other, "log": {"y": other, "entries": entries}}, indent=indent).encode()
    assert [json.loads(data[start:end]) for start, end in places(data)] == entries


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("[]", "object"),
        ("{}", "a path"),
        ('{"path": 1}', "a path"),
        ('{"path": "/", "time": "soon"}', "a time"),
        ('{"path": "/", "time": true}', "a time"),
        ('{"path": "/", "time": 1e400}', "a time"),
        ('{"path": "/", "headers": []}', "headers"),
        ('{"path": "/", "status": "200"}', "a status"),
        ('{"path": "/", "body": {}}', "a body"),
        ('{"path": "/"', "JSON"),
    ],
)
def test_a_bad_entry_says_what_was_expected(entry: str, said: str) -> None:
    """Of JSON lines, each mistake in its own words."""
    with pytest.raises(BadEntry, match=f"expected .*{said}"):
        JsonLines().read(entry.encode())


@pytest.mark.parametrize(
    ("head", "format_"),
    [
        (line() + "\n" + line() + "\n", "common"),
        (line(more=AGENT) + "\nbad\n" + line(more=AGENT) + "\n", "combined"),
        ('{"path": "/"}\n{"path": "/"}\n', "jsonl"),
        ('{"url": "http://a/b"}', "jsonl"),
        ('{"log": {"version": "1.2", "entries": [', "har"),
        ('{\n  "log": {', "har"),
        ("nonsense\n", "common"),
    ],
)
def test_formats_are_recognised(head: str, format_: str) -> None:
    """By how a file begins."""
    assert recognised(head.encode()) == format_


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "cannot be read"),
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"\x1f\x8b\x08", "compressed"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, data: bytes | None, said: str) -> None:
    """A file that is not there, empty, or compressed."""
    file = tmp_path / "a"
    if data is not None:
        file.write_bytes(data)
    (flaw,) = profile(file).flaws()
    assert said in flaw.message


def test_too_many_bad_lines_are_refused_at_their_places(tmp_path: Path) -> None:
    """A few bad lines of many do no harm; a larger share is refused, each of the first with its place."""
    file = tmp_path / "access.log"
    file.write_text("".join(("bad\n" if i % 50 == 0 else line() + "\n") for i in range(200)))
    assert profile(file, bad_lines="2%").flaws() == []
    flaws = profile(file).flaws()
    assert [flaw.at for flaw in flaws] == [(1, 1), (51, 1), (101, 1), (151, 1)]
    assert {flaw.file for flaw in flaws} == {str(file)}
    assert all("4 of 200 lines are bad" in flaw.hint for flaw in flaws)


def test_times_are_asked_for_only_where_they_are_needed(tmp_path: Path) -> None:
    """A recording without times is refused where they say when users come, and taken where a rate does."""
    file = tmp_path / "requests.jsonl"
    file.write_text('{"path": "/a", "time": 5}\n{"path": "/b"}\n')
    (flaw,) = profile(file).flaws()
    assert flaw.at == (2, 1)
    rated = profile(file, root={"arrivals": "5/s"})
    assert rated.flaws() == []
    assert [rated.recording().request(i).target for i in range(2)] == ["/a", "/b"]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """What was read is kept until the file is another one; a request that has gone meanwhile is told."""
    file = tmp_path / "access.log"
    file.write_text(line() + "\n")
    first = profile(file).recording()
    assert profile(file).recording() is first
    file.write_text("x" * 10)
    with pytest.raises(Unusable, match="has been changed"):
        first.request(0)
    assert profile(file).recording().counts.bad == 1


@pytest.mark.parametrize(
    ("recorded", "right", "wrong"),
    [
        (200, (200, 201, 204), (304, 404, 429, 500)),
        (304, (200, 304), (302, 404, 500)),
        (404, (404, 400, 410), (200, 429, 408, 500)),
        (429, (429, 400), (200, 503)),
        (500, (200, 302, 404), (429, 500, 503)),
        (499, (200, 404), (500,)),
        (0, (200, 404), (500,)),
    ],
)
def test_what_is_right_follows_from_what_was_recorded(
    recorded: int, right: tuple[int, ...], wrong: tuple[int, ...]
) -> None:
    """By default the class of the status counts, nothing excuses a server error, and load is told from it."""
    expected = expected_of(recorded, "class")
    assert expected >= set(right)
    assert not expected & set(wrong)
    assert expected_of(recorded, "any") == set(range(100, 600))
    assert expected_of(recorded, ("2xx", 404)) == {*range(200, 300), 404}
    if recorded:
        assert expected_of(recorded, "recorded") == {recorded}
