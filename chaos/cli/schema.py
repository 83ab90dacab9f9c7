"""`brownout schema`: the documents' JSON Schema."""

from __future__ import annotations

import json

import click

KINDS = ("Experiment", "Target", "LoadProfile", "Suite", "SLO", "Invariant", "Recovery", "Project")


@click.command()
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind of document.")
def command(kind: str | None) -> None:
    """Print the JSON Schema of all documents, so that editors complete and check them."""
    from chaos.documents.document import API_VERSIONS
    from chaos.documents.schema import schema_of

    kinds = tuple(known for known in API_VERSIONS if kind is None or known == kind)
    click.echo(json.dumps(schema_of(kinds), indent=2))
