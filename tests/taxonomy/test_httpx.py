"""What httpx makes of each fault between it and an HTTP service.

It never retries by itself. Its time-out is for each read, not for the reply; and it can only tell that a reply
was cut where the reply says how long it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from loadtests.items import completion, item
from tests.demo.serving import Running, wait_for
from tests.taxonomy.place import WITHIN_S, Place

SAMPLES = {"samples": [{"item": f"item-{n}", "completion": completion(item(n))} for n in range(50)]}
"""A batch whose scores are a reply of some 3,700 bytes."""

SHORT_S = 0.2
SHORT = httpx.Timeout(WITHIN_S, read=SHORT_S)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client that waits longer than any machine is slow."""
    with httpx.Client(timeout=WITHIN_S, trust_env=False) as made:
        yield made


def accuracy(client: httpx.Client, place: Place, mark: str = "") -> float:
    """The accuracy in the reply to the batch, which is 1.0 when it came whole."""
    response = client.post(f"{place.url}/score/batch", json=SAMPLES, params={"mark": mark})
    assert response.status_code == 200
    assert len(response.json()["scores"]) == len(SAMPLES["samples"])
    return float(response.json()["accuracy"])


def healthy(client: httpx.Client, place: Place) -> bool:
    """Whether the service answers that it is well."""
    return bool(client.get(f"{place.url}/healthz").json() == {"status": "ok"})


def test_latency_within_the_timeout(client: httpx.Client, evals_place: Place) -> None:
    """A delay that the time-out allows for costs time only."""
    evals_place.inject("latency", latency=200)
    begun = monotonic()
    assert accuracy(client, evals_place) == 1.0
    assert monotonic() - begun >= 0.19
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


def test_latency_beyond_the_timeout(client: httpx.Client, evals_place: Place) -> None:
    """A reply that outlasts the time-out is a ReadTimeout; the connection goes with it, so none gets it later."""
    evals_place.inject("latency", latency=60_000)
    begun = monotonic()
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{evals_place.url}/v1/models", timeout=SHORT)
    assert monotonic() - begun >= SHORT_S
    evals_place.heal()
    assert healthy(client, evals_place)


def test_jitter_is_not_an_error(client: httpx.Client, evals_place: Place) -> None:
    """Jitter makes replies unequally late, and no worse."""
    evals_place.inject("latency", latency=40, jitter=40)
    delays = []
    for _ in range(10):
        begun = monotonic()
        assert healthy(client, evals_place)
        delays.append(monotonic() - begun)
    # 10 uniform draws of 0 to 80 ms: all below 20 ms once in 10^6, all within 8 ms once in 10^8.
    assert max(delays) >= 0.02
    assert max(delays) - min(delays) >= 0.008
    evals_place.heal()
    assert healthy(client, evals_place)


def test_bandwidth_slips_under_the_timeout(client: httpx.Client, evals_place: Place) -> None:
    """HIDDEN: a squeezed reply may take longer than the time-out, without an error: it is for each read."""
    evals_place.inject("bandwidth", rate=3)
    timeout = httpx.Timeout(WITHIN_S, read=1.0)
    begun = monotonic()
    response = client.post(f"{evals_place.url}/score/batch", json=SAMPLES, timeout=timeout)
    assert monotonic() - begun > 1.0
    assert response.json()["accuracy"] == 1.0
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


def test_refused(client: httpx.Client, evals_place: Place) -> None:
    """A refused connection is a ConnectError; healing mends it.

    A request that is sent on a connection from before, whose end is still on its way, fails like one in flight.
    """
    assert healthy(client, evals_place)
    evals_place.refuse()
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
        healthy(client, evals_place)
    with pytest.raises(httpx.ConnectError, match="refused"):
        healthy(client, evals_place)
    evals_place.heal()
    assert healthy(client, evals_place)


def test_reset(client: httpx.Client, evals: Running, evals_place: Place) -> None:
    """A connection that is reset while the reply comes is a ReadError, though the request was served."""
    mark = uuid4().hex
    evals_place.inject("reset_peer", timeout=0)
    with pytest.raises(httpx.ReadError, match="Connection reset by peer"):
        accuracy(client, evals_place, mark)
    wait_for("the request in the service's log", lambda: served(evals, mark) == 1)
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


def test_reset_of_an_open_connection(client: httpx.Client, evals_place: Place) -> None:
    """A reset that comes to an open connection fails the next request: no retry on another connection.

    The embedded proxy resets it (ReadError); Toxiproxy closes connections that are older than the fault
    (RemoteProtocolError). Both are a TransportError.
    """
    assert healthy(client, evals_place)
    evals_place.inject("reset_peer", timeout=0)
    with pytest.raises(httpx.TransportError) as told:
        healthy(client, evals_place)
    expected = httpx.ReadError if evals_place.server.embedded else httpx.RemoteProtocolError
    assert type(told.value) is expected
    evals_place.heal()
    assert healthy(client, evals_place)


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_black_hole(client: httpx.Client, evals: Running, evals_place: Place, stream: str) -> None:
    """A black hole is a ReadTimeout (connecting succeeds), and does not tell whether the request was served.

    It was, where replies are swallowed; it was not, where requests are.
    """
    lost, healed = uuid4().hex, uuid4().hex
    evals_place.inject("timeout", stream, timeout=0)
    begun = monotonic()
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{evals_place.url}/v1/models", params={"mark": lost}, timeout=SHORT)
    assert monotonic() - begun >= SHORT_S
    evals_place.heal()
    assert accuracy(client, evals_place, healed) == 1.0
    if stream == "downstream":
        wait_for("the lost request in the service's log", lambda: served(evals, lost) == 1)
    wait_for("the second request in the service's log", lambda: served(evals, healed) == 1)
    assert served(evals, lost) == (stream == "downstream")


def test_limit_data_before_the_reply(client: httpx.Client, evals_place: Place) -> None:
    """A connection that is closed within the reply's head is a RemoteProtocolError."""
    evals_place.inject("limit_data", bytes=10)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        accuracy(client, evals_place)
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


def test_limit_data_within_the_reply(client: httpx.Client, evals_place: Place) -> None:
    """A body shorter than its Content-Length is a RemoteProtocolError that says so.

    A client that reads it piece by piece has the pieces before the cut, and then the error.
    """
    evals_place.inject("limit_data", bytes=1000)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        accuracy(client, evals_place)
    read = bytearray()
    with (
        client.stream("POST", f"{evals_place.url}/score/batch", json=SAMPLES) as response,
        pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"),
    ):
        for piece in response.iter_bytes():
            read += piece
    assert 0 < len(read) < 1000
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


def test_limit_data_without_a_length_is_silent(client: httpx.Client, gateway_place: Place) -> None:
    """HIDDEN: where a reply ends with its connection, one that is cut is a 200 with a part of the body.

    The text ends in the middle of a score; nothing says so.
    """
    whole = client.post(f"{gateway_place.url}/score/batch", json=SAMPLES)
    gateway_place.inject("limit_data", bytes=1000)
    cut = client.post(f"{gateway_place.url}/score/batch", json=SAMPLES)
    assert cut.status_code == whole.status_code == 200
    assert 0 < len(cut.content) < 1000 < len(whole.content)
    assert whole.content.startswith(cut.content)
    with pytest.raises(json.JSONDecodeError):
        cut.json()
    gateway_place.heal()
    assert accuracy(client, gateway_place) == 1.0


def test_slicer_costs_time_only(client: httpx.Client, evals_place: Place) -> None:
    """A reply in pieces of some 64 bytes, 5 ms apart, comes late and whole."""
    evals_place.inject("slicer", average_size=64, delay=5_000)
    begun = monotonic()
    assert accuracy(client, evals_place) == 1.0
    assert monotonic() - begun >= 0.2  # over 3,500 bytes are over 54 pieces
    evals_place.heal()
    assert accuracy(client, evals_place) == 1.0


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_slow_close_is_not_felt(client: httpx.Client, evals_place: Place, connection: str) -> None:
    """Where closing is slow nothing is noticed: a reply is over when its length has come, whoever closes."""
    evals_place.inject("slow_close", delay=600_000)
    for _ in range(2):
        response = client.get(f"{evals_place.url}/healthz", headers={"Connection": connection})
        assert response.json() == {"status": "ok"}
    evals_place.heal()
    assert healthy(client, evals_place)


def test_slow_close_holds_a_reply_without_a_length(client: httpx.Client, gateway_place: Place) -> None:
    """Where a reply ends with its connection, a slow close is a late reply: the end is what is waited for."""
    gateway_place.inject("slow_close", delay=300)
    begun = monotonic()
    assert accuracy(client, gateway_place) == 1.0
    assert monotonic() - begun >= 0.29
    gateway_place.heal()
    assert accuracy(client, gateway_place) == 1.0


def served(evals: Running, mark: str) -> int:
    """How many requests with this mark the service has served, by its own log."""
    return evals.err.read_text().count(mark)
