"""Whether the proxy servers that targets name can do what experiments ask of them.

What answers at a URL cannot be known from documents, so it is asked, and only where faults at layer 7 depend
on it. What does not answer is none of a document's problems: a run that needs it says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from chaos.documents.problems import Problem
from chaos.documents.resolve import Resolved
from chaos.faults.toxiproxy import ToxiproxyServer


def layer7_refused(
    experiments: Iterable[Resolved], *, url: str | None = None
) -> tuple[list[Problem], list[str]]:
    """The faults at layer 7 that a stock Toxiproxy would have to do, and what could not be found out.

    `url` stands for the servers of all targets. Each server is asked once.
    """
    answers: dict[str, str | None] = {}
    problems: dict[Problem, None] = {}
    notes: list[str] = []
    for resolved in experiments:
        server = url or resolved.target.spec.toxiproxy
        if server is None or not resolved.at_layer7:
            continue
        if server not in answers:
            try:
                answers[server] = _stock(server)
            except OSError as error:
                answers[server] = None
                notes.append(f"whether it can do faults at layer 7 is not known: {error}")
        if (stock := answers[server]) is not None:
            for problem in resolved.at_layer7:
                message = f"{problem.message}; at {server} there is {stock}"
                problems[dataclasses.replace(problem, message=message)] = None
    return list(problems), notes


def _stock(url: str) -> str | None:
    """What answers at `url`, where that is no embedded proxy. Raises OSError."""
    server = ToxiproxyServer(url)
    return None if server.embedded else server.describe()
