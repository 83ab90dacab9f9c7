"""`brownout worker`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("worker")
@click.option("--master", required=True, metavar="HOST:PORT", help="What the run says at --master-bind.")
@click.option(
    "--processes", type=click.IntRange(1, 1000), metavar="N", help="How many; one for each core if left out."
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The token of the run; else BROWNOUT_WORKER_TOKEN holds it.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where histories are until they are collected; a new one for temporary files if left out.",
)
@click.option("--keep", is_flag=True, help="Serve one run after another, until interrupted.")
def command(
    master: str, processes: int | None, token_file: Path | None, folder: Path | None, keep: bool
) -> int:
    """Send load for a `brownout run --master-bind` on another machine.

    Both sides prove to each other that they hold the same token. A worker stops by itself when it has not
    heard of its run for the run's lease.
    """
    from chaos.elsewhere import serve
    from chaos.remote import address_of, read_token
    from chaos.sizing import cores

    address = address_of(master, "--master")
    return serve(address, processes or cores(), read_token(token_file), folder, keep=keep)
