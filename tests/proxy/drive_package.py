"""Drives one proxy server by toxiproxy-python alone, over all of its methods, and prints what came of each as JSON.

Started as a process of its own: in ours `chaos.faults.toxiproxy` has mended the package.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

NOBODY = "127.0.0.1:1"
steps: list[list[object]] = []


def plain(value: Any) -> Any:
    """As JSON, without the ports, which are the system's choice, and without Toxiproxy's stray field."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items() if key != "Logger"}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if hasattr(value, "__dict__"):
        return plain(vars(value))
    return re.sub(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:port", value) if isinstance(value, str) else value


def note(what: str, got: Any = None) -> Any:
    """Remember what came of a step."""
    steps.append([what, plain(got)])
    return got


def refused(what: str, act: Callable[[], object]) -> None:
    """Remember the error of a step that fails; its words are the server's body."""
    try:
        note(what, {"done": act()})
    except (ProxyExists, NotFound, InvalidToxic, KeyError, ValueError) as error:
        words = error.args[0]
        note(what, [type(error).__name__, words.decode() if isinstance(words, bytes) else str(words)])


def ask(listen: str, text: bytes = b"hello") -> dict[str, str]:
    """What comes back until the end, or until as much came back; then how it ended."""
    host, _, port = listen.rpartition(":")
    got = b""
    try:
        with socket.create_connection((host, int(port)), timeout=30) as sock:
            sock.sendall(text)
            while not text or len(got) < len(text):
                data = sock.recv(65536)
                if not data:
                    return {"got": got.decode(), "end": "FIN"}
                got += data
    except OSError as error:
        return {"got": got.decode(), "end": errno.errorcode[error.errno or 0]}
    return {"got": got.decode(), "end": "ours"}


def echo(listener: socket.socket) -> None:
    """Serve one connection after the other, until there is no listener any more."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)


def proxies(server: Toxiproxy, upstream: str) -> Any:
    """All of the server's methods, and the proxy's own; the proxy that is left."""
    note("running", server.running())
    note("version", json.loads(server.version())["version"])
    note("none", server.proxies())
    proxy = note("create", server.create(upstream=upstream, name="a"))
    note("traffic", ask(proxy.listen))
    note("get", server.get_proxy("a"))
    note("get nobody", server.get_proxy("nobody"))
    with proxy.down() as down:
        note("down", server.get_proxy("a"))
        note("refused", ask(down.listen))
    note("up", server.get_proxy("a"))
    note("same port", server.get_proxy("a").listen == proxy.listen)
    note("traffic again", ask(proxy.listen))
    note("disabled", server.create(upstream=NOBODY, name="b", listen="127.0.0.1:0", enabled=False))
    refused("taken", lambda: server.create(upstream=upstream, name="a"))
    refused("no address", lambda: server.create(upstream=upstream, name="c", listen="foo"))
    refused("no upstream", lambda: server.create(upstream="", name="c"))
    wanted = [{"name": name, "upstream": upstream, "listen": "127.0.0.1:0"} for name in ("b", "d")]
    note("populate", server.populate(wanted))
    same = [{"name": "d", "upstream": upstream, "listen": server.get_proxy("d").listen}]
    note("populated", ask(server.get_proxy("d").listen))
    note("populate the same", server.populate(same))
    note("destroy", server.destroy(server.get_proxy("b")))
    note("destroy by name", server.destroy("d"))
    gone = server.get_proxy("d")
    note("destroy itself", gone.destroy())
    refused("destroy twice", gone.destroy)
    unreachable = server.create(upstream=NOBODY, name="e")
    note("nobody there", ask(unreachable.listen, b""))
    note("left", server.proxies())
    return proxy


def toxics(server: Toxiproxy, proxy: Any) -> None:
    """Added, shown, in effect, and removed."""
    note("add", proxy.add_toxic(type="latency", attributes={"latency": 3, "jitter": 1}))
    note("add", proxy.add_toxic(type="noop", name="t", stream="upstream", toxicity=0.5))
    note("toxics", proxy.toxics())
    note("get", proxy.get_toxic("t"))
    note("get nobody", proxy.get_toxic("nobody"))
    note("through all", ask(proxy.listen, b"hello, hello"))
    refused("taken", lambda: proxy.add_toxic(type="latency"))
    refused("no such type", lambda: proxy.add_toxic(type="nope"))
    refused("no such stream", lambda: proxy.add_toxic(type="noop", stream="sideways"))
    note("destroy", proxy.destroy_toxic("t"))
    refused("destroy twice", lambda: proxy.destroy_toxic("t"))
    note("disable", proxy.disable())
    note("reset", server.reset())
    note("healed", [server.get_proxy("a"), proxy.toxics()])
    note("as before", ask(proxy.listen))
    proxy.enable()
    for type_, stream, attributes in (
        ("limit_data", "downstream", {"bytes": 3}),
        ("timeout", "downstream", {"timeout": 50}),
        ("timeout", "upstream", {"timeout": 50}),
        ("reset_peer", "downstream", {"timeout": 0}),
        ("reset_peer", "upstream", {"timeout": 0}),
    ):
        proxy.add_toxic(type=type_, stream=stream, name="strong", attributes=attributes)
        note(f"{type_} {stream}", ask(proxy.listen))
        note("destroy", proxy.destroy_toxic("strong"))
        note("as before", ask(proxy.listen))


def main(host: str, port: str) -> None:
    """All of it, against one server."""
    server = Toxiproxy()
    server.update_api_consumer(host, int(port))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=echo, args=(listener,), daemon=True)
        thread.start()
        toxics(server, proxies(server, f"127.0.0.1:{listener.getsockname()[1]}"))
        server.destroy_all()
        note("all destroyed", server.proxies())
    json.dump(steps, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1].removeprefix("http://").split(":"))
