"""The client asks for TLS: of the embedded proxy, and of a stock Toxiproxy, which has none."""

from __future__ import annotations

import httpx
import pytest

from chaos.faults.toxiproxy import ProxyRefused, ToxiproxyServer
from tests.proxy.layer7.tls_peers import Authority, app

LISTEN = "127.0.0.1:0"


@pytest.fixture
def client(api):
    """A client of each of the two servers."""
    return ToxiproxyServer(api.url)


@pytest.mark.parametrize(("upstream", "tls"), [("https://localhost", False), ("127.0.0.1:1", True)])
def test_a_stock_toxiproxy_is_not_asked_for_tls(api, client, upstream, tls):
    """It would take the words and do nothing: refused before it is asked, with the remedy; nothing is made."""
    if api.embedded:
        assert client.create_proxy("a", LISTEN, upstream, tls=tls).upstream == upstream
        return
    with pytest.raises(ProxyRefused, match="speaks no TLS; leave out `toxiproxy:`, or point it at"):
        client.create_proxy("a", LISTEN, upstream, tls=tls)
    assert client.proxies() == {}


def test_the_embedded_proxy_is(embedded, tmp_path):
    """What it is told goes through: whom to trust, and whether at all."""
    authority = Authority(tmp_path)
    client = ToxiproxyServer(embedded.url)
    with app(authority.files("localhost")) as port:
        trusting = client.create_proxy("a", LISTEN, f"https://localhost:{port}", upstream_ca=authority.path)
        blind = client.create_proxy("b", LISTEN, f"https://127.0.0.1:{port}", upstream_verify=False)
        strict = client.create_proxy("c", LISTEN, f"https://localhost:{port}")
        with httpx.Client(trust_env=False) as web:
            for proxy in (trusting, blind):
                assert web.get(f"http://{proxy.listen}/headers").json()["scheme"] == "https"
            with pytest.raises(httpx.TransportError):
                web.get(f"http://{strict.listen}/headers")
