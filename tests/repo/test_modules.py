"""Sizes, docstrings and imports of the source: what neither ruff nor import-linter looks at."""

from __future__ import annotations

import ast

MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 60
REASON = "Long because:"
MONKEY_PATCHING = {"locust", "gevent", "geventhttpclient"}


def _long(name: str, node: ast.AST, lines: int, most: int) -> str | None:
    assert isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)
    if lines <= most or REASON in (ast.get_docstring(node) or ""):
        return None
    return f"{name}: {lines} lines, expected at most {most}, or a docstring that says '{REASON} ...'"


def test_modules_are_short(modules: dict[str, str]) -> None:
    """No module has over 400 lines, unless its docstring says why."""
    found = [
        _long(path, ast.parse(text), text.count("\n"), MOST_MODULE_LINES) for path, text in modules.items()
    ]
    assert [line for line in found if line] == []


def test_functions_are_short(modules: dict[str, str]) -> None:
    """No function has over 60 lines, unless its docstring says why."""
    found = [
        _long(f"{path}:{node.lineno} {node.name}", node, (node.end_lineno or 0) - node.lineno + 1, 60)
        for path, text in modules.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [line for line in found if line] == []


def test_modules_say_what_they_are(modules: dict[str, str]) -> None:
    """Every module opens with a docstring; empty files that only make a package may do without."""
    mute = [path for path, text in modules.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert mute == []


def test_no_work_is_left_marked(modules: dict[str, str]) -> None:
    """What is unfinished is an issue, not a mark in the source."""
    marks = [
        f"{path}:{number}: {line.strip()}"
        for path, text in modules.items()
        for number, line in enumerate(text.splitlines(), 1)
        if any(f"# {mark}" in line for mark in ("TODO", "FIXME", "XXX", "HACK"))
    ]
    assert marks == []


def test_locust_is_imported_under_users_only(modules: dict[str, str]) -> None:
    """Importing locust monkey-patches the process: only what runs in Locust's own may, at whatever depth."""
    elsewhere = [
        f"{path}:{node.lineno}"
        for path, text in modules.items()
        if not path.startswith("loadtests/users/")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom) and _imported(node) & MONKEY_PATCHING
    ]
    assert elsewhere == []


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return set() if node.level else {(node.module or "").split(".")[0]}
    return {alias.name.split(".")[0] for alias in node.names}
