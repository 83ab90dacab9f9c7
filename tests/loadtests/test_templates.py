"""Templates, JSON pointers and patterns: what they mean, and that no value breaks what it is put into."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import patterns, pointers, templates

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(codec="utf-8"))


@given(st.text())
def test_an_escaped_text_stands_for_itself(text: str) -> None:
    """Whatever a text holds, its escaped form is a template without names that gives the text back."""
    template = templates.parse(templates.escaped(text))
    assert template.names == ()
    assert template.text({}) == text


@given(st.text())
def test_no_text_is_more_than_refused(text: str) -> None:
    """A text is a template, or BadTemplate says what it lacks."""
    try:
        template = templates.parse(text)
    except templates.BadTemplate as error:
        assert "${" in str(error)
    else:
        assert all(str(name) in text for name in template.names)


@given(TEXT, TEXT, JSON)
def test_a_value_in_a_path_is_one_piece(before: str, after: str, value: object) -> None:
    """What is put into a path is percent-encoded: nothing of it is a slash, a query, or a line's end."""
    literal = templates.escaped(before + "{")[:-1]  # a `$` at its end stands before a brace, too
    template = templates.parse(literal + "${v}" + templates.escaped(after))
    path = template.path({"v": value}) if _writable(value) else ""
    if path:
        inner = path[len(before) : len(path) - len(after)]
        assert unquote(inner) == templates.text_of(value)
        assert not re.search(r"[^A-Za-z0-9_.~%-]", inner)


def _writable(value: object) -> bool:
    try:
        templates.text_of(value).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.text())
def test_a_header_stays_on_its_line(value: str) -> None:
    """A header takes a value whole, or refuses it: it never gets a second line, and loses no character."""
    try:
        header = templates.parse("a ${v}").header({"v": value})
    except templates.Unsendable:
        assert re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value) or any(ord(c) > 255 for c in value)
    else:
        assert header == f"a {value}"
        assert not {"\r", "\n", "\0"} & set(header)


@given(JSON, JSON)
def test_json_stays_json(shape: Any, value: Any) -> None:
    """A name alone in a string becomes the value, of its own type, wherever in a body it stands."""
    body = {"literal": _escaped(shape), "whole": "${v}", "list": [1, "${v}"], "text": "<${v}>"}
    made = json.loads(templates.json_template(body).dumped({"v": value}))
    assert made["literal"] == shape
    assert made["whole"] == value == made["list"][1]
    assert type(made["whole"]) is type(value)
    assert made["text"] == f"<{templates.text_of(value)}>"


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return templates.escaped(value)
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list) else value


def test_names_reach_into_values() -> None:
    """Keys of objects and indexes of lists; what is not there has no value, and says so."""
    values = {"user": {"tags": ["a", {"id": 5}], "a-b": 1}}
    for text, value in (("${user.tags.1.id}", "5"), ("${user.a-b}", "1"), ("${user.tags.0}", "a")):
        assert templates.parse(text).text(values) == value
    for text in ("${nobody}", "${user.tags.2}", "${user.tags.x}", "${user.tags.1.id.x}"):
        with pytest.raises(templates.Missing):
            templates.parse(text).text(values)


@pytest.mark.parametrize("text", ["${", "a ${b", "${}", "${1a}", "${a b}", "${a..b}", "${a.}", "$ ${ a}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    """A `${` that is not closed, or holds no name, is a mistake and not a text."""
    with pytest.raises(templates.BadTemplate):
        templates.parse(text)


def test_a_dollar_alone_is_itself() -> None:
    """Only before a brace it means something, and doubled it is literal there, too."""
    assert templates.parse("$5 $$ $x }{ $").text({}) == "$5 $$ $x }{ $"
    assert templates.parse("$${a} $$${a} $$$${a}").text({"a": 1}) == "${a} $1 $${a}"


@given(JSON, st.data())
def test_a_pointer_finds_what_it_was_made_for(document: Any, data: st.DataObject) -> None:
    """The pointer written from the keys on the way to any part of a value leads there (RFC 6901)."""
    keys: list[str] = []
    found = document
    while isinstance(found, dict | list) and found and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(found) if isinstance(found, dict) else range(len(found))))
        keys.append(str(key))
        found = found[key]
    pointer = pointers.parse(pointers.written(tuple(keys)))
    assert pointer.keys == tuple(keys)
    assert pointer.resolve(document) is found or pointer.resolve(document) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ...), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
        ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8), ("/o~01", 9),
    ],
)  # fmt: skip
def test_the_examples_of_the_standard_hold(text: str, value: object) -> None:
    """RFC 6901, section 5, and its order of unescaping."""
    document = {
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7,
        "m~n": 8, "o~1": 9,
    }  # fmt: skip
    assert pointers.parse(text).resolve(document) == (document if value is ... else value)


@pytest.mark.parametrize("text", ["/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/bar", "/none", "/foo/0/0"])
def test_a_pointer_to_nothing_says_so(text: str) -> None:
    """Leading zeros, signs and `-` are no indexes of what is there."""
    with pytest.raises(pointers.Nothing):
        pointers.parse(text).resolve({"foo": ["bar", "baz"]})


@pytest.mark.parametrize("text", ["a", "a/b", "/~", "/a~2", "/~x", "#/a"])
def test_what_is_no_pointer_is_refused(text: str) -> None:
    """A pointer begins with a slash, and each ~ in it is ~0 or ~1."""
    with pytest.raises(pointers.BadPointer):
        pointers.parse(text)


@given(
    st.text(), st.sampled_from(["[a-c]+", "(b|c)x?", "^a*$", r"\d{2,3}", "(?:a(b))", "[]x]", "x(?P<n>y)?z"])
)
def test_patterns_find_what_re_finds(text: str, pattern: str) -> None:
    """On patterns that mean the same to both, a match and its first group are those that Python finds."""
    made, found = patterns.parse(pattern), re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
    assert made.found(text) == (found is not None) == made.among([text])[0]
    if found is None:
        assert made.taken(text) is None
    else:
        wanted = found[1] if found.re.groups else found[0]
        assert made.taken(text) == (wanted or "")


@pytest.mark.parametrize(
    ("pattern", "text", "taken"),
    [
        (r"id=(\d+)", "a id=42;", "42"),
        (r"\(a\)", "(a)", "(a)"),
        (r"[(]([)])", "()", ")"),
        (r"[^]](b)", "ab", "b"),
        (r"[[:alpha:](](x)", "(x", "x"),
        (r"\Q(\E(.)", "(é", "é"),
        (r"(?i)TOKEN: (\w+)", "token: abc", "abc"),
        (r"(?P<whole>a)(b)", "ab", "a"),
        (r"no group", "there is no group here", "no group"),
    ],
)
def test_the_first_group_is_taken(pattern: str, text: str, taken: str) -> None:
    """Groups are told from parentheses in classes, escapes and quotations."""
    assert patterns.parse(pattern).taken(text) == taken


@pytest.mark.parametrize("text", ["(", "a(?=b)", r"(a)\1", "[a", "a{1000}{1000}", "*a"])
def test_what_re2_does_not_know_is_refused(text: str) -> None:
    """Look-around and back-references, which take no bounded time, and what is no pattern at all."""
    with pytest.raises(patterns.BadPattern, match="RE2"):
        patterns.parse(text)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a+)+$", "(.*)(.*)(.*)(.*)(.*)x"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    """Patterns that backtracking takes longer than the universe for end at once on 100 kB."""
    assert not patterns.parse(pattern).found("a" * 100_000 + "!")
