from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtests.users.sse import events

words = st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=("Cs",)), max_size=20)
ends = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), max_size=5), ends, st.data())
def test_events_come_out_whole_however_they_are_cut(
    sent: list[tuple[str, list[str]]], end: str, data: st.DataObject
) -> None:
    """Wherever the chunks break, in a character or a line end too, the same events are read."""
    lines = []
    for name, values in sent:
        lines += [f"event: {name}", *(f"data: {value}" for value in values), ": a comment", ""]
    whole = "".join(line + end for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert list(events(chunks)) == [(name, "\n".join(values)) for name, values in sent]


def test_an_event_that_breaks_off_is_not_delivered() -> None:
    """Without its blank line an event is not there, as the standard has it."""
    assert list(events([b"data: one\n\ndata: tw"])) == [("", "one")]
    assert list(events([b"data: one\n\ndata: two\n"])) == [("", "one")]
    assert list(events([])) == []
