"""The options of users that call tools by MCP, and the templates of the arguments that they send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from pydantic import Field, JsonValue

from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.pointers import BadPointer
from loadtests.pointers import parse as parse_pointer
from loadtests.templates import BadTemplate, parse, strings
from slo.model import Model
from slo.quantities import Duration

Protocol = Literal["2025-11-25", "2026-07-28"]
"""The generation of MCP. 2025-11-25: sessions, begun by `initialize`. 2026-07-28: each request for itself."""

SESSIONLESS: Final[Protocol] = "2026-07-28"

TEMPLATE_NAMES: Final[Mapping[str, str]] = {
    "id": "names the call in this run, the same for all tries of it: no other run's call has it",
    "nonce": "names the call in every run of the seed, the same for all tries of it",
    "key": "the idempotency key: of the careful client the id; of the naive one another for each try",
    "user": "the user's ordinal, from 0",
    "call": "the call's ordinal in its session, from 1",
    "number": "a whole number drawn for the call, from 0 to 999999",
}
"""What `${NAME}` may stand for in a text of the arguments; `$${` is `${` itself."""

NUMBERS: Final = 1_000_000
"""`${number}` is below this."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE: Final = re.compile(r"[\t -~\xa0-\xff]*")
_OWN_HEADERS: Final = frozenset(
    {
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "traceparent",
        "transfer-encoding",
    }
)
"""Headers that are the protocol's, or the client's: given by a profile they would be there twice."""

_NAME = r"^[A-Za-z0-9_./-]{1,128}$"


class Executions(Model):
    """How the server is asked, at the session's end, how often a call has been executed: by another tool."""

    tool: str = Field(pattern=_NAME, description="A tool that only reads; it is tried again as calls are.")
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="Templates are those of the call that is asked about."
    )
    pointer: str = Field(
        "/executions",
        description="Where the number is in the result's structuredContent, as a JSON Pointer (RFC 6901).",
    )


class DeclaredTool(Model):
    """A tool that calls are drawn from, and what it is called with."""

    name: str = Field(pattern=_NAME)
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description=f"JSON; in its texts ${{NAME}} stands for one of {', '.join(TEMPLATE_NAMES)}.",
    )
    weight: int = Field(1, ge=1, le=1000, description="How often it is drawn, beside the others.")
    expect: str | None = Field(
        None,
        min_length=1,
        description="A text, templates included, that the result must contain; `reward-known` checks it.",
    )
    executions: Executions | None = Field(
        None, description="For `exactly-once`: how the server tells how often a call has been executed."
    )


class ToolsOptions(Model):
    """A session with an MCP server over streamable HTTP: initialize, tools/list, some calls, close."""

    client: ClientManner = Field(
        "careful",
        description="naive: as the stock client in a caller that starts anew: takes a tool's error for an "
        "answer, and tries again without an idempotency key. careful: with one, and it checks replies.",
    )
    protocol: Protocol = Field(
        "2025-11-25", description="2025-11-25 has sessions; in 2026-07-28 each request stands for itself."
    )
    path: str = Field(
        "/mcp", pattern=r"^/", description="As the server has it: redirects are not followed, but told."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent with each request beside those of the protocol."
    )
    calls: int = Field(5, ge=1, le=10_000, description="Tool calls in one session.")
    think: Duration = Field(0.0, ge=0, description="Mean pause before each call.")
    list_tools: bool = Field(True, description="Whether the session begins with tools/list.")
    tools: tuple[DeclaredTool, ...] = Field(
        (), description="What is called; by default the demo's tools, whose right results are known."
    )
    workspaces: int = Field(50, ge=1, description="With the demo's tools: a session is about one of so many.")
    timeout: Duration = Field(10.0, gt=0, description="How long a client waits for the whole of one reply.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="How often one request is tried again.")
    backoff: Duration = Field(0.5, ge=0, description="First pause before a retry; doubles up to 8 s.")
    settle: Duration = Field(
        0.0, ge=0, description="Pause between the last call and asking how often calls were executed."
    )
    connection: Literal["pooled", "fresh"] = "pooled"


class ToolsProfile(Profile):
    """Users that call tools by MCP."""

    user: Literal["tools"]
    with_: ToolsOptions = Field(default_factory=ToolsOptions, alias="with")

    def flaws(self) -> list[Flaw]:
        """Templates that name what there is not, pointers that are none, headers that cannot be sent."""
        return [*super().flaws(), *self._header_flaws(), *self._template_flaws()]

    def _header_flaws(self) -> Iterator[Flaw]:
        for name, value in self.with_.headers.items():
            key = ("with", "headers", name)
            if not _TOKEN.fullmatch(name) or name.lower() in _OWN_HEADERS:
                yield Flaw(key, f"expected a header of your own, such as Authorization, got {name[:60]}")
            elif not _LINE.fullmatch(value):
                yield Flaw(key, "expected one line of Latin-1 text")

    def _template_flaws(self) -> Iterator[Flaw]:
        for number, tool in enumerate(self.with_.tools):
            key: tuple[str | int, ...] = ("with", "tools", number)
            yield from _wrong(tool.arguments, (*key, "arguments"))
            yield from _wrong(tool.expect, (*key, "expect"))
            if tool.executions is not None:
                asked = (*key, "executions")
                yield from _wrong(tool.executions.arguments, (*asked, "arguments"))
                try:
                    parse_pointer(tool.executions.pointer)
                except BadPointer as error:
                    yield Flaw((*asked, "pointer"), str(error))


def _wrong(value: JsonValue, key: tuple[str | int, ...]) -> Iterator[Flaw]:
    """What is wrong with the templates in a JSON value."""
    for steps, text in strings(value, key):
        try:
            names = parse(text).names
        except BadTemplate as error:
            yield Flaw(steps, str(error))
            continue
        for name in names:
            if str(name) not in TEMPLATE_NAMES:
                yield Flaw(
                    steps,
                    f"expected ${{NAME}} with one of {', '.join(TEMPLATE_NAMES)}, got ${{{name}}}",
                    hint="$${ stands for ${ itself",
                )
