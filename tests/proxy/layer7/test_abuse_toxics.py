"""Any toxics, with any attributes, under any traffic, coming and going at any time: never a defect, nothing left over.

A longer hunt: `BROWNOUT_SEQUENCES=20000 make test ARGS=tests/proxy/layer7/test_abuse_toxics.py`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chaos.proxy.layer7.catalogue import LAYER7, problem
from tests.proxy.layer7.in_memory import Memory, Pair, in_memory
from tests.proxy.layer7.messages import chunked, replies, requests

SEQUENCES = int(os.environ.get("BROWNOUT_SEQUENCES", "0"))
pytestmark = pytest.mark.timeout(120 + SEQUENCES)

LAYER4 = ("noop", "limit_data", "timeout", "reset_peer", "slow_close")
"""Those that hold nothing by the time of day, which is not this clock's."""
DELIVERY_S = 31.0
"""Longer than a second delivery waits for its reply."""
GET = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _value(attribute: Any) -> st.SearchStrategy[Any]:
    match attribute.kind:
        case "integer":
            likely = [attribute.least, attribute.default, min(max(attribute.least, 1), attribute.most)]
            few = st.integers(int(attribute.least), int(min(attribute.most, max(attribute.least, 0) + 600)))
            return st.sampled_from([int(value) for value in likely]) | few
        case "number":
            return st.sampled_from([0, -1, 100.0, 1e12, 0.5])
        case "boolean":
            return st.booleans()
        case "choice":
            return st.sampled_from(attribute.choices)
        case "json":
            return st.sampled_from([{}, {"X-A": "b"}, {"Connection": "close"}])
    if attribute.name == "pointer":
        return st.sampled_from(["/a", "/reward", "/result", "/0", "/a/b", "/~1"])
    if attribute.name == "header":
        return st.sampled_from(["mcp-session-id", "Host"])
    return st.sampled_from([attribute.default, "", "x", '{"a":1}', "a" * 2000])


_WHERE = st.sampled_from(
    [
        b"{}",
        b"{}",
        b'{"where":{"method":"P*"}}',
        b'{"where":{"path":"/*"}}',
        b'{"where":{"every":2}}',
        b'{"where":{"first":1}}',
        b'{"where":{"json":{"/a":1}}}',
        b'{"where":{"rpc":"tools/*"}}',
        b'{"id":{"header":"host"}}',
        b'{"id":{"json":"/id"},"persist":"request"}',
    ]
)


@st.composite
def toxics(draw: st.DrawFn) -> dict[str, Any]:
    """Any toxic."""
    kind = draw(st.sampled_from([*LAYER7, *LAYER7, *LAYER4]))
    toxicity = draw(st.sampled_from([1.0, 1.0, 1.0, 0.5]))
    if kind not in LAYER7:
        return {
            "type": kind,
            "stream": draw(st.sampled_from(["upstream", "downstream"])),
            "toxicity": toxicity,
        }
    spec = LAYER7[kind]
    attributes = {each.name: draw(_value(each)) for each in spec.attributes if draw(st.integers(0, 2))}
    if kind == "json_edit":
        attributes.setdefault("pointer", "/a")
    if problem(kind, attributes) is not None:
        attributes = {}
    rule = draw(_WHERE) if spec.protocol != "websocket" else b"{}"
    return {
        "type": kind,
        "stream": draw(st.sampled_from(spec.streams)),
        "toxicity": toxicity,
        "rule": rule,
        **attributes,
    }


_CALLS = st.sampled_from(
    [
        b'{"a":1,"reward":2}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"tools/call","params":{"name":"\\ud800"}}',
        b'{"model":"m","stream":true}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":' + b"[" * 5000,
        b"\xff\xfe\x00",
        b"x" * 2000,
    ]
)


@st.composite
def plain_requests(draw: st.DrawFn) -> bytes:
    """A request as clients send them."""
    body = draw(_CALLS)
    lines = draw(
        st.sampled_from(
            [
                b"",
                b"",
                b"Mcp-Session-Id: a\r\n",
                b"Mcp-Session-Id: b\r\n",
                b"Expect: 100-continue\r\n",
                b"Connection: close\r\n",
            ]
        )
    )
    method = draw(st.sampled_from([b"POST", b"POST", b"HEAD", b"GET"]))
    if method != b"POST":
        return method + b" /a HTTP/1.1\r\n" + lines + b"\r\n"
    if draw(st.booleans()):
        lines += b"Transfer-Encoding: chunked\r\n"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        lines += b"Content-Length: %d\r\n" % len(body)
    return b"POST /v1/messages HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + body


_STREAM = b"".join(b'data: {"choices":[{"delta":{},"finish_reason":null}],"a":%d}\n\n' % n for n in range(5))


@st.composite
def plain_replies(draw: st.DrawFn) -> bytes:
    """A reply as servers send them."""
    body = draw(
        st.sampled_from(
            [_STREAM + b"data: [DONE]\n\n", b'{"a":1,"reward":0.5}', b'{"a":1' + b"0" * 400 + b"}", b""]
        )
    )
    kind = b"text/event-stream" if body.startswith(b"data") else b"application/json"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n"
    match draw(st.integers(0, 3)):
        case 0:
            return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        case 1:
            return head + b"\r\n" + body
        case _:
            at = draw(st.integers(0, len(body)))
            parts = [part for part in (body[:at], body[at:]) if part]
            made = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + made + b"0\r\n\r\n"


_SIDES = st.sampled_from(["client", "upstream"])
_ADD = st.tuples(st.just("add"), toxics(), st.just(""))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([1, 10, 100, 5000]), _SIDES),
        st.tuples(st.just("send"), st.just(5000), _SIDES),
        st.tuples(st.just("send"), st.just(5000), _SIDES),
        _ADD,
        st.tuples(st.just("heal"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("time"), st.sampled_from([0.01, 0.3, 3.0]), st.just("")),
        st.tuples(st.sampled_from(["stall", "stall", "end", "reset"]), st.none(), _SIDES),
        st.tuples(st.just("connect"), st.none(), st.just("")),
    ),
    max_size=30,
)


class Play:
    """The steps, on connections of which the latest is used."""

    def __init__(self, memory: Memory, streams: dict[str, bytes]) -> None:
        self.memory = memory
        self.streams = streams
        self.pairs: list[Pair] = []
        self.left: dict[str, bytes] = {}
        self.named = 0
        self.connect()

    def connect(self) -> None:
        """A new connection."""
        self.left = dict(self.streams)
        self.pairs.append(self.memory.pair())

    def step(self, act: str, what: Any, side: str) -> None:
        """Do one of them; nothing goes wrong within the proxy."""
        memory = self.memory
        end = self.pairs[-1].upstream if side == "upstream" else self.pairs[-1].client
        match act:
            case "send":
                data, self.left[side] = self.left[side][:what], self.left[side][what:]
                if data:
                    end.send(data)
            case "add":
                self.named += 1
                memory.add(name=f"t{self.named}", **what)
            case "heal":
                if memory.proxy.toxics:
                    memory.heal(memory.proxy.toxics[what % len(memory.proxy.toxics)])
            case "time":
                memory.loop.pass_time(what)
            case "stall":
                end.stall(not end.slow)
            case "end":
                end.finish()
            case "reset":
                end.reset()
            case _:
                self.connect()
        memory.loop.turn(2)
        memory.check()

    def settle(self) -> None:
        """All toxics are healed, then all peers finish: nothing is left, and the proxy serves."""
        memory = self.memory
        for toxic in list(memory.proxy.toxics):
            memory.heal(toxic)
        memory.loop.turn()
        if not memory.proxy.deliveries:
            assert memory.loop.timers == 0, "held for a toxic that is gone"
        for pair in self.pairs:
            for end in (pair.client, pair.upstream):
                end.stall(False)
                end.finish()
        memory.loop.turn(10)
        for end in memory.proxy.dialled:
            if end not in [pair.upstream for pair in self.pairs]:
                end.finish()
        if memory.proxy.deliveries:
            memory.loop.pass_time(DELIVERY_S)
        assert all(pair.over for pair in self.pairs), "a connection that never ends"
        assert not memory.proxy.links
        assert memory.loop.timers == 0
        pair = memory.pair()
        pair.client.send(GET)
        memory.loop.turn()
        assert pair.upstream.got == GET
        pair.upstream.send(OK)
        memory.loop.turn()
        assert pair.client.got == OK
        memory.check()


@settings(max_examples=SEQUENCES or 200, phases=[phase for phase in Phase if phase is not Phase.explain])
@given(
    st.sampled_from(["http", "tcp"]),
    st.lists(plain_requests() | plain_requests() | requests(), max_size=5).map(b"".join),
    st.lists(plain_replies() | plain_replies() | replies() | chunked(), max_size=5).map(b"".join),
    st.lists(_ADD, max_size=3),
    STEPS,
)
def test_nothing_is_left_over(
    protocol: Any, client: bytes, upstream: bytes, first: list[Any], steps: list[Any]
) -> None:
    """No error, no timer, no connection: when the toxics are healed and the peers have gone, all is as before."""
    with in_memory(protocol) as memory:
        play = Play(memory, {"client": client, "upstream": upstream})
        for act, what, side in [*first, *steps]:
            play.step(act, what, side)
        play.settle()
