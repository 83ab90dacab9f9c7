"""`brownout init`: a folder of one's own, to begin with."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Make the folder NAME with a project of your own; it validates and runs as it is.

    Target, experiment, load profile, objective and runbook are called after it. Nothing is overwritten.
    """
    from pathlib import Path

    from chaos.documents.problems import BadInput, shown_path
    from chaos.documents.scaffold import lay_out

    folder = Path(name).absolute()
    try:
        files = lay_out(folder)
    except OSError as error:
        raise BadInput.of(name, f"cannot be written: {(error.strerror or str(error)).lower()}") from error
    for path in files:
        click.echo(f"wrote {shown_path(str(path))}")
    click.echo(f"next: cd {name} && brownout validate . && brownout run {folder.name}-slow")
