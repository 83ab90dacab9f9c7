"""The containers of a compose service, by a real Docker daemon that is the test's own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.conductor.process_faults import ProcessFaults
from chaos.conductor.processes import Processes
from chaos.conductor.stage import Stage
from chaos.faults.processes import containers
from chaos.faults.processes.commands import CommandFailed, run
from chaos.faults.processes.heal import heal
from chaos.faults.undo import RunContainers
from chaos.journal import FaultHealed, FaultPending, Journal, outstanding, read_events
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedFault, PlannedProcess
from tests.conductor.conftest import small_plan

from .conftest import wait_for

BUSYBOX = Path("/bin/busybox")
# Ends on SIGTERM, which the first process of a container otherwise ignores.
SERVES = "trap 'exit 0' TERM; while true; do sleep 600 & wait $!; done"


def docker(*argv: str) -> str:
    """What `docker` says."""
    return run(("docker", *argv), cwd=None, timeout_s=60).strip()


@pytest.fixture(scope="module")
def daemon() -> Iterator[None]:
    """A Docker daemon with a folder of its own and no network, and an image `tiny`."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("a Docker daemon of our own needs root, and Debian's docker.io")
    busybox = next((path for path in (BUSYBOX, Path("/usr/bin/busybox")) if path.exists()), None)
    if busybox is None:
        pytest.skip("an image needs a program: Debian's busybox-static")
    # Not pytest's folder: the path of a Unix socket has to be short.
    with tempfile.TemporaryDirectory(prefix="docker-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setenv("DOCKER_HOST", f"unix://{folder}/socket")
        patch.setenv("DOCKER_CONFIG", str(folder / "config"))
        options = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        options += ["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"]
        options += ["--ip-forward=false", "--ip-masq=false", f"--host=unix://{folder}/socket"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log)
        try:
            wait_for(lambda: _answers() or process.poll() is not None, "dockerd", within_s=60)
            log_end = (folder / "log").read_text()[-2000:]
            if process.poll() is not None and "not permitted" in log_end.lower():
                pytest.xfail(f"this system forbids root to run a Docker daemon: {log_end}")
            assert process.poll() is None, log_end
            _import_image(busybox)
            yield
            docker("rm", "--force", *docker("ps", "--all", "--quiet").split())
        finally:
            process.terminate()
            process.wait(60)


def _answers() -> bool:
    try:
        docker("version")
    except CommandFailed:
        return False
    return True


def _import_image(busybox: Path) -> None:
    """An image of one program, with its usual names."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    subprocess.run(
        ["docker", "import", "-", "tiny"], input=archive.getvalue(), check=True, capture_output=True
    )


def up(service: str, project: str = "p", script: str = SERVES) -> str:
    """Start a container with the labels of docker-compose; its id."""
    labels = [f"com.docker.compose.service={service}", f"com.docker.compose.project={project}"]
    options = [option for label in labels for option in ("--label", label)]
    return docker("run", "--detach", "--network=none", *options, "tiny", "/bin/sh", "-c", script)


@pytest.fixture(scope="module")
def web(daemon: None) -> RunContainers:
    """Two containers of the service `web` of the project `p`, beside others; each test leaves them running."""
    mine = {up("web"), up("web")}
    up("db")
    up("web", "q")
    found = containers.containers_of("web", "p")
    assert set(found.containers) == mine
    return found


def states(found: RunContainers) -> set[str]:
    """Of its containers, each once."""
    return set(containers.states(found).values())


def others() -> set[str]:
    """The states of the containers that are not the project's service."""
    label = '{{.Label "com.docker.compose.%s"}}'
    lines = docker("ps", "--all", "--format", f"{label % 'service'}-{label % 'project'} {{{{.State}}}}")
    return {line for line in lines.splitlines() if not line.startswith("web-p ")}


def pids(found: RunContainers) -> list[str]:
    """Of the first process of each."""
    return docker("inspect", "--format", "{{.State.Pid}}", *found.containers).split()


def test_paused_containers_go_on(web: RunContainers) -> None:
    """Each container of the service is frozen, no other is; healed, all run, with the processes they had."""
    before = pids(web)
    containers.pause(web)
    assert states(web) == {"paused"}
    assert others() == {"db-p running", "web-q running"}
    heal(web)
    assert states(web) == {"running"}
    heal(web)
    assert pids(web) == before


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_killed_containers_are_started_again(web: RunContainers, signal: str) -> None:
    """Each container of the service ends, no other does; healed, all run, and healing again changes nothing."""
    containers.kill(web, signal)
    wait_for(lambda: states(web) == {"exited"})
    assert others() == {"db-p running", "web-q running"}
    heal(web)
    assert states(web) == {"running"}
    after = pids(web)
    heal(web)
    assert pids(web) == after


def test_restarted_containers_have_new_processes(web: RunContainers) -> None:
    """They run when it returns, as other processes than before."""
    before = pids(web)
    containers.restart(web, 0.4)
    assert states(web) == {"running"}
    assert not set(before) & set(pids(web))
    assert others() == {"db-p running", "web-q running"}


def test_any_project_will_do_when_none_is_named(web: RunContainers) -> None:
    """All containers of services of that name, whosever they are."""
    assert len(containers.containers_of("web", None).containers) == 3


def test_a_service_without_containers_is_told(web: RunContainers) -> None:
    """No container, or none that runs, is no place for a fault."""
    containers.kill(web, "SIGKILL")
    for service, project in (("gone", None), ("web", "gone"), ("we", "p"), ("web", "p")):
        with pytest.raises(containers.NoSuchContainers, match=f"{service} has no container that runs"):
            containers.containers_of(service, project)
    heal(web)


@pytest.mark.parametrize("kind", ["kill", "pause", "restart"])
def test_a_run_strikes_the_containers(web: RunContainers, tmp_path: Path, kind: str) -> None:
    """In place from injection to heal, as a fault of any other process is; a restart is over at once."""
    store = PlannedProcess(name="store", compose="web", project="p", cwd=str(tmp_path))
    plan = small_plan().model_copy(update={"services": (), "processes": (store,)})
    fault = PlannedFault(
        name="f", place="store", type=kind, attributes={"grace": 100}, inject_at_s=0, heal_at_s=1, effects=()
    )
    before = pids(web)
    with Stage(60.0) as stage:
        faults = ProcessFaults(Processes(plan, stage, tmp_path), tmp_path)
        undo = faults.undo(fault)
        assert isinstance(undo, RunContainers)
        assert set(undo.containers) == set(web.containers)
        faults.ready(fault, 0.25)
        faults.inject(fault, undo)
        assert faults.in_place(fault, undo)
        assert (states(web) == {"running"}) == (kind == "restart")
        faults.heal(fault, undo)
        assert states(web) == {"running"}
        assert (pids(web) == before) == (kind == "pause")


def test_a_keeper_that_loses_its_conductor_lets_containers_go_on(web: RunContainers, tmp_path: Path) -> None:
    """Frozen containers do not outlive the conductor."""
    journal = Journal(tmp_path / "events.jsonl")
    journal.record(FaultPending(fault="f", undo=web))
    journal.close()
    keeper = Keeper(60.0, environment={})
    keeper.hold("r/f", web, journal.path, FaultHealed(fault="f"))
    containers.pause(web)
    keeper.answered("r/f")
    keeper.close()
    assert states(web) == {"running"}
    assert outstanding(read_events(journal.path)) == []


def test_one_that_does_not_come_back_is_told_and_does_not_keep_the_others(daemon: None) -> None:
    """One that ends as soon as it starts is named with its state; one that was removed is not missed."""
    short, good, removed = up("odd", script="exit 7"), up("odd"), up("odd")
    odd = RunContainers(service="odd", containers=(short, good, removed))
    docker("kill", good)
    docker("rm", "--force", removed)

    def told() -> bool:  # one that has just been started may be seen to run
        try:
            heal(odd)
        except containers.NoSuchContainers as error:
            return f"container {short[:12]} of odd is exited" in str(error)
        return False

    wait_for(told)
    assert containers.states(odd) == {short: "exited", good: "running"}
    docker("rm", "--force", short, good)


def test_a_daemon_that_is_not_there_is_told(daemon: None) -> None:
    """By what docker says of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere/socket")
        with pytest.raises(CommandFailed, match=r"docker ps .* ended with exit code 1: "):
            containers.containers_of("web", "p")
