"""Chains of toxics: whatever is in them, and whatever changes, bytes arrive whole and in order."""

from __future__ import annotations

import random
import socket
import threading

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STREAM = st.sampled_from(["upstream", "downstream"])
HARMLESS = st.one_of(
    st.tuples(st.just("noop"), st.just({})),
    st.tuples(
        st.just("latency"), st.fixed_dictionaries({"latency": st.integers(0, 5), "jitter": st.integers(0, 9)})
    ),
    st.tuples(st.just("bandwidth"), st.fixed_dictionaries({"rate": st.integers(5_000, 50_000)})),
    st.tuples(
        st.just("slicer"),
        st.tuples(st.integers(1000, 9000), st.integers(0, 900), st.integers(0, 300)).map(
            lambda v: {"average_size": v[0], "size_variation": v[1], "delay": v[2]}
        ),
    ),
    st.tuples(st.just("slow_close"), st.fixed_dictionaries({"delay": st.integers(0, 5)})),
    st.tuples(st.just("limit_data"), st.just({"bytes": 10_000_000})),
    st.tuples(st.just("reset_peer"), st.just({"toxicity": 0})),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(HARMLESS, STREAM), min_size=1, max_size=5), st.integers(0, 2**32))
def test_bytes_pass_whole_and_in_order(own_place, wire, toxics, seed):
    """Through any chain of toxics that lose nothing, while they come and go, and so does a half-close."""
    api = own_place.api
    payload = random.Random(seed).randbytes(60_000)
    paths = []

    def add(number: int) -> None:
        (type, attributes), stream = toxics[number]
        given_attributes = {key: value for key, value in attributes.items() if key != "toxicity"}
        body = {"type": type, "name": f"t{number}", "stream": stream, "attributes": given_attributes}
        body["toxicity"] = attributes.get("toxicity", 1)
        assert api.request("POST", f"{own_place.path}/toxics", body).status == 200
        paths.append(f"{own_place.path}/toxics/t{number}")

    half = len(toxics) // 2
    for number in range(half):
        add(number)
    with wire.dial(own_place.listen) as sock:
        got = []
        reader = threading.Thread(target=lambda: got.append(wire.receive(sock, len(payload) + 1)))
        reader.start()
        sock.sendall(payload[:30_000])
        for number in range(half, len(toxics)):
            add(number)
        for path in paths[::2]:
            assert api.request("DELETE", path).status == 204
        sock.sendall(payload[30_000:])
        sock.shutdown(socket.SHUT_WR)
        reader.join()
    for path in paths[1::2]:
        api.request("DELETE", path)
    assert got == [payload]
