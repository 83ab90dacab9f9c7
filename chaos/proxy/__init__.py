"""The embedded fault proxy: Toxiproxy 2.12's HTTP API and toxics, on uvloop, with nothing to install but pip.

Invariant: a connection from which a toxic has taken data away never goes on as if nothing had happened; it
is closed or reset, at the latest when the toxic is removed. All else that is held is released, in order.

Wanted differences from Toxiproxy 2.12 (what it does there), and why. This is the one list of them: the tests
in tests/proxy/test_differences*.py show each by its name; in all else test_differential.py holds both equal:

- seed: A toxic strikes a connection when hash(seed, proxy, ordinal of the connection, toxic, stream) is below
  its toxicity (unseeded; `-seed` has no effect): a run can be repeated.
- draw: An update keeps each connection's draw and compares it with the new toxicity (any change in the stream
  draws again): changing a latency must not change who is struck.
- validation: Attributes out of range and toxicities outside 0..1 are refused with 400 (accepted; some crash
  the server): one bad request must not end all faults.
- linger: SO_LINGER 0 is set at the moment that a reset fires, on live connections too (on all that are opened
  since, on none that is live): ordinary closes stay FIN, resets are RST.
- half-close: A half-close is passed on (becomes a full close, the reply is lost).
- timeout: Removing `timeout` closes the connections that it struck (all, at toxicity 0 too): healing must not
  disturb who was not struck.
- reset: Removing `reset_peer` resets at once those that it has begun to (waits until their time comes): a
  heal must not take as long as the fault's delay.
- neighbours: A toxic that is added or removed leaves alone what its neighbours hold (the one before lets a
  chunk go): injecting one fault must not lift another.
- update: An update lets go all that the toxic itself holds (one chunk): what comes then meets the new values
  only.
- atomic: /populate and PATCH change all or nothing (keep what came before the failure): a call that failed
  can be made again.
- twice: /populate refuses a name that is there twice (creates, then replaces it): one of them is a mistake.
- loopback: A `listen` that is empty or names no host binds to loopback (all interfaces): faults are private.
- port: A disabled proxy keeps its port reserved: bound, not listening (free for others to take): it can
  always be enabled again.
- healing: /reset tries every proxy and then tells the first error (stops at it, before it removes that
  proxy's toxics): one proxy that cannot be healed must not keep the faults of all.
- dialling: Upstreams are dialled side by side (one after the other, and changes wait for it): a slow one
  delays only its own client.
- counts: Counts per toxic, `GET /proxies/P/toxics/T/counts` (of removed ones too) and on /metrics (none):
  evidence that a fault acted.
- layer7: Toxics of layer 7, below (none): the faults that corrupt in silence are there.
- draws: A toxic may bear a `seed` and a `draw`, which its draws are then keyed by, in the place of the
  server's seed, the proxy and its own name (none): a run can be repeated where names differ.
- hits: `GET /proxies/P/hits` tells which messages toxics of layer 7 struck (none): findings can be joined to
  their causes.
- tls: A proxy may dial an https upstream and listen by TLS, below (fields ignored, `https://…` no address):
  providers are there by TLS only, and some clients speak nothing else.
- leases: Leases, below (none): a fault goes when its conductor has died.
- times: A toxic, and the disabling of a proxy, may be asked for ahead of their time, below (at once only): a
  fault is on time however busy the machine is.
- token: An optional bearer token (none): without one the API binds to loopback only.
- host: Without a token a request whose Host is neither an address nor localhost nor what `--host` says is 403
  (served): a page in a browser can make a name of its own mean 127.0.0.1.
- limits: What one client may take of the API is bounded: bytes, seconds, connections (seconds are): one that
  misbehaves must not keep others from healing.
- version: `GET /version` answers `{"version": "2.12.0", "brownout": "0.1.0"}` (the first): clients can tell.
- logger: No stray `"Logger":{}` in proxies: it says nothing.
- precision: Toxicities keep double precision (are rounded to 24 bits): what was asked for is what is shown.
- words: What follows `bad request body: ` names the field and what was expected (is in the words of Go's
  decoder).
- ports: A port is a number (or the name of a service): it must not depend on a file of the machine.
- paths: Paths are taken as they are: doubled slashes and dots are not mended (301), and %2F is part of a name
  (404, or 301): every proxy can be reached by its quoted name.
- methods: A method that HTTP does not know is 400 (405): it is no HTTP.
- framing: Requests that two readers could take differently are 400: a length beside chunks, two lengths, bare
  line feeds, folded headers (served): nobody smuggles a request past whoever stands before the API.

Layer 7: a toxic of one of the types of `chaos.proxy.layer7.catalogue` acts on messages. `toxicity` is the
share that it strikes of those that `where` fits; the body that creates it may also carry `"where": {…}` (see
`chaos.proxy.layer7.where`), `"id": {"header": NAME}` or `{"json": POINTER}`, and `"persist": "request"` (see
`chaos.proxy.layer7.identity`). A proxy that is created with `"protocol": "http"` reads each connection from
its first byte; any other begins where it can when the toxic comes. Counts have `matched`, `unread` too.

    GET /proxies/P/hits?after=N    {"hits": [{"number", "at_ms", "toxic", "type", "what", "id", "trace",
                                   "applied", …}], "missed"}; a page of those after number N, oldest first

TLS: a proxy's `upstream` may be `https://HOST[:PORT]`. Certificate and name are verified, by the system's
authorities and those in the PEM file `"upstream_ca": PATH`, unless `"upstream_verify": false`; where that
fails, connections end, counted as unreached, and the log says why. Connections are read as HTTP then, and
Host becomes the upstream's own (see `chaos.proxy.layer7.requests`). With `"tls": true` a proxy listens by
TLS as localhost, as what `listen` names, and as the upstream's host; it shows `"tls": {"ca": PATH}`, the
certificate to trust, of a CA that ends with the process. Both sides agree on HTTP/1.1 only (ALPN). The three
stay as a proxy was made with them.

Leases: the body that creates a toxic or a proxy, or a PATCH of a proxy with `enabled: false`, may carry
`"lease": {"holder": "run-id", "ttl_ms": 10000}`. When a holder has not renewed for its `ttl_ms`, its toxics
are removed, the proxies that it disabled are enabled, and the proxies that it created are deleted.

    GET /leases            {"leases": [{"holder", "ttl_ms", "expires_in_ms", "toxics", "proxies"}]};
                           toxics as "PROXY/TOXIC", proxies that it created or disabled by name
    POST /leases/HOLDER    {"ttl_ms": N} renews everything of the holder; 404 `lease not found`
    DELETE /leases/HOLDER  heals all of it now; 204

Times: the body that creates a toxic, or a PATCH with `enabled: false`, may carry `"at_ms": T` (Unix
milliseconds, a minute away at most). The toxic is listed at once and acts from T on, at the end of its chain
as it is then; the proxy is disabled at T. Both then show `since_ms`, when it was. What heals them before T
makes that T does not come.
"""
