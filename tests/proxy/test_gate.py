"""Secure by default: who may use the API, the same as with Toxiproxy where it has a rule of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.proxy.vitals import ROOT, WAIT_S, until

TOKEN = "s3cret-t0ken"
ROUTES = (
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
    ("POST", "/reset"),
    ("POST", "/populate"),
    ("GET", "/leases"),
    ("POST", "/leases/h"),
    ("DELETE", "/leases/h"),
    ("GET", "/proxies"),
    ("POST", "/proxies"),
    *((method, "/proxies/p") for method in ("GET", "POST", "PATCH", "DELETE")),
    *((method, "/proxies/p/toxics") for method in ("GET", "POST")),
    *((method, "/proxies/p/toxics/t") for method in ("GET", "POST", "PATCH", "DELETE")),
    ("GET", "/proxies/p/toxics/t/counts"),
)
BEARERS = (
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"bearer {TOKEN}",
    f"Bearer {TOKEN} ",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer  {TOKEN}",
    f"Basic {TOKEN}",
    TOKEN,
    "Bearer " + "x" * 10_000,
    "Bearer s\xe9cret",
)


@pytest.fixture(scope="module")
def guarded(embedded_server, tmp_path_factory):
    """A proxy's process with a token, as a path to its log and a function that asks."""
    log = tmp_path_factory.mktemp("gate") / "log"
    command = [sys.executable, "-m", "chaos.proxy", "--port", "0", "--metrics", "--token-env", "GATE_TOKEN"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"GATE_TOKEN": TOKEN}, stdout=subprocess.PIPE, stderr=stderr
        )
    with process:
        yield type(embedded_server)(json.loads(process.stdout.readline())["api"], True, process), log
        process.terminate()
        process.wait(WAIT_S)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_asks_for_the_token(guarded, method, path):
    """401, with what is missing and the header that HTTP wants with it; also from a browser's page by name."""
    api, _ = guarded
    reply = api.request(method, path)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    if method != "HEAD":
        assert reply.json == {"error": "unauthorized: a bearer token is needed", "status": 401}
    assert api.request(method, path, Host="elsewhere.example").status == 401


@pytest.mark.parametrize("bearer", BEARERS)
def test_nothing_but_the_token_is_taken(guarded, bearer):
    """Not a part of it, not more than it, not in another form. Blanks at its end are no part of a header."""
    api, _ = guarded
    reply = api.request("GET", "/proxies", Authorization=bearer)
    assert reply.status == (200 if bearer.rstrip() == f"Bearer {TOKEN}" else 401)


def test_the_token_opens_and_is_never_logged(guarded):
    """Nor are those that were tried; no reply has it either."""
    api, log = guarded
    given = {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
    replies = [
        api.request("POST", "/proxies", body, **given),
        api.request("POST", "/proxies", b"nonsense", **given),
        api.request("GET", "/metrics", Host="elsewhere.example", **given),
        api.request("DELETE", "/proxies/a", **given),
    ]
    assert [reply.status for reply in replies] == [201, 400, 200, 204]
    assert not any(TOKEN.encode() in reply.body for reply in replies)
    until(lambda: "proxy-deleted" in log.read_text(), "the log")
    assert TOKEN not in log.read_text()
    assert TOKEN[:-1] not in log.read_text()


# --- browsers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/"])
@pytest.mark.parametrize("path", ["/version", "/proxies"])
def test_a_browser_is_refused(api, agent, path):
    """On both servers, and on no route that does not exist."""
    reply = api.request("GET", path, User_Agent=agent)
    assert (reply.status, reply.body) == (403, b"User agent not allowed\n")
    assert api.request("GET", "/nothing", User_Agent=agent).status == 404


@pytest.mark.parametrize("agent", ["", "mozilla/5.0", "curl/8 Mozilla/5.0", "Mozilla"])
def test_what_is_no_browser_is_served(api, agent):
    """On both servers."""
    assert api.request("GET", "/version", User_Agent=agent).status == 200


# --- names that are not ours --------------------------------------------------------------------------------

OURS = (
    "localhost",
    "LOCALHOST:8474",
    "a.localhost",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:1",
    "[::1]",
    "[::1]:8474",
    "10.1.2.3",
)
OTHERS = (
    "elsewhere.example",
    "elsewhere.example:8474",
    "localhost.example",
    "127.0.0.1.example",
    "notlocalhost",
    "::x",
)


def with_host(api, host: str):
    """The reply to a request with that Host."""
    return api.request("GET", "/version", Host=host)


@pytest.mark.parametrize("host", OURS)
def test_our_own_names_are_served(api, host):
    """On both servers."""
    assert with_host(api, host).status == 200


@pytest.mark.parametrize("host", OTHERS)
def test_a_name_that_is_not_ours_is_refused(embedded, host):
    """As a page in a browser could use it that made its name mean 127.0.0.1, with another User-Agent."""
    reply = with_host(embedded, host)
    assert reply.status == 403
    assert b"host not allowed" in reply.body and host.encode() in reply.body


def test_the_name_that_it_was_told_is_served(own_proxy):
    """`--host` may be a name; this one is not special otherwise."""
    api = own_proxy("--host", "localhost")
    assert with_host(api, "localhost").status == 200
    assert with_host(api, "elsewhere.example").status == 403


def test_it_listens_on_loopback_only(embedded):
    """The API, and proxies whose `listen` names no host."""
    assert embedded.url.startswith("http://127.0.0.1:")
    body = {"name": "a", "listen": ":0", "upstream": "127.0.0.1:1"}
    assert embedded.request("POST", "/proxies", body).json["listen"].startswith("127.0.0.1:")
