"""Functions and classes of the user's own, named `package.module:name`.

Invariant: finding one out runs nothing of it. Validation reads a module's source and looks for the name; only
the Locust process imports it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Final

REFERENCE: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""How a reference is written."""


class NotThere(ValueError):
    """A module or a name in it that is not there."""


def missing(reference: str, folder: Path) -> str | None:
    """What is missing of `reference` where `folder` comes first on the path; None when it is there.

    A name that only running the module would make (`from other import *`, `globals()`) is taken on trust.
    """
    module, _, name = reference.partition(":")
    spec = _found(module, folder)
    if spec is None:
        return f"there is no module {module} in {folder}, nor is one installed"
    source = _source(spec)
    if source is None:
        return None
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return f"{spec.origin}:{error.lineno}: {error.msg}"
    names = _bound(tree)
    return None if "*" in names or name in names else f"{spec.origin} has no {name}"


def loaded(reference: str, folder: Path) -> Any:
    """The object. Raises NotThere; whatever importing the module raises, too."""
    module, _, name = reference.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        raise NotThere(f"{reference}: there is no module {error.name} in {folder}") from error
    try:
        return getattr(imported, name)
    except AttributeError as error:
        raise NotThere(f"{reference}: {imported.__file__} has no {name}") from error


def _found(module: str, folder: Path) -> ModuleSpec | None:
    """The module's spec, without importing the packages that it is in, as `find_spec` would."""
    where: list[str] | None = [str(folder), *sys.path]
    spec: ModuleSpec | None = None
    names = module.split(".")
    for depth in range(1, len(names) + 1):
        if where is None:
            return None
        spec = PathFinder.find_spec(".".join(names[:depth]), where)
        if spec is None:
            return None
        locations = spec.submodule_search_locations
        where = None if locations is None else list(locations)
    return spec


def _source(spec: ModuleSpec) -> bytes | None:
    """Its source, or None where it has none that could be read."""
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        return Path(spec.origin).read_bytes()
    except OSError:
        return None


def _bound(tree: ast.AST) -> set[str]:
    """The names that a module's top level may bind; `*` where it takes another module's."""
    names: set[str] = set()
    pending = list(ast.iter_child_nodes(tree))
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Lambda():
                pass
            case _:
                pending += ast.iter_child_nodes(node)  # if, try, with, for: of the same level
    return names
