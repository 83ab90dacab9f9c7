"""`brownout proxy`: the embedded fault proxy, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="proxy")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option(
    "--port", default=8474, show_default=True, type=click.IntRange(0, 65535), help="The API's port; 0: any."
)
@click.option("--seed", type=int, help="Decides which connections are struck; drawn and logged if left out.")
@click.option("--metrics", is_flag=True, help="Serve Prometheus metrics at /metrics.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Proxies to create at the start: JSON as for POST /populate.",
)
@click.option(
    "--token-env", metavar="NAME", help="The environment variable that holds the API's bearer token."
)
def command(
    host: str,
    port: int,
    seed: int | None,
    metrics: bool,
    config: Path | None,
    token_env: str | None,
) -> None:
    """Run the embedded fault proxy: Toxiproxy's HTTP API and toxics.

    It prints one line of JSON when it is ready, {"ready": true, "api": "http://127.0.0.1:8474"}, logs to
    stderr, and heals everything when it gets SIGTERM or SIGINT.
    """
    import os

    from chaos.proxy.server import Settings, SettingsError, run

    token = os.environ.get(token_env) if token_env else None
    if token_env and not token:
        raise click.UsageError(
            f"--token-env {token_env}: expected a token in that variable, it is empty or not set"
        )
    settings = Settings(host, port, seed, metrics, config, token)
    try:
        run(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        click.echo(f"brownout proxy: {error}", err=True)
        raise SystemExit(3) from error
