"""Whatever comes, in whatever pieces, arrives as it came where no toxic acts: beside a proxy that does not read.

A longer hunt: `BROWNOUT_SEQUENCES=20000 make test ARGS=tests/proxy/layer7/test_passing.py`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.proxy.layer7.catalogue import LAYER7
from tests.proxy.layer7.in_memory import Memory, Pair, in_memory
from tests.proxy.layer7.messages import CLIENT, PATIENT_CLIENT, UPSTREAM, pieces

SEQUENCES = int(os.environ.get("BROWNOUT_SEQUENCES", "0"))
EXAMPLES = settings(max_examples=SEQUENCES or 120)
pytestmark = pytest.mark.timeout(120 + SEQUENCES)

SIDES = ("client", "upstream")
ACTS = st.lists(
    st.tuples(st.sampled_from(SIDES), st.sampled_from([1, 1, 2, 3, 7, 20, 50, 200, 100_000])), max_size=40
)
"""Who sends the next piece, of how many bytes."""
STALLS = st.dictionaries(st.integers(0, 30), st.sampled_from(SIDES), max_size=3)
"""Before which of them a side stops to read, or reads on."""
ENDS = st.sampled_from(["client first", "upstream first", "client resets", "upstream resets"])


@dataclass
class Script:
    """What the two sides do."""

    streams: dict[str, bytes]
    acts: list[tuple[str, int]]
    stalls: dict[int, str]
    end: str
    early: int
    """Before which act the one that ends first does, though it has not sent all."""
    steps: list[tuple[str, bytes | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.end.split()[0]
        second = SIDES[SIDES.index(first) - 1]
        resets = self.end.endswith("resets")
        sizes = {side: [size for who, size in self.acts if who == side] for side in SIDES}
        left = {side: pieces(self.streams[side], sizes[side]) for side in SIDES}
        ended = False
        for number, (who, _) in enumerate(self.acts):
            if number in self.stalls:
                self.steps.append((f"{self.stalls[number]} stalls", None))
            if number == self.early:
                ended = True
                self.steps.append((f"{first} resets" if resets else f"{first} ends", None))
            if left[who] and not (ended and (who == first or resets)):
                self.steps.append((who, left[who].pop(0)))
        if not ended:
            self.steps += [(first, piece) for piece in left[first]]
            self.steps.append((f"{first} resets" if resets else f"{first} ends", None))
        if not resets:
            self.steps += [(second, piece) for piece in left[second]]
            self.steps.append((f"{second} ends", None))


def scripts(clients: st.SearchStrategy[bytes] = CLIENT) -> st.SearchStrategy[Script]:
    return st.builds(
        Script,
        st.fixed_dictionaries({"client": clients, "upstream": UPSTREAM}),
        ACTS,
        STALLS,
        ENDS,
        st.integers(0, 80),
    )


def do(pair: Pair, step: str, data: bytes | None) -> None:
    """One step, on one of the proxies."""
    side, _, act = step.partition(" ")
    end = getattr(pair, side)
    if act == "ends":
        end.finish()
    elif act == "resets":
        end.reset()
    elif act == "stalls":
        end.stall(not end.slow)
    else:
        end.send(data)


def compare(memories: list[Memory], script: Script, changes: dict[int, Any]) -> None:
    """Do it on both; what has come of one is always the beginning of what has come of the other, which does not read."""
    reading, plain = pairs = [memory.pair() for memory in memories]
    for number, (step, data) in enumerate(script.steps):
        if number in changes:
            changes[number](memories[0])
        for memory, pair in zip(memories, pairs, strict=True):
            do(pair, step, data)
            memory.loop.turn(2)
        for side in SIDES:
            seen, other = getattr(reading, side), getattr(plain, side)
            assert other.got.startswith(seen.got), (side, step)
            assert not seen.ending or other.ending, (side, step)
    for memory, pair in zip(memories, pairs, strict=True):
        pair.client.stall(False)
        pair.upstream.stall(False)
        memory.loop.turn(8)
    for side in SIDES:
        seen, other = getattr(reading, side), getattr(plain, side)
        assert seen.ending == other.ending, side
        if not script.end.endswith("resets"):
            assert seen.got == other.got, side
    assert reading.over and plain.over


def both(stack: ExitStack, protocol: Any = "http") -> list[Memory]:
    return [stack.enter_context(in_memory(protocol)), stack.enter_context(in_memory("tcp"))]


@EXAMPLES
@given(scripts())
def test_a_proxy_that_reads_passes_what_one_that_does_not_would(script: Script) -> None:
    """Same bytes, same ends: sized, chunked, until close, interim, upgraded, pipelined, odd, or no HTTP at all."""
    with ExitStack() as stack:
        compare(both(stack), script, {})


TYPES = sorted(LAYER7)
NOT_FITTING = (
    b'{"where":{"path":"/never*"}}',
    b'{"where":{"header":{"x-never":"*"}}}',
    b'{"where":{"json":{"/never":1}}}',
)


@st.composite
def idle_toxics(draw: st.DrawFn) -> dict[str, Any]:
    """A toxic that strikes nothing: as its `where` fits nothing, or as its toxicity is 0."""
    kind = draw(st.sampled_from(TYPES))
    attributes = {"pointer": "/a"} if kind == "json_edit" else {}
    if LAYER7[kind].protocol == "websocket" or draw(st.booleans()):
        return {"type": kind, "toxicity": 0.0, **attributes}
    return {"type": kind, "rule": draw(st.sampled_from(NOT_FITTING)), **attributes}


@EXAMPLES
@given(scripts(PATIENT_CLIENT), st.lists(idle_toxics(), min_size=1, max_size=3))
def test_toxics_that_strike_nothing_change_nothing(script: Script, toxics: list[dict[str, Any]]) -> None:
    """Also where a body has to be held until it is known that they do not."""
    with ExitStack() as stack:
        memories = both(stack)
        for number, toxic in enumerate(toxics):
            memories[0].add(name=f"t{number}", **toxic)
        compare(memories, script, {})


@EXAMPLES
@given(
    scripts(PATIENT_CLIENT),
    st.sampled_from(["http", "tcp"]),
    st.dictionaries(st.integers(0, 20), st.none() | idle_toxics(), min_size=1, max_size=6),
)
def test_toxics_that_come_and_go_change_nothing(
    script: Script, protocol: str, toxics: dict[int, dict[str, Any] | None]
) -> None:
    """Reading may begin, and end, at any byte of a connection: with the first toxic of layer 7, and the last."""

    def change(number: int, toxic: dict[str, Any] | None) -> Any:
        def act(memory: Memory) -> None:
            if toxic is not None:
                memory.add(name=f"t{number}", **toxic)
            elif memory.proxy.toxics:
                memory.heal(memory.proxy.toxics[0])

        return act

    with ExitStack() as stack:
        compare(
            both(stack, protocol), script, {number: change(number, toxic) for number, toxic in toxics.items()}
        )
