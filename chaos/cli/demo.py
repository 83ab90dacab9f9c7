"""`brownout demo`: the demo services, in the foreground."""

from __future__ import annotations

import click


@click.command(name="demo")
@click.option(
    "--environment-port",
    default=8001,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0: any free one.",
)
@click.option(
    "--evals-port", default=8002, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where both listen.")
@click.option("--allow-remote", is_flag=True, help="Let --host be an address beyond loopback.")
def command(environment_port: int, evals_port: int, host: str, allow_remote: bool) -> int:
    """Serve the demo environment and the demo evals until Ctrl-C or SIGTERM.

    It prints each service's address once both can be used. They log JSON lines to stderr, and send metrics to
    OTEL_EXPORTER_OTLP_ENDPOINT when that is set.
    """
    from chaos.demo.foreground import Wanted, run

    wanted = (Wanted("environment", environment_port), Wanted("evals", evals_port))
    return run(wanted, host=host, allow_remote=allow_remote)
