"""Reading text: what YAML means, where it stands, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.documents import source as source_module
from chaos.documents.source import parse_bytes, parse_text, read_source
from chaos.documents.tree import Mapping, Place, descend, key_place, plain, planted
from chaos.documents.written import written

NINE = ",".join(["*{0}"] * 9)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{NINE.format(chr(97 + i))}]\n" for i in range(9)
)


def only_problem(text: str | bytes) -> str:
    source = parse_bytes(text, "x.yaml") if isinstance(text, bytes) else parse_text(text, "x.yaml")
    assert len(source.problems) == 1, [str(p) for p in source.problems]
    return str(source.problems[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-11-21", "2026-11-21"),
        ("250ms", "250ms"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """`on`, `yes`, dates and base-60 numbers stay text; octal is 0o17."""
    source = parse_text(f"a: {text}\n", "x.yaml")
    assert not source.problems
    assert plain(source.documents[0]) == {"a": value}


def test_every_key_and_value_knows_its_place() -> None:
    """Line and column, from 1, of keys, values, items, and of what an alias stands for."""
    source = parse_text("a:\n  b: &x [1, two]\nc: *x\n", "x.yaml")
    tree = source.documents[0]
    assert descend(tree, ("a", "b", 1)) == (descend(tree, ("a", "b", 1))[0], Place("x.yaml", 2, 13))
    assert key_place(tree, ("c",)) == Place("x.yaml", 3, 1)
    assert descend(tree, ("c", 0))[1] == Place("x.yaml", 2, 10)


def test_a_value_that_is_left_out_is_at_its_key() -> None:
    """`target:` with nothing behind it is shown at `target`, not at the next line."""
    tree = parse_text("a: 1\ntarget:\nb: 2\n", "x.yaml").documents[0]
    assert descend(tree, ("target",))[1] == Place("x.yaml", 2, 1)


def test_several_documents_may_share_a_file() -> None:
    """`---` separates documents; an empty one between them is nothing."""
    source = parse_text("---\na: 1\n---\n---\nb: 2\n...\n", "x.yaml")
    assert [plain(tree) for tree in source.documents] == [{"a": 1}, {"b": 2}]


def test_a_byte_order_mark_is_no_text() -> None:
    """Files that Windows editors saved as UTF-8 are read."""
    assert plain(parse_bytes(b"\xef\xbb\xbfa: 1\n", "x.yaml").documents[0]) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.yaml:1:1: expected a document, got an empty file"),
        ("# a comment\n", "x.yaml:1:1: expected a document, got an empty file"),
        ("a: !!python/object/apply:os.system [id]", "x.yaml:1:4: a: tags are refused, got !!python/object/"),
        ("a: !x 1", "x.yaml:1:4: a: tags are refused, got !x"),
        ("a: ! x", "x.yaml:1:4: a: tags are refused, got !"),
        ("a: !!str 1", "x.yaml:1:4: a: tags are refused, got !!str"),
        ("a: 1\nb: {c: 2, c: 3}", "x.yaml:2:11: b: c is written twice, first in line 2"),
        ("a:\n  <<: {b: 1}", "x.yaml:2:3: a: merge keys (<<) are not part of YAML 1.2"),
        ("a: 1\n2: 3", "x.yaml:2:1: expected a name as the key, got 2\n  hint: put it in quotes"),
        ("? [a]\n: 1", "x.yaml:1:3: expected a name as the key, got a list or mapping"),
        ("a: " + "9" * 19, "x.yaml:1:4: a: expected a number, got an integer of 19 digits"),
        ("a: " + "9" * 5000, "x.yaml:1:4: a: expected a number, got an integer of 5000 digits"),
        ("a: 0x" + "f" * 400, "x.yaml:1:4: a: expected a number, got an integer of 400 digits"),
        ("a: *b", "x.yaml:1:4: a: *b refers to an anchor that is not there"),
        ("a: &a [*a]", "x.yaml:1:8: a[0]: *a refers to the value that it is part of"),
        ("[" * 5000, "x.yaml:1:65:"),
        ("- " * 5000, "x.yaml:1:129:"),
        ("".join(f"{' ' * i}a:\n" for i in range(200)), "x.yaml:65:65:"),
        (BOMB, "x.yaml:5:8: e[0]: aliases expand to more than 10000 values"),
        ("a: \x00", "x.yaml:1:4: expected text, got the control character U+0000"),
        ("a: \x1b[31m", "x.yaml:1:4: expected text, got the control character U+001B"),
        ('a: "\\0"', "x.yaml:1:4: a: expected text, got the control character U+0000"),
        ("a:\n\t- b", "x.yaml:2:1: not valid YAML: it is indented with a tab"),
        ("a: @b", "x.yaml:1:4: not valid YAML: a value cannot begin with @"),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed"),
        ("a: [1, 2\n", "x.yaml:2:1: not valid YAML: did not find expected ',' or ']'"),
        (b"a: \xff", "x.yaml:1:4: expected UTF-8, got the byte 0xff"),
        ("a: 1\n".encode("utf-16"), "x.yaml:1:1: expected UTF-8, got the byte 0xff"),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text: str | bytes, said: str) -> None:
    """Each thing that YAML can do and documents may not is one problem, with its place."""
    assert only_problem(text).startswith(said)


def test_all_that_can_be_read_is_checked_at_once() -> None:
    """A duplicate key, a tag and a long number in one file are three problems, not one."""
    source = parse_text("a: 1\na: !x 2\nb: " + "1" * 30 + "\n", "x.yaml")
    assert len(source.problems) == 3


def test_depth_counts_through_aliases() -> None:
    """Sixty-four levels are the limit also when they are chained by aliases."""
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 80))
    assert "at most 64 levels" in only_problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "k: v\n" * 150_000,
        "".join(f"k{i}: v\n" for i in range(100_000)),
        "- *a\n" * 150_000,
        "- &a x\n" * 120_000,
        "[" + "a," * 500_000,
        "a: " + "1" * 1_000_000,
        "a: 1." + "1" * 1_000_000,
        "'" + "''" * 520_000 + "'",
        "!" * 1_000_000,
        "--- \n" * 200_000,
        "{" * 1_000_000,
        "? " * 500_000,
        "a: |\n" + " \n" * 500_000,
        "1" + "s1" * 500_000,
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(240)
def test_no_text_of_a_mebibyte_takes_long(text: str) -> None:
    """Whatever fills the largest file that is read, an answer comes: one by the square of it would take hours."""
    parse_bytes(text.encode()[: 2**20], "x.yaml")


def test_large_files_are_not_even_read(tmp_path: Path) -> None:
    """10 MB are refused by their size, which is said."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: 1\n" * 2_000_000)
    assert "expected a file of at most 1 MiB, got 9.5 MiB" in str(read_source(path).problems[0])


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    """Folders, pipes (without waiting for a writer), and files that are not there or not readable."""
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "got a device or a pipe" in str(read_source(tmp_path / "pipe.yaml").problems[0])
    assert "got a folder" in str(read_source(tmp_path).problems[0])
    assert "no such file" in str(read_source(tmp_path / "none.yaml").problems[0])
    assert read_source(tmp_path / ("n" * 5000)).problems


def test_without_the_c_parser_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML without libyaml gives the same tree and the same refusals."""
    monkeypatch.setattr(source_module, "_Loader", yaml.SafeLoader)
    assert plain(parse_text("a: [on, 0o17]\n", "x.yaml").documents[0]) == {"a": ["on", 15]}
    assert only_problem("[" * 5000).startswith("x.yaml:1:65:")
    assert "cannot begin with @" in only_problem("a: @b")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    """Whatever a file holds, reading it gives documents or problems, never an exception."""
    source = parse_bytes(data, "x.yaml")
    assert source.documents or source.problems


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>?'\"#,%@ \n\t0<.~", max_size=80))
def test_no_yaml_raises(text: str) -> None:
    """Nor does any mixture of YAML's own characters."""
    source = parse_text(text, "x.yaml")
    assert source.documents or source.problems


_LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\ufeff")
_TEXT = st.text(_LETTERS, max_size=20)
_KEYS = _TEXT.filter(lambda key: key != "<<")
_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False)
    | _TEXT
    | st.sampled_from(["on", "1e3", "0o7", "null", "~", "", "1_0", "12:30", "a\nb", "a: b", " x", "<<x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), _DATA, min_size=1))
def test_what_is_written_reads_the_same(data: dict[str, object]) -> None:
    """A tree that is written out as YAML is read back as the same data."""
    source = parse_text(written([planted(data, Place("x"))]), "x.yaml")
    assert not source.problems
    assert isinstance(source.documents[0], Mapping)
    assert plain(source.documents[0]) == data
