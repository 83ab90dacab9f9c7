"""`brownout heal`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("heal")
@click.argument("run", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(run: Path | None) -> int:
    """Remove everything that unfinished runs left behind: faults first, then processes.

    Each thing is verified to be gone. Runs that are alive, and toxics of other people, are left alone. With
    RUN (a run folder) only that run is healed. Ends with `clean` (exit 0), or says what may still be in place
    (exit 5).
    """
    from chaos.exits import Exit
    from chaos.healing import heal_leftovers, heal_run

    try:
        report = heal_run(run) if run is not None else heal_leftovers()
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for line in report.done:
        click.echo(f"healed: {line}")
    for line in report.alive:
        click.echo(f"alive: {line}")
    if report.left:
        for left in report.left:
            click.echo(f"left in place: {left}", err=True)
        return int(Exit.HEAL_INCOMPLETE)
    click.echo("clean: nothing that a dead run injected or started is left")
    return int(Exit.OK)
