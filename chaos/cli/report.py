"""`brownout report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option("--no-color", is_flag=True, help="Plain text.")
def command(run: Path, as_json: bool, no_color: bool) -> int:
    """Judge RUN (a run folder) and write its verdict.json and reports again; exits 0 when that is done."""
    from chaos.outcomes import conclude, show_verdict

    try:
        verdict = conclude(run)
    except OSError as error:
        raise click.ClickException(f"{run} cannot be written: {error.strerror or error}") from error
    show_verdict(verdict, run, as_json=as_json, no_color=no_color)
    return 0
