"""Logs of programs, whole, damaged, hostile and large: what was begun is never absent, and nothing raises."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.adapters.archive import Archive, Damaged
from loadtests.adapters.inspect import value_to_float
from loadtests.adapters.readers import READERS
from loadtests.adapters.sample import Ending, Sample, error_name, moment
from loadtests.options.command import LogFormat

Member = tuple[str, bytes]


def read(kind: LogFormat, *logs: Path, cut: bool = False) -> tuple[list[Sample], list[str]]:
    """The samples of some logs, and what is wrong with these."""
    ending = Ending(start=1000.0, cut=cut, exit_expected=True)
    return list(READERS[kind](logs, ending)), ending.problems


def archive(members: Sequence[Member], *, zstd: bool = True, directory: bool = True) -> bytes:
    """A zip archive, its members compressed by Zstandard as Inspect does, or deflated."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED if zstd else zipfile.ZIP_DEFLATED) as made:
        for name, data in members:
            made.writestr(name, pa.compress(data, codec="zstd", asbytes=True) if zstd else data)
    whole = bytearray(into.getvalue())
    with zipfile.ZipFile(io.BytesIO(whole)) as made:
        start = made.start_dir
        at = start
        for info, (_, data) in zip(made.infolist(), members, strict=True):
            if zstd:  # say what was done: the method, the sum and the size of what is inside
                about = zlib.crc32(data).to_bytes(4, "little")
                size = len(data).to_bytes(4, "little")
                whole[info.header_offset + 8 : info.header_offset + 10] = (93).to_bytes(2, "little")
                whole[info.header_offset + 14 : info.header_offset + 18] = about
                whole[info.header_offset + 22 : info.header_offset + 26] = size
                whole[at + 10 : at + 12] = (93).to_bytes(2, "little")
                whole[at + 16 : at + 20] = about
                whole[at + 24 : at + 28] = size
            at += 46 + len(info.filename.encode())
    return bytes(whole) if directory else bytes(whole[:start])


def about(items: int, epochs: int = 1, scorers: Sequence[str] = ("exact",)) -> bytes:
    """A log's header, or its start."""
    dataset = {"sample_ids": [f"i{n}" for n in range(items)]}
    named = [{"name": name} for name in scorers]
    return json.dumps(
        {"eval": {"task": "t", "dataset": dataset, "config": {"epochs": epochs}, "scorers": named}}
    ).encode()


def summary(item: int | str, value: Any = "C", epoch: int = 1, **more: Any) -> dict[str, Any]:
    """A sample as a summary tells it."""
    return {
        "id": f"i{item}" if isinstance(item, int) else item,
        "epoch": epoch,
        "scores": {"exact": {"value": value}},
        "started_at": "2026-11-21T18:45:53.500000+00:00",
        "completed_at": "2026-11-21T18:45:54.250000+00:00",
        **more,
    }


def dumped(*parts: Any) -> bytes:
    """A JSON array."""
    return json.dumps(parts).encode()


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes an `.eval` log of some members, and gives its path."""

    def write(*members: Member, name: str = "a.eval", **how: bool) -> Path:
        path = tmp_path / name
        path.write_bytes(archive(members, **how))
        return path

    return write


# --- Inspect --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zstd", [True, False])
@pytest.mark.parametrize("directory", [True, False])
def test_a_log_of_inspect_is_read(log: Callable[..., Path], zstd: bool, directory: bool) -> None:
    """Scores, errors, epochs and times; compressed in either way; with a directory or without."""
    path = log(
        ("_journal/start.json", about(3, epochs=2)),
        ("_journal/summaries/1.json", dumped(summary(0), summary(1, "I", retries=2))),
        ("_journal/summaries/2.json", dumped(summary(2, error="APIConnectionError('no')", scores=None))),
        ("samples/i0_epoch_2.json", json.dumps(summary(0, "P", 2)).encode()),
        zstd=zstd,
        directory=directory,
    )
    samples, problems = read("inspect", path, cut=True)
    found = {(s.item, s.epoch): (s.reward, s.error_type, s.attempt) for s in samples}
    assert found == {
        ("i0", 1): (1.0, None, 0),
        ("i1", 1): (0.0, None, 2),
        ("i2", 1): (None, "APIConnectionError", 0),
        ("i0", 2): (0.5, None, 0),
        ("i1", 2): (None, "unfinished", 0),
        ("i2", 2): (None, "unfinished", 0),
    }
    assert len(samples) == len(found)
    first = next(s for s in samples if (s.item, s.epoch) == ("i0", 1))
    assert first.start is not None
    assert first.end is not None
    assert first.end - first.start == pytest.approx(0.75)
    assert problems == []


def test_what_a_program_that_ended_by_itself_left_out_is_missing(log: Callable[..., Path]) -> None:
    """A sample that was to be run, and is nowhere, is a row with an error: it leaves no denominator."""
    samples, _ = read("inspect", log(("header.json", about(2)), ("summaries.json", dumped(summary(0)))))
    assert [(s.item, s.error_type) for s in samples] == [("i0", None), ("i1", "missing")]


def test_a_log_without_its_directory_is_told_of(log: Callable[..., Path]) -> None:
    """A program that ended by itself, and whose log is torn, has not told all."""
    path = log(("header.json", about(0)), ("summaries.json", dumped(summary(0))), directory=False)
    samples, problems = read("inspect", path)
    assert len(samples) == 1
    assert problems == ["a.eval: the archive has no directory: its writer was killed"]


def test_several_scorers_are_rows_of_their_own(log: Callable[..., Path]) -> None:
    """Each scorer, and each value of a score that has several; one without a usable score is unscored."""
    scores = {"a": {"value": "C"}, "b": {"value": {"x": 0.25, "y": True}}, "c": {"value": [1, 2]}}
    samples, _ = read(
        "inspect", log(("header.json", about(1)), ("summaries.json", dumped(summary(0, scores=scores))))
    )
    assert {s.operation: (s.reward, s.error_type) for s in samples} == {
        "a": (1.0, None),
        "b/x": (0.25, None),
        "b/y": (1.0, None),
        "c": (None, "unscored"),
    }


def test_an_errored_sample_is_a_row_for_each_scorer(log: Callable[..., Path]) -> None:
    """So that a scorer's denominator holds what it could not score."""
    members = ("header.json", about(1, scorers=["a", "b"])), ("summaries.json", dumped(summary(0, error="x")))
    samples, _ = read("inspect", log(*members))
    assert [(s.operation, s.reward, s.error_type) for s in samples] == [
        ("a", None, "sample_error"),
        ("b", None, "sample_error"),
    ]


def test_of_a_sample_that_was_run_again_the_last_run_holds(log: Callable[..., Path]) -> None:
    """As Inspect itself reads it."""
    batches = [(f"_journal/summaries/{n}.json", dumped(summary(0, v))) for n, v in ((9, "I"), (10, "C"))]
    samples, _ = read("inspect", log(("header.json", about(1)), *batches))
    assert [s.reward for s in samples] == [1.0]


def test_items_of_several_logs_bear_their_task_s_name(log: Callable[..., Path]) -> None:
    """Two tasks may use the same ids."""
    members = ("header.json", about(1)), ("summaries.json", dumped(summary(0)))
    samples, _ = read("inspect", log(*members), log(*members, name="b.eval"))
    assert [s.item for s in samples] == ["t:i0", "t:i0"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1.0),
        ("P", 0.5),
        ("I", 0.0),
        ("N", 0.0),
        ("Yes", 1.0),
        ("false", 0.0),
        ("0.75", 0.75),
        (True, 1.0),
        (3, 3.0),
        ("c", None),
        ("B", None),
        (float("nan"), None),
        ("inf", None),
        (10**400, None),
        (None, None),
        ([1], None),
    ],
)
def test_scores_are_numbers_as_inspect_has_them(value: Any, expected: float | None) -> None:
    """C, P, I, N, numbers and truth; what Inspect takes for 0 with a warning is no score here."""
    assert value_to_float(value) == expected


def test_a_member_that_claims_too_much_is_not_unpacked(log: Callable[..., Path]) -> None:
    """A small archive cannot fill the memory: what a member says of its size bounds what is unpacked."""
    path = log(("summaries.json", b" " * 5_000_000))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as made:
        at = made.start_dir
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    with Archive(path) as opened, pytest.raises(Damaged):
        opened.read(opened.members["summaries.json"])


def test_ten_thousand_samples_need_little_memory(log: Callable[..., Path]) -> None:
    """A long log is read in the small pieces that it was written in."""
    text = "x" * 1000
    batches = [
        (
            f"_journal/summaries/{n}.json",
            dumped(*[summary(n * 10 + i, metadata={"text": text}) for i in range(10)]),
        )
        for n in range(1000)
    ]
    path = log(("_journal/start.json", about(10_000)), *batches)
    ending = Ending(start=0.0, cut=False, exit_expected=True)
    tracemalloc.start()
    try:
        count = sum(sample.reward == 1.0 for sample in READERS["inspect"]([path], ending))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, ending.problems) == (10_000, [])
    assert peak < 16e6


whole = archive(
    [
        ("_journal/start.json", about(4)),
        ("_journal/summaries/1.json", dumped(*map(summary, range(4)))),
        ("samples/i3_epoch_1.json", json.dumps(summary(3)).encode()),
        ("header.json", about(4)),
    ]
)


@given(st.data())
def test_a_damaged_log_is_told_of_and_never_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever it is cut, or overwritten: what is read is what was written, and what is missing is a row."""
    path = tmp_path_factory.mktemp("damage") / "a.eval"
    start = data.draw(st.integers(0, len(whole)))
    junk = data.draw(st.binary(max_size=40))
    damaged = whole[:start] + junk + (whole[start + len(junk) :] if data.draw(st.booleans()) else b"")
    path.write_bytes(damaged)
    samples, problems = read("inspect", path)
    items = {s.item for s in samples}
    assert items <= {f"i{n}" for n in range(4)}
    assert len(items) == len(samples)
    assert all(s.reward == 1.0 or s.error_type for s in samples)
    assert len(items) == 4 or problems


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["id", "epoch", "scores", "error", "started_at", "completed_at", "retries", "error_retries"]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), json_values) | json_values, max_size=5), json_values)
def test_a_log_of_other_json_never_raises(
    tmp_path_factory: pytest.TempPathFactory, summaries: list[Any], header: Any
) -> None:
    """JSON of any other shape than expected is read for what it is."""
    path = tmp_path_factory.mktemp("shapes") / "a.eval"
    members = [("header.json", json.dumps({"eval": header}).encode()), ("summaries.json", dumped(*summaries))]
    path.write_bytes(archive(members))
    for sample in read("inspect", path)[0]:
        assert sample.item
        assert sample.epoch is not None


# --- verifiers ------------------------------------------------------------------------------------------------


def episode(item: str, score: Any = 1.0, *, ok: bool = True, **more: Any) -> dict[str, Any]:
    """A line of `traces.jsonl`."""
    trace = {
        "ok": ok,
        "errors": [] if ok else [{"type": "ProviderError", "message": "no"}],
        "rewards": {"exact": {"score": score, "weight": 2.0}} if ok else {},
        "timing": {"start": 10.0, "agent": {"start": 10.5, "end": 12.0}, "scoring": {"end": 13.0}},
        "calls": [{"error": {"type": "Timeout"}}, {"error": None}],
        **more,
    }
    return {"task": {"data": {"id": item}}, "ok": ok, "errors": [], "traces": [trace]}


def lines(*rows: Any) -> bytes:
    """Lines of JSON."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_traces_of_verifiers_are_read(tmp_path: Path) -> None:
    """Weighted rewards, errors by name, repeats by ordinal, times and model calls."""
    path = tmp_path / "traces.jsonl"
    nothing = {"task": {"data": {"idx": 7}}, "ok": False, "errors": [{"type": "EnvError"}], "traces": []}
    unscored = {**episode("c"), "traces": [{"ok": True, "rewards": {}}]}
    path.write_bytes(lines(episode("a"), episode("a", 0.0), episode("b", ok=False), nothing, unscored))
    samples, problems = read("verifiers", path)
    assert [(s.item, s.epoch, s.reward, s.error_type) for s in samples] == [
        ("a", 1, 2.0, None),
        ("a", 2, 0.0, None),
        ("b", 1, None, "ProviderError"),
        ("7", 1, None, "EnvError"),
        ("c", 1, None, "unscored"),
    ]
    assert (samples[0].start, samples[0].end) == (10.0, 13.0)
    assert [call.error_type for call in samples[0].calls] == ["Timeout", None]
    assert problems == []


@pytest.mark.parametrize("cut", [True, False])
def test_a_torn_last_line_is_what_a_cut_program_leaves(tmp_path: Path, cut: bool) -> None:
    """Of a program that was ended it is no surprise; of one that ended by itself it is damage, and told."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(lines(episode("a")) + lines(episode("b"))[:-20])
    samples, problems = read("verifiers", path, cut=cut)
    assert [s.item for s in samples] == ["a"]
    assert problems == ([] if cut else ["traces.jsonl: 1 lines are no episodes"])


@given(
    st.lists(json_values | st.builds(episode, st.text(max_size=3), json_values), max_size=5),
    st.binary(max_size=30),
)
def test_traces_of_any_shape_never_raise(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], junk: bytes
) -> None:
    """Lines that are JSON of another shape, or none at all, are read for what they are, and told of."""
    path = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    path.write_bytes(lines(*rows) + junk)
    samples, _ = read("verifiers", path)
    assert len(samples) >= sum(isinstance(row, dict) for row in rows)
    assert all(s.item and (s.reward is not None or s.error_type) for s in samples)


# --- JUnit, exit code, and what they share --------------------------------------------------------------------


def test_junit_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """A report that breaks off keeps the tests that it had told of, and the damage is told."""
    path = tmp_path / "r.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="c" name="a" time="1.5"/>'
        '<testcase name="b" time="1,000"><failure/><error/></testcase><testcase name="c"><fail'
    )
    samples, problems = read("junit", path)
    assert [(s.item, s.start, s.end, s.reward, s.error_type) for s in samples] == [
        ("c::a", 1000.0, 1001.5, 1.0, None),
        ("b", 1001.5, 2001.5, None, "test_error"),
    ]
    assert len(problems) == 1


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    """Entities, which could expand to gigabytes, cannot be defined."""
    path = tmp_path / "r.xml"
    path.write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuite><testcase name="&a;"/></testsuite>')
    assert read("junit", path) == ([], ["r.xml: not JUnit's XML: a document type is not read"])


@given(st.binary(max_size=200) | st.text(alphabet="<>/testcase name=\"'ab", max_size=200).map(str.encode))
def test_junit_of_any_bytes_never_raises(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever is in the file, it is read or told of."""
    path = tmp_path_factory.mktemp("junit") / "r.xml"
    path.write_bytes(data)
    samples, problems = read("junit", path)
    assert problems or samples or data.startswith((b"<", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"))


@pytest.mark.parametrize(("cut", "reward", "error_type"), [(False, 1.0, None), (True, None, "unfinished")])
def test_an_exit_code_is_one_sample(cut: bool, reward: float | None, error_type: str | None) -> None:
    """Right where it is an expected one; unfinished where the program was ended."""
    (sample,), _ = read("exit-code", cut=cut)
    assert (sample.reward, sample.error_type) == (reward, error_type)


def test_error_types_are_bounded_in_number() -> None:
    """What a log says of an error becomes a name of an exception, or one word for all others."""
    assert error_name("ReadTimeout: too late") == "ReadTimeout"
    assert error_name("RateLimitError(429)") == "RateLimitError"
    assert error_name("Item 17 has failed at 12:01") == "sample_error"
    assert error_name(None) == "sample_error"


@given(st.text() | st.datetimes().map(str) | st.none() | st.floats())
def test_moments_never_raise(value: Any) -> None:
    """What is no time is none."""
    assert moment(value) is None or isinstance(moment(value), float)
