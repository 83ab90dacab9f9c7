"""How new a reply has to be: as what was told before its request was sent, and no newer."""

from __future__ import annotations

from loadtests.users.found import Found, Known


def _found(index: int, **versions: int) -> Found:
    return Found(tuple(versions), dict(versions), index)


def test_a_reply_shows_what_was_told_before_it_was_asked_for() -> None:
    """Index and documents alike; what is not told of it, or newer, is not missed."""
    known = Known(0.0)
    known.index(1.0, 5)
    known.document(1.0, "a", 30)
    floor = known.floor(1.0)
    assert floor.missing(_found(5, a=30, b=1)) == floor.missing(_found(6, a=31)) == ""
    assert floor.missing(Found()) == ""
    assert floor.missing(_found(4)) == "the index was at 5, and is at 4"
    assert floor.missing(_found(5, a=29)) == "a was at 30, and is at 29"


def test_what_was_told_meanwhile_is_asked_of_later_requests_only() -> None:
    """Replies come in any order: an earlier request's may be older than what another has brought since."""
    known = Known(0.0)
    known.index(1.0, 5)
    early = known.floor(1.0)
    known.index(2.0, 6)
    known.document(2.0, "a", 7)
    late = known.floor(2.0)
    assert early.missing(_found(5, a=6)) == ""
    assert late.missing(_found(5)) != ""
    assert late.missing(_found(6, a=6)) != ""


def test_an_index_has_its_time() -> None:
    """With a freshness of 10 s, what was told is asked for after that."""
    known = Known(10.0)
    known.index(1.0, 5)
    assert known.floor(10.9).missing(_found(1)) == ""
    assert known.floor(11.0).missing(_found(1)) != ""


def test_an_older_answer_lowers_nothing() -> None:
    """Versions that come out of order count by the newest."""
    known = Known(0.0)
    for version in (5, 3, None):
        known.index(1.0, version)
    known.document(1.0, "a", 9)
    known.document(1.0, "a", 8)
    floor = known.floor(2.0)
    assert (floor.index, dict(floor.documents)) == (5, {"a": 9})
