"""Shell completion of names that the library knows."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_runnable(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Experiments and suites whose names begin with what was typed; YAML files come from the shell itself."""
    from chaos.documents.library import Library
    from chaos.documents.problems import BadInput
    from chaos.documents.project import find_project

    try:
        names = Library(find_project()).names(("Experiment", "Suite"))
    except BadInput:
        return []  # a project that is wrong is told by the command, not at the prompt
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
