"""The metrics that load sends: names, units, attributes. Semantic-convention names where there is one.

Every point carries `brownout.phase` (the phase of the operation's intended start) and `brownout.workload`.
Durations are histograms in seconds, from the intended start of the operation to its end, retries included.
`error.type` is present exactly when it failed: `timeout`, `connection_refused`, `connection_reset`,
`connection_closed`, `unreachable` (no such host, no route), `protocol_error`, `incomplete_stream`,
`environment_error`, `unfinished`, `generator_error` (the generator ran out of something, or has a defect: not
the service's fault), or the HTTP status such as `500`.

Gauges tell of the moment, not of an operation: they carry no phase, and those of the process no
workload.
"""

from __future__ import annotations

from typing import Final

PHASE: Final = "brownout.phase"
WORKLOAD: Final = "brownout.workload"
OPERATION: Final = "brownout.operation"
ERROR_TYPE: Final = "error.type"

STEP_DURATION: Final = "brownout.step.duration"
"""Histogram, s. A reset or a step of an episode; attribute `brownout.operation` is `reset` or `step`."""
EPISODE_DURATION: Final = "brownout.episode.duration"
"""Histogram, s. A whole episode; `brownout.episode.outcome` is `completed`, `failed` or `unfinished`."""
EPISODE_OUTCOME: Final = "brownout.episode.outcome"
CHAT_DURATION: Final = "gen_ai.client.operation.duration"
"""Histogram, s. A chat completion; `gen_ai.operation.name`, `gen_ai.provider.name`, `gen_ai.request.model`.
"""
FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
"""Histogram, s. Of streamed chat completions."""
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a metric's name
"""Histogram, {token}. `gen_ai.token.type` is `input` or `output`, as the reply's usage counts them."""
HTTP_OPERATION: Final = "brownout.operation.duration"
"""Histogram, s. One request of a plain HTTP user, retries included; `brownout.operation` is its name."""
HTTP_REQUEST: Final = "http.client.request.duration"
"""Histogram, s. One HTTP request on the wire; `http.request.method`, `http.response.status_code`."""
ATTEMPTS: Final = "brownout.attempts"
"""Sum. Tries on the wire, of any protocol, each with its own `error.type`; `brownout.operation`."""
STREAMS: Final = "brownout.streams"
"""Sum. Reply streams; `brownout.stream.terminal` is `true` when the terminal event was seen, else `false`."""
STREAM_TERMINAL: Final = "brownout.stream.terminal"
ARRIVALS: Final = "brownout.arrivals"
"""Sum. `brownout.arrival.state`: `served`, `late` (begun over 10 ms after its time), `dropped` (never)."""
ARRIVAL_STATE: Final = "brownout.arrival.state"
USERS: Final = "brownout.users"
"""Gauge. Arrivals that are open."""
UTILIZATION: Final = "brownout.generator.utilization"
"""Gauge, 1. The share of a core that the worker used since its last report; near 1 latencies are its own."""

FINAL: Final = "brownout.generator.final"
"""Gauge, 1. Sent once, with a worker's last report: its numbers and its history are complete."""

TOOL_DURATION: Final = "mcp.client.operation.duration"
"""Histogram, s. A request by MCP, retries included; `mcp.method.name`, `gen_ai.tool.name`."""

PRIMARY: Final[dict[str, str]] = {
    "episode": STEP_DURATION,
    "chat": CHAT_DURATION,
    "tools": TOOL_DURATION,
    "grader": CHAT_DURATION,
    "search": HTTP_OPERATION,
    "http": HTTP_OPERATION,
    "replay": HTTP_OPERATION,
    "command": HTTP_OPERATION,
}
"""The duration histogram that tells how one kind of user fares; default fault effects read it."""

DURATION_BOUNDARIES_S: Final = tuple(round(0.001 * 2 ** (i / 4), 6) for i in range(79))
"""Default boundaries of duration histograms: 1 ms to about 741 s, four a doubling, to see a rise by half."""
TOKEN_BOUNDARIES: Final[tuple[float, ...]] = tuple(float(4**i) for i in range(14))
