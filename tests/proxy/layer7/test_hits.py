"""The record of what was struck: read by number, bounded, and nothing missed unsaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.layer7.hits import KEPT, PAGE, Hit, Hits


def hit(number: int) -> Hit:
    return Hit(number, 0.0, "t", "http_reply", "downstream", "GET /", f"id{number}", 0, 0, 1)


@given(st.lists(st.integers(0, 7_000), max_size=6))
def test_a_reader_misses_nothing_that_is_kept(batches: list[int]) -> None:
    """Page by page, whenever it comes: each once, in order."""
    hits, read = Hits(), 0
    seen: list[int] = []
    for size in batches:
        for _ in range(size):
            hits.add(hit(hits.next_number()))
        while True:
            page, missed = hits.after(read)
            assert missed == 0 and len(page) <= PAGE
            if not page:
                break
            seen += [each.number for each in page]
            read = seen[-1]
    assert seen == list(range(1, sum(batches) + 1))


def test_the_oldest_go_and_that_is_told() -> None:
    """How many were missed, to the one; and a number beyond the last is no error."""
    hits = Hits()
    for _ in range(KEPT + 10):
        hits.add(hit(hits.next_number()))
    page, missed = hits.after(0)
    assert (page[0].number, missed) == (11, 10)
    page, missed = hits.after(5)
    assert (page[0].number, missed) == (11, 5)
    assert hits.after(10)[1] == 0
    assert hits.after(KEPT + 10) == ([], 0)
    assert hits.after(10**15) == ([], 0)


def test_what_is_empty_is_left_out() -> None:
    """Of the API's entries, except what names the toxic."""
    shown = hit(1).as_dict()
    assert "applied" not in shown and "trace" not in shown
    assert shown["toxic"] == "t" and shown["attempt"] == 0 and shown["bytes"] == 0
