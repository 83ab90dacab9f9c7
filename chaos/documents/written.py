"""Trees back to YAML text that reads as the same tree under 1.2's rules."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from chaos.documents.scalar import is_plain_text
from chaos.documents.tree import Node, plain


class _Dumper(yaml.SafeDumper):
    """Quotes what 1.2 would not read as text, and writes repeated values out instead of aliasing them."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.strip("\n") and "\t" not in text else None
    if not is_plain_text(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def written(trees: Iterable[Node]) -> str:
    """One YAML text of several documents."""
    documents = [plain(tree) for tree in trees]
    text: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=100
    )
    return text.removeprefix("---\n")
