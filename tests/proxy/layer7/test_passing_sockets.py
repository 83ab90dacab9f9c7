"""The same over real sockets, beside a proxy of protocol tcp: fewer, but with the kernel's own cuts and ends."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.proxy.layer7.test_passing import SIDES, Script, scripts

SEQUENCES = int(os.environ.get("BROWNOUT_SEQUENCES", "0"))
pytestmark = pytest.mark.timeout(120 + SEQUENCES)
WAIT_S = 30.0


class Lane:
    """A proxy, and the listener behind it."""

    def __init__(self, api: Any, protocol: str) -> None:
        self.api = api
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(WAIT_S)
        self.place = api.proxy(f"127.0.0.1:{self.listener.getsockname()[1]}", protocol=protocol)

    def play(self, script: Script) -> dict[str, bytes]:
        """What each side got, up to the end."""
        ends = {"client": self.place.connect()}
        ends["upstream"] = self.listener.accept()[0]
        got = {side: bytearray() for side in SIDES}
        readers = [threading.Thread(target=self._read, args=(ends[side], got[side])) for side in SIDES]
        for reader in readers:
            reader.start()
        try:
            for step, data in script.steps:
                side, _, act = step.partition(" ")
                if act == "ends":
                    ends[side].shutdown(socket.SHUT_WR)
                elif data is not None:
                    ends[side].sendall(data)
        finally:
            for reader in readers:
                reader.join()
            for end in ends.values():
                end.close()
        return {side: bytes(got[side]) for side in SIDES}

    def _read(self, sock: socket.socket, got: bytearray) -> None:
        sock.settimeout(WAIT_S)
        while data := sock.recv(65536):
            got += data

    def close(self) -> None:
        """Delete the proxy."""
        self.listener.close()
        self.api.request("DELETE", self.place.path)


@pytest.fixture(scope="module")
def lanes(embedded_server: Any) -> Iterator[list[Lane]]:
    """One that reads HTTP, one that reads because of a toxic that fits nothing, and one that does not read."""
    made = [Lane(embedded_server, protocol) for protocol in ("http", "tcp", "tcp")]
    toxic = {"type": "http_reply", "where": {"path": "/never*"}}
    assert embedded_server.request("POST", f"{made[1].place.path}/toxics", toxic).status == 200
    yield made
    for lane in made:
        lane.close()


@settings(max_examples=SEQUENCES or 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts().filter(lambda script: not script.end.endswith("resets")))
def test_real_connections_pass_alike(lanes: list[Lane], script: Script) -> None:
    """Every byte that was sent before its sender's end, in order, then that end: on all of them."""
    seen = [lane.play(script) for lane in lanes]
    sent = {side: b"".join(piece or b"" for step, piece in script.steps if step == side) for side in SIDES}
    assert seen[2] == {"client": sent["upstream"], "upstream": sent["client"]}
    assert seen[0] == seen[1] == seen[2]
