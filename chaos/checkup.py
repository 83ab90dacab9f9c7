"""What a run needs, and whether it is here: the checks of `brownout doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.documents.problems import BadInput
from chaos.documents.project import find_project
from chaos.statefolder import state_folder

PACKAGES = ("locust", "toxiproxy-python", "opentelemetry-sdk", "openenv-core", "pyarrow", "uvloop")
DESCRIPTORS = 1024


@dataclass(frozen=True)
class Check:
    """One thing looked at. `needed` tells whether runs fail without it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True


def checkup() -> Iterator[Check]:
    """All checks, the needed ones first. Nothing is started and nothing is changed."""
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Check("python", supported, platform.python_version(), "Brownout supports Python 3.11 to 3.13")
    for package in PACKAGES:
        try:
            yield Check(package, True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, False, "not installed", "pip install brownout")
    yield _loopback()
    yield _state()
    yield _descriptors()
    yield _cores()
    yield _project()
    yield _toxiproxy()


def _loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return Check("loopback", True, f"a port can be bound ({server.getsockname()[1]})")
    except OSError as error:
        return Check("loopback", False, str(error), "the proxy and the receiver bind to 127.0.0.1")


def _state() -> Check:
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = len(list((folder / "stages").glob("*.json")))
    except OSError as error:
        return Check("state folder", False, str(error), "set BROWNOUT_STATE_DIR to a folder you can write")
    writable = os.access(folder, os.W_OK)
    return Check(
        "state folder",
        writable,
        f"{folder}, {unfinished} unfinished run{'s' if unfinished != 1 else ''}",
        "set BROWNOUT_STATE_DIR to a folder you can write",
    )


def _descriptors() -> Check:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Check(
        "file descriptors",
        soft >= DESCRIPTORS,
        f"{soft} (hard limit {hard})",
        f"`ulimit -n {min(hard, 65536)}`: each simulated user holds a socket, and the proxy two",
    )


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(
        "cores",
        cores >= 2,
        str(cores),
        "with one core, load and services slow each other: latencies are not the service's alone",
        needed=False,
    )


def _project() -> Check:
    try:
        project = find_project()
    except BadInput as error:
        return Check("project", False, str(error), "see `brownout validate`")
    found = str(project.path) if project.path else "none: the shipped documents, and loopback only"
    return Check("project", project.path is not None, found, "`brownout init NAME` makes one", needed=False)


def _toxiproxy() -> Check:
    binary = shutil.which("toxiproxy-server") or shutil.which(".tools/bin/toxiproxy-server")
    return Check(
        "toxiproxy-server",
        binary is not None,
        binary or "not found; the embedded proxy is used",
        "`make tools` in a checkout, or https://github.com/Shopify/toxiproxy",
        needed=False,
    )
