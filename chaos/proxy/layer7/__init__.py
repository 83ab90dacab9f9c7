"""Layer 7: connections read as HTTP, event streams, WebSocket and JSON-RPC, and toxics that act there.

Invariant: where no toxic acts not a byte changes, is added, is lost, or changes its place. What is no strict
HTTP/1.1 (another protocol, two lengths, a length beside chunks, heads over 64 KiB) passes untouched and is
counted as unread for each toxic that would have had to read it; it is never guessed at.

Where it is: next to the upstream. Requests come through the toxics of layer 4 first, replies go through them
last, so what a toxic of layer 7 makes up is delayed, cut and slowed like any other reply.

What is struck: a toxic of layer 7 looks at each message (an exchange of HTTP, or a message on a WebSocket)
that its `where` fits. `toxicity` is then the share of these messages, not of connections. Each draw is
hash(seed, draw, id of the message, attempt): see `identity`.

What is held: the head of a request until it is whole; a body only where a toxic has to see it before it can
decide or act, and at most 1 MiB of it. Everything else streams through.
"""
