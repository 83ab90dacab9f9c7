"""A profile of searches that names a file of queries: found where the project is, its bad lines told by their place."""

from __future__ import annotations

from collections.abc import Callable

from chaos.documents.checking import validate_paths
from loadtests.options.search import SearchProfile

from .conftest import Folder

Has = Callable[[list[str], str], None]

PROFILE = """
    apiVersion: brownout/v1
    kind: LoadProfile
    metadata: {name: players}
    spec:
      user: search
      service: environment
      arrivals: 5/s
      with:
        queries: queries.jsonl
"""


def _told(folder: Folder) -> list[str]:
    paths = [str(folder.root / "loadtests/profiles/players.yaml")]
    return [str(problem) for problem in validate_paths(paths, folder.project).problems]


def test_bad_lines_are_told_by_file_line_and_column(folder: Folder, has: Has) -> None:
    """Each is a problem of its own, in the file of queries, with an example of what is right."""
    folder.write("loadtests/profiles/players.yaml", PROFILE)
    folder.write(
        "queries.jsonl", '{"query": "a", "relevant": ["x"]}\n{"query": "b", "relevant": []}\n{"query" "c"}\n'
    )
    told = _told(folder)
    has(told, "queries.jsonl:2:1: spec.with.queries: relevant: expected a list of ids, got []")
    has(told, "queries.jsonl:3:10: spec.with.queries: expected an object in JSON: Expecting ':' delimiter")
    assert len(told) == 2
    assert all('such as {"query": "who leads Cedar", "relevant": ["doc-09"]}' in line for line in told)


def test_a_missing_file_is_told_where_it_is_named(folder: Folder, has: Has) -> None:
    """The place is that of the name in the profile."""
    folder.write("loadtests/profiles/players.yaml", PROFILE)
    (line,) = _told(folder)
    has([line], "loadtests/profiles/players.yaml:9:14: spec.with.queries: ")
    assert "No such file or directory" in line


def test_an_experiment_uses_the_file_of_its_project(folder: Folder) -> None:
    """What is relative in a profile starts at the project's folder, wherever a run is started."""
    folder.write("loadtests/profiles/players.yaml", PROFILE)
    path = folder.write("queries.jsonl", '{"query": "a", "relevant": ["x"]}\n')
    folder.change("chaos/experiments/slow.yaml", "    with:\n      steps: 5\n", "")
    (load,) = folder.resolve("chaos/experiments/slow.yaml").loads
    assert isinstance(load.profile, SearchProfile)
    assert load.profile.with_.queries == str(path)
