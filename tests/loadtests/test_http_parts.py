"""The parts of a plain HTTP user: cookies, packed bodies, redirects, checks, and requests as bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.checks import Reply, extracted, failure, same
from loadtests.options.check import Check, Extraction
from loadtests.options.http import HttpProfile, HttpStep
from loadtests.users import following, wire
from loadtests.users.connect import Address, Broken
from loadtests.users.decoding import decoded
from loadtests.users.jar import MOST, Jar
from loadtests.users.prepared import Prepared

HERE = Address("127.0.0.1", 8000, False)


def _jar(*lines: str, path: str = "/a/b", tls: bool = False) -> Jar:
    jar = Jar(tls=tls)
    jar.take(lines, path)
    return jar


@pytest.mark.parametrize(
    ("lines", "path", "header"),
    [
        (["a=1"], "/a/x", "a=1"),
        (["a=1"], "/other", ""),
        (["a=1; Path=/"], "/other?q=1", "a=1"),
        (["a=1; Path=/a"], "/ab", ""),
        (["a=1; path=/a; HttpOnly; SameSite=Lax"], "/a", "a=1"),
        (["a=1; Path=/", "a=2; Path=/a/b"], "/a/b/c", "a=2; a=1"),
        (["a=1", "a=2"], "/a/x", "a=2"),
        (["a=1", "a=; Max-Age=0"], "/a/x", ""),
        (["a=1", "a=; Max-Age=-1"], "/a/x", ""),
        (["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "/a/x", ""),
        (["a=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "/a/x", "a=1"),
        (["a=1; Expires=never; Max-Age=soon"], "/a/x", "a=1"),
        (["a=1; Secure"], "/a/x", ""),
        (['a="x y"'], "/a/x", 'a="x y"'),
        (["a", "=1", "", "b\x00=1"], "/a/x", ""),
    ],
)
def test_cookies_are_told_again_where_they_belong(lines: list[str], path: str, header: str) -> None:
    """By path, until they are taken back (RFC 6265)."""
    assert _jar(*lines).header(path) == header


def test_a_secure_cookie_goes_over_tls() -> None:
    """And over nothing else."""
    assert _jar("a=1; Secure", tls=True).header("/a/x") == "a=1"


@given(st.lists(st.text(st.characters(max_codepoint=255))))
def test_no_cookie_breaks_a_header(lines: list[str]) -> None:
    """Whatever a service sets, what is told again is one line, and not without bound."""
    jar = _jar(*lines, *(f"n{i}=x; Path=/" for i in range(2 * MOST)))
    header = jar.header("/a/b")
    assert not {"\r", "\n", "\0"} & set(header)
    assert header.count(";") < MOST


@given(st.binary(max_size=2000))
def test_packed_bodies_are_unpacked(body: bytes) -> None:
    """gzip, also in several members, and deflate, with and without zlib's wrapping."""
    raw = zlib.compressobj(wbits=-15)
    bare = raw.compress(body) + raw.flush()
    assert decoded(gzip.compress(body), "gzip") == body
    assert decoded(gzip.compress(body) + gzip.compress(body), "x-gzip") == body * 2
    assert decoded(zlib.compress(body), "deflate") == body
    assert decoded(bare, "Deflate") == body
    assert decoded(gzip.compress(zlib.compress(body)), "deflate, gzip") == body
    assert decoded(body, "identity") == body


@given(st.binary(min_size=1, max_size=200), st.integers(0, 400), st.sampled_from(["gzip", "deflate"]))
def test_what_cannot_be_unpacked_is_a_protocol_error(body: bytes, at: int, encoding: str) -> None:
    """Noise and cut bodies are told from whole ones: nothing is unpacked by half."""
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    cut = packed[: 1 + at % (len(packed) - 1)]
    with pytest.raises(Broken, match="protocol_error"):
        decoded(cut, encoding)
    try:
        assert isinstance(decoded(body, encoding), bytes)
    except Broken as broken:
        assert broken.error_type == "protocol_error"


def test_a_body_that_unpacks_without_bound_is_refused() -> None:
    """Ten megabytes of zeros packed a thousand times smaller, ten times over."""
    bomb = gzip.compress(b"\0" * (10 << 20))
    assert len(bomb) * 10 < wire.MOST_BYTES // 100
    with pytest.raises(Broken, match="unpacks to more"):
        decoded(bomb * 10, "gzip")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_an_unknown_encoding_is_told(encoding: str) -> None:
    """What nobody asked for cannot be read, and is not taken for the body."""
    with pytest.raises(Broken, match="unknown here"):
        decoded(b"x", encoding)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/x", "/x"),
        ("x?a=1#f", "/a/x?a=1"),
        ("../x", "/x"),
        ("?q", "/a/b?q"),
        ("http://127.0.0.1:8000/x", "/x"),
        ("http://127.0.0.1:8000", "/"),
        ("//127.0.0.1:8000/x", "/x"),
        ("https://127.0.0.1:8000/x", None),
        ("http://127.0.0.1:8001/x", None),
        ("http://127.0.0.1/x", None),
        ("//evil.example/x", None),
        ("http://127.0.0.1:8000@evil.example/", None),
        ("http://[::1/", None),
        ("http://127.0.0.1:99999/", None),
        ("javascript:alert(1)", None),
        ("/é", None),
        ("/a b", None),
        ("/a\r\nX-B: c", "/aX-B:c"),
    ],
)
def test_redirects_stay_within_the_service(location: str, path: str | None) -> None:
    """Relative or absolute, but to the same scheme, host and port, and never with a line's end in it."""
    found = following.target(HERE, "/a/b?c=d", location)
    if path == "/aX-B:c":  # what is left of it may be refused as well
        assert found is None or not {"\r", "\n", " "} & set(found)
    else:
        assert found == path


@pytest.mark.parametrize(
    ("status", "asked", "then"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "HEAD", "HEAD"),
        (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT"), (301, "PUT", "PUT"), (302, "HEAD", "HEAD"),
    ],
)  # fmt: skip
def test_methods_change_as_browsers_change_them(status: int, asked: str, then: str) -> None:
    """WHATWG Fetch, section 4.4."""
    assert following.method(status, asked) == then


def _step(**options: Any) -> HttpStep:
    return HttpStep.model_validate({"name": "a", "path": "/", **options})


def test_a_redirected_post_loses_its_body_and_what_describes_it() -> None:
    """The request that a 303 leads to has no body, and no Content-Type; what a 307 leads to has both."""
    prepared = Prepared(0, _step(method="POST", json={"a": 1}, headers={"X-A": "1"}), HERE)
    assert prepared.compiled is not None
    got = prepared.compiled.redirected(HERE, 303, "/b")
    assert got.head.startswith(b"GET /b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"X-A: 1" in got.head
    assert b"Content-" not in got.head
    assert got.body == b""
    kept = prepared.compiled.redirected(HERE, 307, "/b")
    assert kept.head.startswith(b"POST /b HTTP/1.1")
    assert b"Content-Type: application/json\r\n" in kept.head
    assert kept.body == b'{"a":1}'


def test_what_is_always_the_same_is_made_into_bytes_once() -> None:
    """A request without templates is compiled, also where a check has one; own headers go before ours."""
    prepared = Prepared(
        0, _step(headers={"accept": "text/html"}, checks=[{"pointer": "", "equals": "${a}"}]), HERE
    )
    assert prepared.compiled is prepared.request({"a": 1})
    assert prepared.compiled is not None
    assert prepared.compiled.head.endswith(b"\r\n")
    assert prepared.compiled.head.lower().count(b"accept:") == 1
    assert not prepared.plain
    assert Prepared(0, _step(path="/${arrival}"), HERE).compiled is None
    assert Prepared(0, _step(expect_status="2xx"), HERE).expected == set(range(200, 300))


REPLY = Reply(
    {"content-type": "text/plain", "x-n": "5"},
    b'{"a": {"b": [1, "two", null, true, 1.0]}, "n": 5, "long": "' + b"x" * 5000 + b'"}',
)


@pytest.mark.parametrize(
    "check",
    [
        {"header": "Content-Type"},
        {"header": "X-N", "equals": 5},
        {"header": "content-type", "matches": "^text/"},
        {"header": "X-None", "exists": False},
        {"pointer": "/a/b/0", "equals": 1.0},
        {"pointer": "/a/b/1", "equals": "two", "matches": "^t"},
        {"pointer": "/a/b/2", "equals": None},
        {"pointer": "/a/b/4", "equals": 1, "min": 1, "max": 1},
        {"pointer": "/a", "equals": {"b": [1, "two", None, True, 1]}},
        {"pointer": "/n", "equals": "${five}"},
        {"pointer": "/a/c", "exists": False},
        {"body": '"n": ?5'},
        {"latency": "2s"},
    ],
)
def test_checks_that_hold(check: dict[str, Any]) -> None:
    """Each kind of check, on what it allows."""
    assert failure(Check.model_validate(check), REPLY, {"five": 5}, 1.0) is None


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"header": "X-None"}, "header X-None: it is not there"),
        ({"header": "X-N", "equals": "6"}, "header X-N: expected 6, got 5"),
        ({"header": "X-N", "matches": "^6"}, "header X-N: expected a match of ^6, got 5"),
        ({"header": "X-N", "exists": False}, "header X-N: expected none, got 5"),
        ({"pointer": "/a/c"}, "pointer /a/c: there is no 'c'"),
        ({"pointer": "/a/b/3", "equals": 1}, "pointer /a/b/3: expected 1, got true"),
        ({"pointer": "/a/b/0", "equals": "1"}, 'pointer /a/b/0: expected "1", got 1'),
        ({"pointer": "/a/b/3", "min": 0}, "pointer /a/b/3: expected a number, got true"),
        ({"pointer": "/n", "min": 6}, "pointer /n: expected at least 6, got 5"),
        ({"pointer": "/n", "max": 4.5}, "pointer /n: expected at most 4.5, got 5"),
        ({"pointer": "/n", "matches": "5"}, "pointer /n: expected text, got 5"),
        ({"pointer": "/n", "exists": False}, "pointer /n: expected nothing, got 5"),
        ({"pointer": "/a", "equals": {}}, 'pointer /a: expected {}, got {"b": [1,'),
        ({"body": "^x"}, 'body: expected a match of ^x, got {"a"'),
        ({"latency": "500ms"}, "latency: expected at most 500 ms, got 1000 ms"),
    ],
)
def test_checks_that_fail_say_why(check: dict[str, Any], said: str) -> None:
    """What was looked at, what was expected, what was found; a long reply is cut."""
    why = failure(Check.model_validate(check), REPLY, {}, 1.0)
    assert why is not None
    assert why.startswith(said)
    assert len(why) < 200


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": NaN}', b'{"a": 1} {}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_holds_nothing(body: bytes) -> None:
    """Not even that something is not there."""
    reply = Reply({}, body)
    for check in ({"pointer": "/a", "exists": False}, {"pointer": "", "exists": True}):
        why = failure(Check.model_validate(check), reply, {}, 0.0)
        assert why is not None
        assert "no JSON" in why
    with pytest.raises(LookupError, match="no JSON"):
        extracted(Extraction.model_validate({"pointer": ""}), reply)


def test_extractions_take_what_is_there() -> None:
    """A place in the JSON with its type, a header, a regex's first group; else a LookupError says what not."""
    for source, value in (
        ({"pointer": "/a/b"}, [1, "two", None, True, 1.0]),
        ({"header": "x-N"}, "5"),
        ({"regex": r'"n": (\d)'}, "5"),
    ):
        assert extracted(Extraction.model_validate(source), REPLY) == value
    for source in ({"pointer": "/z"}, {"header": "z"}, {"regex": "zzz"}):
        with pytest.raises(LookupError):
            extracted(Extraction.model_validate(source), REPLY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, JSON)
def test_sameness_is_that_of_json(left: Any, right: Any) -> None:
    """Two values are the same exactly when their canonical texts are."""

    texts = [json.dumps(value, sort_keys=True) for value in (left, right)]
    assert same(left, right) == (texts[0] == texts[1])
    assert same(left, left)


def test_a_profile_is_the_same_after_its_way_through_a_plan() -> None:
    """`equals: null` stays what it is, and no `equals` stays none."""
    steps = [
        {
            "name": "a",
            "path": "/",
            "json": {"a": None},
            "checks": [{"pointer": "/a", "equals": None}, {"pointer": "/b"}],
        }
    ]
    spec = {
        "user": "http",
        "service": "s",
        "arrivals": "1/s",
        "with": {"steps": steps, "vars": {"a": None, "b": 1}},
    }
    profile = HttpProfile.model_validate(spec)
    again = HttpProfile.model_validate_json(profile.model_dump_json(by_alias=True))
    assert again == profile
    first, second = again.with_.steps[0].checks
    reply = Reply({}, b'{"a": 1, "b": 1}')
    assert failure(first, reply, {}, 0.0) is not None
    assert failure(second, reply, {}, 0.0) is None
