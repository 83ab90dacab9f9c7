"""The metrics that load sends: names, units, attributes. Semantic-convention names where there is one.

Every point carries `brownout.phase` (the phase of the operation's intended start) and `brownout.workload`.
Durations are histograms in seconds, from the intended start of the operation to its end, retries included.
`error.type` is present exactly when it failed: `timeout`, `connection_refused`, `connection_reset`,
`connection_closed`, `unreachable` (no such host, no route), `protocol_error`, `incomplete_stream`,
`environment_error`, `trajectory_mismatch` (a reply says otherwise than the script or the recording),
`mispaired` (a reply that echoes another request's nonce, where the client looks),
`unscored` (a judge's reply without a usable verdict), `stale` (a search whose reply is older than what the
client knows), `tool_error` (a tool's result that says `isError`), `-32603` and other codes of JSON-RPC
(`rpc_error`: a code that it does not reserve), `check_failed` (a reply that a step's checks do not allow),
`extract_failed` (one without a value that a step takes), `not_sent` (a step whose values were never given:
nothing went out), `unfinished`, `generator_error` (the generator ran out of something, or has a defect: not
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
OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
"""Histogram, s. Of streamed chat completions: from one chunk to the next, for each but the first."""
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a metric's name
"""Histogram, {token}. `gen_ai.token.type` is `input` or `output`, as the reply's usage counts them."""
HTTP_OPERATION: Final = "brownout.operation.duration"
"""Histogram, s. One request of a plain HTTP user, retries included; `brownout.operation` is its name. Or a
program (`program`), or a sample of it, by its scorer's name: `error.type` is `exit_N`, `signal_N`, `timeout`,
`not_started`, `log_missing` or `log_damaged` of programs; of samples the log's own error by its name,
`missing`, `sample_error`, `test_failure` or `test_error`."""
HTTP_REQUEST: Final = "http.client.request.duration"
"""Histogram, s. One HTTP request on the wire; `http.request.method`, `http.response.status_code`."""
ATTEMPTS: Final = "brownout.attempts"
"""Sum. Tries on the wire, of any protocol, each with its own `error.type`; `brownout.operation`."""
STREAMS: Final = "brownout.streams"
"""Sum. Reply streams; `brownout.stream.terminal` is `true` when the terminal event was seen, else `false`."""
STREAM_TERMINAL: Final = "brownout.stream.terminal"
STALLS: Final = "brownout.stream.stalls"
"""Sum. Pauses within reply streams that were longer than the profile's `stall`."""
ARRIVALS: Final = "brownout.arrivals"
"""Sum. `brownout.arrival.state`: `served`, `late` (begun over 10 ms after its time), `dropped` (never),
`lost` (its worker was gone; counted by another)."""
ARRIVAL_STATE: Final = "brownout.arrival.state"
USERS: Final = "brownout.users"
"""Gauge. Arrivals that are open."""
UTILIZATION: Final = "brownout.generator.utilization"
"""Gauge, 1. The share of a core that the worker used since its last report; near 1 latencies are its own."""

FINAL: Final = "brownout.generator.final"
"""Gauge, 1. Sent once, with a worker's last report: its numbers and its history are complete."""

TOOL_DURATION: Final = "mcp.client.operation.duration"
"""Histogram, s. A request by MCP, retries included; `mcp.method.name`, `gen_ai.tool.name`,
`mcp.protocol.version`. `error.type` is `tool_error` also where a client takes one for an answer."""
TOOL_SESSION: Final = "mcp.client.session.duration"
"""Histogram, s. A session by MCP, or as many requests as would be one; `mcp.protocol.version`."""
EXECUTIONS: Final = "executions"
"""The operation that asks how often a call was executed; `exactly-once` reads its rows."""

GRADES: Final = "brownout.grades"
"""Sum. Answers shown to a judge; `brownout.grade.state` is `scored`, or why there is no score: `missing`,
`malformed`, `ambiguous`, `out_of_scale`, `not_finite`, `mispaired` (another request's verdict),
`inconsistent`, `failed` (no reply, or none that is a completion), `unfinished`."""
GRADE_STATE: Final = "brownout.grade.state"

SEARCHES: Final = "brownout.searches"
"""Sum. Searches; `brownout.search.state` is `fresh`, `stale` (the index, or a document, was older than what
was known to be there), `failed` or `unfinished`."""
SEARCH_STATE: Final = "brownout.search.state"
RECALL: Final = "brownout.search.recall"
"""Histogram, 1. The share of a query's relevant documents that its reply held."""
RECIPROCAL_RANK: Final = "brownout.search.reciprocal_rank"
"""Histogram, 1. One over the place of a reply's first relevant document, 0 without one; its mean: the MRR."""

PRIMARY: Final[dict[str, str]] = {
    "episode": STEP_DURATION,
    "chat": CHAT_DURATION,
    "tools": TOOL_DURATION,
    "grader": CHAT_DURATION,
    "search": HTTP_OPERATION,
    "http": HTTP_OPERATION,
    "replay": HTTP_OPERATION,
    "command": HTTP_OPERATION,
    "python": HTTP_OPERATION,
}
"""The duration histogram that tells how one kind of user fares; default fault effects read it."""

DURATION_BOUNDARIES_S: Final = tuple(round(0.001 * 2 ** (i / 4), 6) for i in range(79))
"""Default boundaries of duration histograms: 1 ms to about 741 s, four a doubling, to see a rise by half."""
TOKEN_BOUNDARIES: Final[tuple[float, ...]] = tuple(float(4**i) for i in range(14))
SHARE_BOUNDARIES: Final = tuple(i / 10 for i in range(11))
"""Of histograms of shares: tenths. A share of 0.9 is in the bucket up to 0.9."""
