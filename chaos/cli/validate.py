"""`brownout validate`: are these documents right?"""

from __future__ import annotations

import click


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
def command(paths: tuple[str, ...]) -> None:
    """Check documents: files, folders with all below them, or names.

    Prints how many were checked, or everything that is wrong with them, with file, line and column.
    """
    from chaos.documents.checking import validate_paths
    from chaos.documents.problems import BadInput
    from chaos.documents.project import find_project
    from chaos.proxy_servers import layer7_refused

    checked = validate_paths(paths, find_project())
    problems, notes = layer7_refused(checked.experiments)
    if checked.problems or problems:
        raise BadInput([*checked.problems, *problems])
    for note in notes:
        click.echo(f"note: {note}", err=True)
    documents = "1 document" if checked.documents == 1 else f"{checked.documents} documents"
    files = "1 file" if checked.files == 1 else f"{checked.files} files"
    click.echo(f"ok: {documents} in {files}")
