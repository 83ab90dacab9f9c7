"""`talker.py URL TIMEOUT`: our WebSocket client in a process of its own, since gevent belongs to the generator.

Each line of stdin is a JSON text to send, or null: receive only. For each line one of JSON on stdout: what came,
or the error type. It closes politely at the end of stdin, or at the first error.
"""

from __future__ import annotations

import json
import sys

from loadtests.users.connect import Address, Broken
from loadtests.users.ws import WebSocket


def main() -> None:
    """Talk."""
    url, timeout = sys.argv[1], float(sys.argv[2])
    try:
        socket = WebSocket(Address.of(url), "/ws", [(b"x-own", b"1")], timeout)
    except Broken as failure:
        print(json.dumps({"refused": failure.error_type}), flush=True)
        return
    print(json.dumps({"open": True}), flush=True)
    for line in sys.stdin:
        text = json.loads(line)
        try:
            if text is not None:
                socket.send(text, timeout)
            print(json.dumps({"came": socket.receive(timeout)}), flush=True)
        except Broken as failure:
            print(json.dumps({"broken": failure.error_type}), flush=True)
            break
    socket.close()


if __name__ == "__main__":
    main()
