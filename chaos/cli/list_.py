"""`brownout list`: what is there to run, and to refer to?"""

from __future__ import annotations

import json

import click


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(as_json: bool) -> None:
    """List experiments, suites, targets, load profiles, objectives and runbooks, and where they are from."""
    from chaos.documents.library import Library
    from chaos.documents.project import find_project

    rows = Library(find_project()).listing()
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=2))
        return
    width = max((len(row.name) for row in rows), default=0)
    for kind in dict.fromkeys(row.kind for row in rows):
        click.echo(f"{kind}s")
        for row in (r for r in rows if r.kind == kind):
            where = f"{row.where}, hides a shipped one" if row.hides_shipped else row.where
            click.echo(f"  {row.name.ljust(width)}  {row.description or '-'}  [{where}]")
