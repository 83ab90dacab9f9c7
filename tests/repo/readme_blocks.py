"""The generated blocks of README.md: made from the code, checked by a test, rewritten by running this file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from chaos.cli import COMMANDS
from chaos.documents.models import FAULT_MODELS

ROOT = Path(__file__).resolve().parents[2]
SHARED = {"name", "place", "at", "for_", "effect", "type", "stream", "toxicity"}


def faults() -> str:
    """A table of all fault types, from the models that validate them."""
    rows = ["| type | what it does | attributes |", "|---|---|---|"]
    for model in FAULT_MODELS:
        (name,) = model.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
        attributes = []
        for field, info in model.model_fields.items():
            if field not in SHARED:
                schema = model.model_json_schema()["properties"][info.alias or field]
                example = (schema.get("examples") or ["a number"])[0]
                attributes.append(f"`{info.alias or field}: {example}`")
        stream = " " if "stream" in model.model_fields else " (no stream or toxicity)"
        what = " ".join((model.__doc__ or "").split())
        rows.append(f"| `{name}` | {what}{stream.rstrip()} | {', '.join(attributes) or '–'} |")
    return "\n".join(rows)


def commands() -> str:
    """A table of all commands."""
    rows = ["| command | what it does |", "|---|---|"]
    rows += [f"| `brownout {name}` | {text} |" for name, (_, text) in COMMANDS.items()]
    return "\n".join(rows)


def rewritten(text: str) -> str:
    """`text` with its generated blocks made anew."""
    for name, made in (("faults", faults()), ("commands", commands())):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{made}\n{end}{after}"

    def file_block(found: re.Match[str]) -> str:
        content = (ROOT / found[1]).read_text().rstrip("\n")
        return f"<!-- file: {found[1]} -->\n```yaml\n{content}\n```\n<!-- /file -->"

    return re.sub(r"<!-- file: (\S+) -->\n.*?<!-- /file -->", file_block, text, flags=re.S)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
    sys.stdout.write("README.md rewritten\n")
