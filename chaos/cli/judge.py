"""`brownout judge`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("judge")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option("--no-color", is_flag=True, help="Plain text.")
def command(run: Path, as_json: bool, no_color: bool) -> int:
    """Judge RUN (a run folder) again from its journal, metrics and history; nothing is started or written.

    The verdict is the same as when the run ended. The exit code is the verdict's.
    """
    from chaos.evidence import gather
    from chaos.judge import judge
    from chaos.outcomes import show_verdict

    verdict = judge(gather(run))
    show_verdict(verdict, run, as_json=as_json, no_color=no_color)
    return verdict.exit_code
