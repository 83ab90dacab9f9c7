"""The embedded fault proxy: Toxiproxy 2.12's HTTP API and toxics, on uvloop, with nothing to install but pip.

Invariant: a connection from which a toxic has taken data away never goes on as if nothing had happened; it
is closed or reset, at the latest when the toxic is removed. All else that is held is released, in order.

Wanted differences from Toxiproxy 2.12 (what it does there), and why:

- A toxic strikes a connection when hash(seed, proxy, ordinal of the connection, toxic, stream) is below its
  toxicity (unseeded; `-seed` has no effect): a run can be repeated.
- An update keeps each connection's draw and compares it with the new toxicity (any change in the stream draws
  again): changing a latency must not change who is struck.
- Attributes out of range and toxicities outside 0..1 are refused with 400 (accepted; some crash the server):
  one bad request must not end all faults.
- SO_LINGER 0 is set at the moment that a reset fires, on live connections too (on all that are opened since,
  on none that is live): ordinary closes stay FIN, resets are RST.
- A half-close is passed on (becomes a full close, the reply is lost).
- Removing `timeout` closes the connections that it struck (all, at toxicity 0 too): healing must not disturb
  who was not struck. Removing `reset_peer` resets at once those that it has begun to (when their time comes).
- /populate and PATCH change all or nothing (keep what came before the failure).
- A `listen` that is empty or names no host binds to loopback (all interfaces).
- A disabled proxy keeps its port reserved: bound, not listening (free for others to take).
- /reset tries every proxy and then tells the first error (stops at it).
- Upstreams are dialled side by side (one after the other): a slow one delays only its own client.
- Counts per toxic, `GET /proxies/P/toxics/T/counts` and on /metrics (none): evidence that a fault acted.
- Leases, below (none): a fault goes when its conductor has died.
- An optional bearer token (none): without one the API binds to loopback only.
- No stray `"Logger":{}` in proxies; a path with doubled slashes is 404 (301).

Leases: the body that creates a toxic or a proxy, or a PATCH of a proxy with `enabled: false`, may carry
`"lease": {"holder": "run-id", "ttl_ms": 10000}`. When a holder has not renewed for its `ttl_ms`, its toxics
are removed, the proxies that it disabled are enabled, and the proxies that it created are deleted.

    GET /leases            {"leases": [{"holder", "ttl_ms", "expires_in_ms", "toxics", "proxies"}]};
                           toxics as "PROXY/TOXIC", proxies that it created or disabled by name
    POST /leases/HOLDER    {"ttl_ms": N} renews everything of the holder; 404 `lease not found`
    DELETE /leases/HOLDER  heals all of it now; 204

`GET /version` answers `{"version": "2.12.0", "brownout": "0.1.0"}`, so that clients can tell.
"""
