"""The generated blocks of README.md: made from the code, checked by a test, rewritten by running this file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

from chaos.cli import COMMANDS
from chaos.documents.fault import type_of
from chaos.documents.faults import CommandFault, DownFault, ProcessFault, ToxicFault
from chaos.documents.layer7 import Layer7Fault
from chaos.proxy.layer7.catalogue import LAYER7, Attribute

ROOT = Path(__file__).resolve().parents[2]
SHARED = {"name", "place", "at", "for_", "effect", "type", "stream", "toxicity"}


def _example(model: type, field: str) -> str:
    """A key of a fault with a value that it may have."""
    info = model.model_fields[field]  # type: ignore[attr-defined]
    key = info.alias or field
    schema = model.model_json_schema()["properties"][key]  # type: ignore[attr-defined]
    example = (schema.get("examples") or schema.get("enum") or [schema.get("default", 0)])[0]
    for choice in schema.get("anyOf", ()):
        example = (choice.get("examples") or [example])[0]
    text = f"[{', '.join(example)}]" if isinstance(example, list) else str(example)
    return f"`{key}: {text}`"


def _table(models: tuple[type, ...]) -> str:
    rows = ["| type | what it does | attributes |", "|---|---|---|"]
    for model in models:
        (name,) = model.model_fields["type"].annotation.__args__  # type: ignore[attr-defined]
        own = [field for field in model.model_fields if field not in SHARED]  # type: ignore[attr-defined]
        attributes = ", ".join(_example(model, field) for field in own)
        rows.append(f"| `{name}` | {' '.join((model.__doc__ or '').split())} | {attributes or '–'} |")
    return "\n".join(rows)


def faults() -> str:
    """A table of the faults of proxies, from the models that validate them."""
    return _table((*get_args(ToxicFault), DownFault))


def process_faults() -> str:
    """A table of the faults of processes, and of commands."""
    return _table((*get_args(ProcessFault), CommandFault))


_KINDS = {"ms": "duration", "s": "duration", "bytes": "size"}


def _attribute(attribute: Attribute) -> str:
    """An attribute at layer 7 as documents have it: its unit or bounds, and its default where there is one."""
    match attribute.kind:
        case "choice":
            *rest, last = attribute.choices
            says = f"{', '.join(rest)} or {last}"
        case "boolean":
            says = "false or true"
        case "json":
            says = "any value" if attribute.default is None else "names and texts"
        case "text":
            says = f"text ({attribute.default})" if attribute.default else "text"
        case _:
            bounds = "number" if attribute.most > 1e6 else f"{attribute.least:g} to {attribute.most:g}"
            says = _KINDS.get(attribute.unit, f"{bounds} ({attribute.default:g})")
    return f"`{attribute.name}`: {says}"


def layer7_faults() -> str:
    """A table of the faults at layer 7, from the models that validate them and the proxy's catalogue."""
    rows = ["| type | stream | what it does | attributes |", "|---|---|---|---|"]
    for model in get_args(Layer7Fault):
        spec = LAYER7[type_of(model)]
        attributes = "; ".join(_attribute(attribute) for attribute in spec.attributes)
        does = " ".join((model.__doc__ or "").split())
        rows.append(f"| `{type_of(model)}` | {' or '.join(spec.streams)} | {does} | {attributes or '–'} |")
    return "\n".join(rows)


def commands() -> str:
    """A table of all commands."""
    rows = ["| command | what it does |", "|---|---|"]
    rows += [f"| `brownout {name}` | {text} |" for name, (_, text) in COMMANDS.items()]
    return "\n".join(rows)


def rewritten(text: str) -> str:
    """`text` with its generated blocks made anew."""
    blocks = {
        "faults": faults(),
        "process-faults": process_faults(),
        "layer7-faults": layer7_faults(),
        "commands": commands(),
    }
    for name, made in blocks.items():
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
