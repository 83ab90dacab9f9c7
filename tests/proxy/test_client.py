"""The client, against the embedded proxy and the real Toxiproxy."""

from __future__ import annotations

import socket
import threading

import pytest
import toxiproxy

from chaos.faults.heal import heal
from chaos.faults.toxiproxy import (
    InvalidToxic,
    Lease,
    ProxyFailed,
    ProxyRefused,
    ProxyUnreachable,
    ToxiproxyServer,
)
from chaos.faults.undo import DeleteProxy, EnableProxy, RemoveToxic

LISTEN, UPSTREAM = "127.0.0.1:0", "127.0.0.1:1"


@pytest.fixture
def client(api):
    return ToxiproxyServer(api.url + "/")


def test_it_tells_what_it_talks_to(api, client):
    """The embedded proxy says so, with its own version; a Toxiproxy says what it knows."""
    assert client.embedded is api.embedded
    if api.embedded:
        assert client.version() == "2.12.0"
        assert client.describe() == "embedded proxy 0.1.0 (Toxiproxy API 2.12.0)"
    else:
        assert client.describe().startswith("Toxiproxy ")


def test_proxies_are_created_read_and_deleted(client):
    """What is created is what is read."""
    made = client.create_proxy("a", LISTEN, UPSTREAM)
    assert made.listen != LISTEN
    assert client.proxies() == {"a": made}
    assert client.proxy("a") == made
    client.delete_proxy("a")
    assert client.proxies() == {}
    assert client.proxy("a") is None


def test_a_proxy_goes_down_and_up(client):
    """Under the same address."""
    made = client.create_proxy("a", LISTEN, UPSTREAM)
    client.set_enabled("a", False, lease=Lease("run", 60_000))
    assert client.proxies()["a"].enabled is False
    client.set_enabled("a", True)
    assert client.proxies()["a"] == made


def test_toxics_are_added_updated_and_removed(client):
    """An update merges attributes and keeps the toxicity unless told otherwise."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    client.add_toxic(
        "a", "t", "latency", "upstream", 0.5, {"latency": 5, "jitter": 1}, lease=Lease("run", 60_000)
    )
    (toxic,) = client.proxies()["a"].toxics
    assert (toxic.name, toxic.type, toxic.stream, toxic.toxicity) == ("t", "latency", "upstream", 0.5)
    updated = client.update_toxic("a", "t", {"latency": 7})
    assert (updated.attributes, updated.toxicity) == ({"latency": 7, "jitter": 1}, 0.5)
    assert client.update_toxic("a", "t", {}, toxicity=1).toxicity == 1
    assert client.toxic("a", "t") == client.update_toxic("a", "t", {})
    client.remove_toxic("a", "t")
    assert client.toxic("a", "t") is None


def test_names_are_quoted(client):
    """A name with a space, a question mark and a percent sign is one name."""
    client.create_proxy("a b?%41", LISTEN, UPSTREAM)
    client.add_toxic("a b?%41", "t #1", "noop", "downstream", 1, {})
    assert client.toxic("a b?%41", "t #1") is not None
    client.remove_toxic("a b?%41", "t #1")
    client.delete_proxy("a b?%41")
    assert client.proxies() == {}


def test_what_is_refused_is_told_with_the_servers_words(client):
    """And its status: 409 for a name that is there, 404 for one that is not."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    client.add_toxic("a", "t", "noop", "downstream", 1, {})
    for status, words, act in (
        (409, "proxy already exists", lambda: client.create_proxy("a", LISTEN, UPSTREAM)),
        (409, "toxic already exists", lambda: client.add_toxic("a", "t", "noop", "downstream", 1, {})),
        (404, "proxy not found", lambda: client.delete_proxy("b")),
        (404, "toxic not found", lambda: client.remove_toxic("a", "u")),
        (404, "no toxic u", lambda: client.update_toxic("a", "u", {})),
        (400, "stream was invalid", lambda: client.add_toxic("a", "v", "noop", "sideways", 1, {})),
    ):
        with pytest.raises(ProxyRefused, match=words) as caught:
            act()
        assert caught.value.status == status


def test_what_cannot_be_done_is_told(client):
    """A 500 is ProxyFailed with the server's words, not a KeyError."""
    with pytest.raises(ProxyFailed, match="missing port"):
        client.create_proxy("a", "foo", UPSTREAM)
    assert issubclass(ProxyFailed, ProxyUnreachable) and issubclass(ProxyUnreachable, OSError)


@pytest.mark.parametrize(
    ("type", "toxicity", "attributes", "words"),
    [
        ("bandwidth", 1, {"rate": -1}, "rate"),
        ("slicer", 1, {}, "average_size"),
        ("slicer", 1, {"average_size": 5, "size_variation": 6}, "size_variation"),
        ("latency", 1, {"jitter": 2**63 - 1}, "jitter"),
        ("latency", 1, {"latencey": 5}, "latencey"),
        ("latency", 2, {}, "toxicity"),
        ("nope", 1, {}, "expected one of"),
    ],
)
def test_what_crashes_toxiproxy_is_not_sent(client, type, toxicity, attributes, words):
    """It is a ValueError, and the server lives."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    with pytest.raises(InvalidToxic, match=words):
        client.add_toxic("a", "t", type, "downstream", toxicity, attributes)
    assert client.proxies()["a"].toxics == ()


def test_an_update_is_checked_as_a_whole(client):
    """Against the attributes that stay."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    client.add_toxic("a", "t", "slicer", "downstream", 1, {"average_size": 10})
    with pytest.raises(InvalidToxic):
        client.update_toxic("a", "t", {"size_variation": 10})


def test_counts_come_from_the_embedded_proxy_only(api, client):
    """A stock Toxiproxy has none."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    client.add_toxic("a", "t", "noop", "downstream", 1, {})
    assert client.counts("a", "t") == ({"connections": 0, "bytes": 0, "applied": 0} if api.embedded else {})


def test_leases_are_renewed(api, client):
    """On the embedded proxy by holder; on a stock Toxiproxy there is nothing to renew."""
    assert client.renew("run", 60_000) is not api.embedded
    client.create_proxy("a", LISTEN, UPSTREAM, lease=Lease("run", 50_000))
    assert client.renew("run", 60_000) is True
    if api.embedded:
        (lease,) = api.request("GET", "/leases").json["leases"]
        assert (lease["holder"], lease["ttl_ms"], lease["proxies"]) == ("run", 60_000, ["a"])


def test_heal_takes_away_and_may_be_repeated(api, client):
    """Each kind of undo, twice, and once more when everything is gone."""
    client.create_proxy("a", LISTEN, UPSTREAM)
    client.add_toxic("a", "t", "noop", "downstream", 1, {})
    client.set_enabled("a", False)
    toxic, proxy = RemoveToxic(api=api.url, proxy="a", toxic="t"), EnableProxy(api=api.url, proxy="a")
    gone = DeleteProxy(api=api.url, proxy="a")
    for _ in range(2):
        heal(toxic)
        heal(proxy)
    assert client.proxy("a").enabled and client.proxy("a").toxics == ()
    for undo in (gone, gone, toxic, proxy):
        heal(undo)
    assert client.proxies() == {}


def test_heal_says_when_it_could_not(api, client):
    """A port that somebody else has taken: OSError, not success."""
    listen = client.create_proxy("a", LISTEN, UPSTREAM).listen
    client.set_enabled("a", False)
    host, _, port = listen.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(ProxyUnreachable, match="in use"):
        heal(EnableProxy(api=api.url, proxy="a"))
    heal(EnableProxy(api=api.url, proxy="a"))


def test_two_servers_in_one_process(embedded, own_proxy):
    """Threads that talk to different servers do not mix, unlike in the package."""
    servers = {"one": ToxiproxyServer(embedded.url), "two": ToxiproxyServer(own_proxy().url)}

    def use(name: str) -> None:
        for number in range(20):
            servers[name].create_proxy(f"{name}-{number}", LISTEN, UPSTREAM)

    threads = [threading.Thread(target=use, args=(name,)) for name in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, server in servers.items():
        assert set(server.proxies()) == {f"{name}-{number}" for number in range(20)}


def test_the_package_by_itself_works_as_before(embedded):
    """Outside of our calls its own host and port are used."""
    host, _, port = embedded.url.removeprefix("http://").partition(":")
    package = toxiproxy.Toxiproxy()
    package.update_api_consumer(host, port)
    assert package.create(upstream=UPSTREAM, name="own").listen.startswith("127.0.0.1:")
    assert set(package.proxies()) == {"own"}


def test_environment_proxies_are_not_used(embedded, monkeypatch):
    """HTTP_PROXY is not for an API on loopback."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ToxiproxyServer(embedded.url).version() == "2.12.0"


def test_nobody_there():
    """ProxyUnreachable, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ProxyUnreachable, match=rf"127\.0\.0\.1:{port}"):
        ToxiproxyServer(f"http://127.0.0.1:{port}").proxies()


def test_somebody_who_never_answers(upstream):
    """ProxyUnreachable after the time-out."""
    server = upstream(lambda sock: sock.recv(1 << 20) and sock.recv(1))
    with pytest.raises(ProxyUnreachable, match=r"within 0\.2 s"):
        ToxiproxyServer(f"http://{server.address}", timeout_s=0.2).proxies()


def test_somebody_else_answers(upstream):
    """A web server that is no Toxiproxy is told from one."""

    def page(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<html")

    server = ToxiproxyServer(f"http://{upstream(page).address}")
    for act in (server.version, server.proxies, lambda: server.create_proxy("a", LISTEN, UPSTREAM)):
        with pytest.raises(ProxyFailed, match="no Toxiproxy"):
            act()


def test_a_token_is_sent(own_proxy):
    """Without it every call is refused, heal too."""
    api = own_proxy("--token-env", "PROXY_TOKEN", env={"PROXY_TOKEN": "secret"})
    assert ToxiproxyServer(api.url, token="secret").proxies() == {}
    with pytest.raises(ProxyRefused, match="token"):
        ToxiproxyServer(api.url).proxies()
    undo = DeleteProxy(api=api.url, proxy="a")
    with pytest.raises(ProxyUnreachable, match="token"):
        heal(undo)
