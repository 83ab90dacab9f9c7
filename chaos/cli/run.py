"""`brownout run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaos.cli.completion import complete_runnable

if TYPE_CHECKING:
    from chaos.healing import Left


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
        out=out,
        as_json=as_json,
        no_color=no_color,
        verbose=verbose,
        leftovers=() if despite_leftovers else leftovers or (),
    )
    return int(invoke(options))
