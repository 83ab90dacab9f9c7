"""What a target may touch: hosts within the project's `allow_hosts`, programs within its `allow_commands`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaos.documents.commands import process_problems
from chaos.documents.document import Document
from chaos.documents.problems import Problem, listed, problem_at, shown
from chaos.documents.project import ProjectFolder
from chaos.documents.targets import DemoService, Target, UrlService
from chaos.documents.tree import Steps, descend, key_place, spelled

_ADDRESS = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]*)):(?P<port>\d{1,5})$")
_MOST_PORT = 65535
HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int | None = None) -> Address:
    """`host:port`, `http://host:port` or https. Raises ValueError, in words for the one who wrote it.

    The default port of https is its own, 443.
    """
    bare = text.removeprefix("http://")
    if text.startswith("https://"):
        bare, default_port = text.removeprefix("https://"), HTTPS_PORT
    if default_port is not None and not re.search(r":\d+$", bare):
        bare = f"{bare}:{default_port}"
    match = _ADDRESS.match(bare)
    if match is None:
        raise ValueError(f"expected host:port, got {shown(text)}")
    port = int(match["port"])
    if port > _MOST_PORT:
        raise ValueError(f"expected a port up to {_MOST_PORT}, got {port}")
    return Address(match["six"] or match["host"] or "", port)


def target_problems(document: Document, target: Target, project: ProjectFolder) -> list[Problem]:
    """Everything about a target's addresses that forbids using it."""
    problems: list[Problem] = []

    def check(text: str, *steps: str, may_be_any_port: bool = False, port: int | None = None) -> None:
        path: Steps = ("spec", *steps)
        place = descend(document.tree, path)[1]
        try:
            address = parse_address(text, port)
        except ValueError as error:
            problems.append(problem_at(place, spelled(path), str(error)))
            return
        if address.port == 0 and not may_be_any_port:
            problems.append(problem_at(place, spelled(path), "expected a port from 1 up, got 0"))
        found = _host_problem(address, project)
        if found:
            problems.append(problem_at(place, spelled(path), *found))

    def check_file(text: str | None, *steps: str) -> None:
        path: Steps = ("spec", *steps)
        if text is not None and not (project.root / text).is_file():
            place = descend(document.tree, path)[1]
            hint = f"paths begin at {project.root}"
            problems.append(problem_at(place, spelled(path), f"there is no file {shown(text)}", hint))

    for name, service in target.spec.services.items():
        if not isinstance(service, DemoService):
            check(service.url, "services", name, "url", port=80)
            check_file(service.upstream_ca, "services", name, "upstream_ca")
    for name, proxy in target.spec.proxies.items():
        check(proxy.upstream, "proxies", name, "upstream")
        check_file(proxy.upstream_ca, "proxies", name, "upstream_ca")
        check(proxy.listen, "proxies", name, "listen", may_be_any_port=True)
    if target.spec.toxiproxy:
        check(target.spec.toxiproxy, "toxiproxy", port=8474)
    return problems + _clashes(document, target) + process_problems(document, target, project)


def by_tls(document: Document, target: Target) -> list[Problem]:
    """For each address that needs TLS what is to be said where a stock Toxiproxy would have to speak it."""
    found: list[tuple[Steps, str]] = []
    for name, service in target.spec.services.items():
        if isinstance(service, UrlService) and service.url.startswith("https://"):
            found.append((("spec", "services", name, "url"), service.url))
    for name, proxy in target.spec.proxies.items():
        if proxy.upstream.startswith("https://"):
            found.append((("spec", "proxies", name, "upstream"), proxy.upstream))
        if proxy.tls:
            found.append((("spec", "proxies", name, "tls"), "tls: true"))
    return [
        problem_at(
            descend(document.tree, path)[1],
            spelled(path),
            f"{text} needs TLS, which only the embedded proxy speaks",
            "leave out `toxiproxy:`, or point it at `brownout proxy`",
        )
        for path, text in found
    ]


def _host_problem(address: Address, project: ProjectFolder) -> tuple[str, str] | None:
    if not address.host:
        return (
            "expected a host before the port: none means every interface",
            f"did you mean 127.0.0.1:{address.port}?",
        )
    if project.allows(address.host):
        return None
    allowed = listed(project.config.allow_hosts, "and")
    hint = f"allowed are {allowed}; add it to allow_hosts in brownout.yaml if breaking it is yours to decide"
    return f"runs may not touch the host {shown(address.host)}", hint


def _clashes(document: Document, target: Target) -> list[Problem]:
    problems: list[Problem] = []
    listens: dict[str, str] = {}
    for name, proxy in target.spec.proxies.items():
        path: Steps = ("spec", "proxies", name)
        if name in target.spec.services:
            place = key_place(document.tree, path)
            hint = "each service has a proxy of its own name already"
            problems.append(problem_at(place, spelled(path), f"{name} is a service too", hint))
        if proxy.listen in listens and not proxy.listen.endswith(":0"):
            at = (*path, "listen")
            message = f"{proxy.listen} is where {listens[proxy.listen]} listens"
            problems.append(problem_at(descend(document.tree, at)[1], spelled(at), message))
        listens.setdefault(proxy.listen, name)
    for name in target.spec.processes:
        if isinstance(target.spec.services.get(name), DemoService):
            path = ("spec", "processes", name)
            hint = "its process is known already; give this one another name"
            place = key_place(document.tree, path)
            problems.append(problem_at(place, spelled(path), f"{name} is a demo service", hint))
    return problems
