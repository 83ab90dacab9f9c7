"""`brownout run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaos.cli.completion import complete_runnable

if TYPE_CHECKING:
    from chaos.healing import Left
    from chaos.remote import Remote


@click.command("run")
@click.argument(
    "experiments", nargs=-1, required=True, metavar="EXPERIMENT...", shell_complete=complete_runnable
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat a run's draws; random if left out.")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. spec.phases.fault=20s."
)
@click.option("--target", help="Run against another target than the experiment's own.")
@click.option(
    "--toxiproxy",
    metavar="URL",
    help="Inject through this Toxiproxy (http://host:8474), not the embedded proxy.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="How many load processes share the arrivals; as many as the planned rate needs if left out.",
)
@click.option(
    "--master-bind",
    metavar="HOST:PORT",
    help="Take the load from other machines: where `brownout worker` there reaches this one.",
)
@click.option(
    "--remote-workers", type=click.IntRange(1, 1000), metavar="N", help="How many worker processes come."
)
@click.option(
    "--worker-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The token that they show; else BROWNOUT_WORKER_TOKEN holds it.",
)
@click.option("--bind-everywhere", is_flag=True, help="Let --master-bind be 0.0.0.0 or [::].")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where run folders go (./runs)."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the verdicts as JSON on stdout; progress on stderr."
)
@click.option("--no-color", is_flag=True, help="Plain text.")
@click.option(
    "--despite-leftovers",
    is_flag=True,
    help="Run even where a dead run's faults on this target or proxy server could not be healed.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say every event as it happens.")
@click.pass_obj
def command(
    leftovers: tuple[Left, ...] | None,
    experiments: tuple[str, ...],
    seed: int | None,
    sets: tuple[str, ...],
    target: str | None,
    toxiproxy: str | None,
    workers: int | None,
    master_bind: str | None,
    remote_workers: int | None,
    worker_token_file: Path | None,
    bind_everywhere: bool,
    out: Path | None,
    as_json: bool,
    no_color: bool,
    despite_leftovers: bool,
    verbose: bool,
) -> int:
    """Run experiments, or a suite: its members are judged together, each against what is expected of it.

    An EXPERIMENT is a name (see `brownout list`) or the path of a YAML file.
    """
    from chaos.invocation import Options, invoke

    options = Options(
        references=experiments,
        seed=seed,
        sets=sets,
        target=target,
        toxiproxy=toxiproxy,
        workers=workers,
        remote=_remote(master_bind, remote_workers, worker_token_file, bind_everywhere, workers),
        out=out,
        as_json=as_json,
        no_color=no_color,
        verbose=verbose,
        leftovers=() if despite_leftovers else leftovers or (),
    )
    return int(invoke(options))


def _remote(
    bind: str | None, count: int | None, token_file: Path | None, everywhere: bool, workers: int | None
) -> Remote | None:
    """What was asked for of other machines. Raises click.UsageError, BadInput."""
    from chaos.remote import remote

    if bind is None:
        if count is not None or token_file is not None or everywhere:
            raise click.UsageError("--remote-workers and its companions need --master-bind")
        return None
    if workers is not None:
        raise click.UsageError("the load comes from here (--workers) or from elsewhere (--master-bind)")
    return remote(bind, count, token_file, everywhere=everywhere)
