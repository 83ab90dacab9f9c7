"""`python -m chaos.demo SERVICE`: serves one demo service until it is told to stop.

Nothing heavy is imported before stdin is watched: a service whose starter dies meanwhile ends as well.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chaos.demo.service import Build

_SHARED = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens."),
    click.option(
        "--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
    ),
    click.option("--allow-remote", is_flag=True, help="Let --host be an address beyond loopback."),
    click.option("--access-log", is_flag=True, help="Log a line per request and connection."),
    click.option("--exit-with-stdin", is_flag=True, help="End when stdin ends, as if told to by SIGTERM."),
)


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    return functools.reduce(lambda done, option: option(done), reversed(_SHARED), function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve one of the demo services in the foreground.

    It prints one line of JSON when it is ready, {"ready": true, "service": ..., "address": "127.0.0.1:PORT"},
    logs JSON lines to stderr, and sends metrics to OTEL_EXPORTER_OTLP_ENDPOINT when that is set.
    """


@main.command()
@_shared
@click.option(
    "--max-sessions",
    default=256,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Sessions that may be open at once.",
)
@click.option(
    "--session-timeout", help="End sessions that were idle for longer, such as 4s; without it none is."
)
def environment(max_sessions: int, session_timeout: str | None, **shared: Any) -> None:
    """A knowledge-work environment: OpenEnv over WebSocket /ws."""

    def importing() -> Build:
        from chaos.demo.environment import build

        timeout_s = None if session_timeout is None else _seconds(session_timeout, "--session-timeout")
        return functools.partial(build, max_sessions=max_sessions, session_timeout_s=timeout_s)

    _run("environment", importing, **shared)


@main.command()
@_shared
@click.option(
    "--chunk-delay",
    default="1ms",
    show_default=True,
    envvar="BROWNOUT_DEMO_CHUNK_DELAY",
    show_envvar=True,
    help="The pause before each word of a completion.",
)
def evals(chunk_delay: str, **shared: Any) -> None:
    """A model endpoint (OpenAI and Anthropic) and a scorer."""

    def importing() -> Build:
        from chaos.demo.evals import build

        return functools.partial(build, chunk_delay_s=_seconds(chunk_delay, "--chunk-delay"))

    _run("evals", importing, **shared)


@main.command()
@_shared
def tools(**shared: Any) -> None:
    """Tools by MCP, at /mcp; one of them counts its executions."""

    def importing() -> Build:
        from chaos.demo.tools import build

        return build

    _run("tools", importing, **shared)


def _seconds(text: str, option: str) -> float:
    """The duration that an option gives. Raises BadParameter."""
    from slo.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _run(
    service: str,
    importing: Callable[[], Build],
    *,
    host: str,
    port: int,
    allow_remote: bool,
    access_log: bool,
    exit_with_stdin: bool,
) -> None:
    from chaos.demo.stdin import StdinWatch

    stdin = StdinWatch() if exit_with_stdin else None
    from chaos.demo.service import AddressRefused, CannotListen, Settings, serve

    settings = Settings(service, host, port, allow_remote, access_log)
    try:
        serve(settings, importing(), stdin)
    except AddressRefused as error:
        raise click.UsageError(str(error)) from error
    except CannotListen as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main(prog_name="python -m chaos.demo")
