"""Which message is which: draws that no order changes, and a memory that is bounded."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.layer7 import identity
from chaos.proxy.layer7.identity import NONCES, Ordinals, hashed, json_id, uniform
from tests.proxy.layer7.in_memory import in_memory

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.randoms(use_true_random=False))
def test_the_nth_of_an_id_has_the_nth_draw_in_any_order(idents: list[str], order: random.Random) -> None:
    """What others come in between changes nothing."""

    def drawn(sequence: list[str]) -> dict[str, list[float]]:
        ordinals = Ordinals()
        draws: dict[str, list[float]] = {}
        for ident in sequence:
            draws.setdefault(ident, []).append(uniform(7, "t", ident, 0, ordinals.next(ident, 0)))
        return draws

    shuffled = list(idents)
    order.shuffle(shuffled)
    assert drawn(idents) == drawn(shuffled)


@given(st.integers(), ANY_TEXT, ANY_TEXT, st.integers(0), st.integers(0))
def test_a_draw_is_a_share_whatever_the_id(
    seed: int, draw: str, ident: str, attempt: int, ordinal: int
) -> None:
    """In [0, 1), the same each time; also for ids with halves of surrogate pairs, which JSON can name."""
    number = uniform(seed, draw, ident, attempt, ordinal)
    assert 0 <= number < 1
    assert number == uniform(seed, draw, ident, attempt, ordinal)
    assert Ordinals().next(ident, attempt) == 0


def test_ordinals_are_forgotten_beyond_a_bound() -> None:
    """The longest unseen go first, and how many did is known."""
    ordinals = Ordinals(most=1000)
    for number in range(1000):
        ordinals.next(str(number), 0)
    assert ordinals.forgotten == 0
    assert ordinals.next("0", 0) == 1
    ordinals.next("new", 0)
    assert ordinals.forgotten == 1
    assert ordinals.next("0", 0) == 2
    assert ordinals.next("1", 0) == 0
    assert ordinals.forgotten == 2


@given(
    st.recursive(st.none() | st.integers() | ANY_TEXT, lambda v: st.lists(v) | st.dictionaries(ANY_TEXT, v))
)
def test_an_id_is_found_or_not(value: object) -> None:
    """In anything that JSON can say; never longer than 200 characters."""
    found = json_id({"nonce": value}, NONCES)
    assert found is None or 0 < len(found) <= 200


@given(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9))
def test_parts_are_not_mixed_up(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    """`ab` and `c` is another request than `a` and `bc`."""
    assert (hashed(a, b) == hashed(c, d)) == ((a, b) == (c, d))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_requests_are_struck_alike_in_any_order(numbers: list[int], order: random.Random) -> None:
    """Through the proxy: the same bodies have the same hits, whatever connection and order they come in."""

    def struck(sequence: list[int]) -> list[tuple[str, int]]:
        with in_memory() as memory:
            memory.add("http_reply", toxicity=0.5, status=500)
            pairs = [memory.pair(), memory.pair()]
            for at, number in enumerate(sequence):
                body = json.dumps({"n": number}).encode()
                pair = pairs[at % 2]
                pair.client.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                pair.upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                memory.loop.turn(2)
            hits, missed = memory.proxy.hits.after(0)
            assert missed == 0
            return sorted((hit.id, hit.ordinal) for hit in hits)

    shuffled = list(numbers)
    order.shuffle(shuffled)
    assert struck(numbers) == struck(shuffled)


def test_huge_numbers_are_ids_too() -> None:
    """As long as JSON may have them."""
    value = json.loads('{"nonce":' + "9" * 4000 + "}")
    assert identity.json_id(value, NONCES) == "9" * 200
