"""The embedded fault proxy: Toxiproxy 2.12's HTTP API and toxics, on uvloop, with nothing to install but pip.

Invariant: a connection from which a toxic has taken data away never goes on as if nothing had happened; it
is closed or reset, at the latest when the toxic is removed. Everything else that is held is released in order.

Wanted differences from Toxiproxy 2.12, and why:

| here | Toxiproxy | why |
|---|---|---|
| a toxic strikes a connection when hash(seed, proxy, connection ordinal, toxic, stream) < toxicity | unseeded; `-seed` has no effect | a run can be repeated |
| an update keeps each connection's draw and compares it with the new toxicity | every change in the stream draws again | an update of a latency must not change who is struck |
| attributes out of range and toxicities outside 0..1 are refused with 400 | accepted; some crash the server | one bad request must not end all faults |
| SO_LINGER 0 is set at the moment a reset fires, on live connections too | set on all new connections, on no live one | ordinary closes stay FIN, resets are RST |
| a half-close is passed on, the other direction goes on | becomes a full close, the reply is lost | clients that shut down their sending side |
| removing `timeout` closes the connections that it struck | closes all, at toxicity 0 too | healing must not disturb who was not struck |
| removing `latency` or `slow_close` releases what is held at once, and a pending end with it | the same data, but it may wait for the next chunk | healing acts now |
| /populate and PATCH change all or nothing | keep what came before the failure | no half-made state to clean up |
| an empty `listen`, or one without a host, binds to loopback | all interfaces | a fault proxy is not for the neighbours |
| a disabled proxy keeps its port reserved (bound, not listening) | frees it | nobody can take the port before it is enabled again |
| connections are dialled side by side | one after the other | a slow upstream delays only its own client |
| counts per toxic: `GET /proxies/{p}/toxics/{t}/counts`, and on /metrics | none | evidence that a fault acted |
| leases (below) | none | a fault goes when its conductor has died |
| an optional bearer token | none | binding beyond loopback |
| no stray `Logger` key in proxies; unknown paths with doubled slashes are 404 | `"Logger":{}`; 301 | nobody reads them |

Leases: the body that creates a toxic or a proxy, or a PATCH of a proxy with `enabled: false`, may carry
`"lease": {"holder": "run-id", "ttl_ms": 10000}`. When a holder has not renewed for its `ttl_ms`, its toxics are
removed, the proxies that it disabled are enabled, and the proxies that it created are deleted.

    GET /leases            {"leases": [{"holder", "ttl_ms", "expires_in_ms", "toxics": ["PROXY/TOXIC"], "proxies"}]}
    POST /leases/HOLDER    {"ttl_ms": N} renews everything of the holder; 404 `lease not found`
    DELETE /leases/HOLDER  heals all of it now; 204

`GET /version` answers `{"version": "2.12.0", "brownout": "0.1.0"}`, so that clients can tell.
"""
