"""Who is struck is decided by the seed, the proxy, the connection's number, the toxic and the stream alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy import draw

NAMES = st.text(min_size=1, max_size=20)


def struck(api, address, wire, name="p", seedless=False):
    """Which of 24 connections a toxic of toxicity one half strikes."""
    api.request("POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": address})
    listen = api.request("GET", f"/proxies/{name}").json["listen"]
    body = {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 0}}
    api.request("POST", f"/proxies/{name}/toxics", body)
    pattern = []
    for _ in range(24):
        with wire.dial(listen) as sock:
            sock.sendall(b"x")
            pattern.append(wire.receive(sock, 1) == b"")
    return pattern


def test_the_same_seed_strikes_the_same_connections(own_proxy, upstream, wire):
    """In another process, on another port; another seed or another proxy strikes others."""
    address = upstream().address
    first = struck(own_proxy("--seed", "5"), address, wire)
    again_server = own_proxy("--seed", "5")
    assert struck(again_server, address, wire) == first
    assert struck(again_server, address, wire, name="q") != first
    assert struck(own_proxy("--seed", "6"), address, wire) != first


def test_an_update_draws_nobody_anew(embedded, upstream, wire):
    """Raising the toxicity adds to those who are struck, lowering it takes some away, on open connections too."""
    place = embedded.proxy(upstream().address)
    path = place.toxic("latency", toxicity=0.5, latency=60)
    socks = [place.connect() for _ in range(10)]
    before = [wire.ask(sock) >= 0.055 for sock in socks]
    embedded.request("PATCH", path, {"attributes": {"latency": 70}})
    embedded.request("PATCH", path, {})
    counts = embedded.request("GET", f"{path}/counts").json
    assert counts["connections"] == sum(before)
    embedded.request("PATCH", path, {"toxicity": 1})
    assert embedded.request("GET", f"{path}/counts").json["connections"] == 10
    embedded.request("PATCH", path, {"toxicity": 0})
    embedded.request("PATCH", path, {"toxicity": 0.5})
    assert embedded.request("GET", f"{path}/counts").json["connections"] == 10 + sum(before)
    for sock in socks:
        sock.close()


@given(st.integers(), NAMES, st.integers(0, 10**9), NAMES, st.sampled_from(["upstream", "downstream"]))
def test_a_draw_is_a_function_of_what_it_is_for(seed, proxy, ordinal, toxic, stream):
    """The same number each time, in [0, 1)."""
    number = draw.uniform(seed, proxy, ordinal, toxic, stream)
    assert 0 <= number < 1
    assert number == draw.uniform(seed, proxy, ordinal, toxic, stream)


def test_draws_are_uniform():
    """Over 20,000 connections each tenth gets a tenth, give or take five standard deviations."""
    tenths = [0] * 10
    for ordinal in range(20_000):
        tenths[int(draw.uniform(1, "p", ordinal, "t", "downstream") * 10)] += 1
    assert all(abs(count - 2000) < 5 * 42.5 for count in tenths)
