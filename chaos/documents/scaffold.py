"""`brownout init`: the shipped scaffold, laid out under the user's own name.

The scaffold is itself a valid project, called `your-service`; it is copied with that word replaced, in texts
and in file names alike, so what is tested is what people get.
"""

from __future__ import annotations

import re
from pathlib import Path

import chaos
from chaos.documents.problems import BadInput, shown

PLACEHOLDER = "your-service"
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")


def scaffold_folder() -> Path:
    """Where the scaffold is."""
    return Path(chaos.__path__[0]) / "scaffold"


def lay_out(folder: Path) -> list[Path]:
    """Write a project into `folder`, named after it; returns the files, in order.

    Raises:
        BadInput: the name cannot be used in documents, or the folder is there and is not empty.
        OSError: a file cannot be written.
    """
    name = folder.name
    if not _NAME.match(name):
        near = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:40].strip("-")
        message = f"expected a name of lower-case letters, digits and '-', at most 40, got {shown(name)}"
        raise BadInput.of("", message, f"did you mean {near}?" if near else "")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = "choose another name, or empty it first; nothing is ever overwritten"
        raise BadInput.of(str(folder), "is there already", hint)
    files: list[Path] = []
    source = scaffold_folder()
    for path in sorted(p for p in source.rglob("*") if p.is_file() and p.suffix in (".yaml", ".md")):
        relative = str(path.relative_to(source)).replace(PLACEHOLDER, name)
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(path.read_text(encoding="utf-8").replace(PLACEHOLDER, name))
        files.append(target)
    return files
