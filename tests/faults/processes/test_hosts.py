"""A name that no longer resolves: for its process alone, and exactly until it is put back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaos.faults.processes import hosts
from chaos.faults.processes.heal import heal
from chaos.faults.undo import RestoreHosts

from .conftest import Program

NAMES = ["model.internal", "model", "db", "MODEL.internal", "model.internal.", "a-b"]
ENTRY = st.builds(
    lambda address, names, gap, tail: f"{address}{gap}{gap.join(names)}{tail}".encode(),
    st.sampled_from(["127.0.0.1", "10.0.0.7", "::1"]),
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.sampled_from([" ", "\t", "   "]),
    st.sampled_from(["", " ", " # model.internal", "#x", "\r", "  # \xe9\x85"]),
)
ANYTHING = st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b""))
LINES = st.lists(st.one_of(ENTRY, ENTRY, ANYTHING, st.just(b"")), max_size=8)


def resolved(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Name and address, in the order in which a resolver reads them: by hosts(5), not by the code under test."""
    found = []
    for line in lines:
        address, *names = line.split(b"#")[0].split() or [b""]
        found += [(name.lower(), address) for name in names]
    return found


def rest(lines: list[bytes], host: str) -> list[bytes]:
    """The lines that do not name the host."""
    return [line for line in lines if host.lower().encode() not in dict(resolved([line]))]


@given(LINES, st.sampled_from(NAMES), st.booleans())
@example([b"10.0.0.7 model", b"10.0.0.7 model"], "model", True)
@example([b"10.0.0.7 model", b"127.0.0.1 db model"], "model", True)
@example([b"10.0.0.7 db", b"10.0.0.7 model db"], "model", False)
def test_what_is_taken_out_is_put_back(lines: list[bytes], host: str, ends: bool) -> None:
    """For any file and host: gone with no other name touched; put back, each line is there as often as before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts"
        path.write_bytes(b"\n".join(lines) + (b"\n" if ends and lines else b""))
        before = path.read_bytes().removesuffix(b"\n").split(b"\n")
        inode = path.stat().st_ino
        try:
            undo = hosts.lines_with(path, host)
        except hosts.HostNotListed:
            assert host.lower().encode() not in dict(resolved(before))
            return
        undo = RestoreHosts.model_validate_json(undo.model_dump_json())  # as the journal keeps it
        untouched = path.read_bytes()
        heal(undo)
        assert path.read_bytes() == untouched

        hosts.take_out(undo)
        assert hosts.taken_out(undo)
        out = path.read_bytes().removesuffix(b"\n").split(b"\n")
        name = host.lower().encode()
        assert resolved(out) == [pair for pair in resolved(before) if pair[0] != name]

        heal(undo)
        assert not hosts.taken_out(undo)
        healed = path.read_bytes()
        after = healed.removesuffix(b"\n").split(b"\n")
        assert Counter(after) == Counter(before)
        assert rest(after, host) == rest(before, host)
        heal(undo)
        assert path.read_bytes() == healed
        assert path.stat().st_ino == inode


def test_lines_come_back_where_they_were(tmp_path: Path) -> None:
    """Of several addresses the first counts: their order is kept."""
    path = tmp_path / "hosts"
    text = "127.0.0.1 localhost\n10.0.0.1\tmodel   # first\n\n10.0.0.2 model db\n10.0.0.3 model\n"
    path.write_text(text)
    undo = hosts.lines_with(path, "model")
    hosts.take_out(undo)
    assert "10.0.0.2 db\n" in path.read_text()
    heal(undo)
    assert path.read_text() == text


def test_what_others_wrote_meanwhile_stays(tmp_path: Path) -> None:
    """Lines that were added or deleted while the name was out are as their writer wanted them."""
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 model\n10.0.0.2 old\n10.0.0.3 db model\n")
    undo = hosts.lines_with(path, "model")
    hosts.take_out(undo)
    path.write_text("10.0.0.9 new\n10.0.0.3 db\n")
    heal(undo)
    assert path.read_text() == "10.0.0.9 new\n10.0.0.3 db model\n10.0.0.1 model\n"


def test_a_file_that_is_gone_needs_no_healing(tmp_path: Path) -> None:
    """It went with its process."""
    heal(RestoreHosts(path=str(tmp_path / "hosts"), host="x", lines=("10.0.0.1 x",)))
    assert not (tmp_path / "hosts").exists()


def test_the_systems_own_file_is_refused(tmp_path: Path) -> None:
    """By whatever name or link: every process would be struck."""
    link = tmp_path / "hosts"
    link.symlink_to("/etc/hosts")
    for path in (Path("/etc/hosts"), Path("/etc/../etc/hosts"), link):
        with pytest.raises(hosts.HostNotListed, match="is the system's own"):
            hosts.lines_with(path, "localhost")


def test_a_name_that_is_not_there_cannot_be_taken_out(tmp_path: Path) -> None:
    """A comment, an address and a part of a name do not count."""
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 model.internal # model\nmodel 10.0.0.2\n")
    with pytest.raises(hosts.HostNotListed, match=f"{path} has no line for model"):
        hosts.lines_with(path, "model")


RESOLVES = """
import os, socket, sys
for line in sys.stdin:
    try:
        found = socket.getaddrinfo(line.strip(), 80, socket.AF_INET, socket.SOCK_STREAM)
        said = found[0][4][0]
    except socket.gaierror:
        said = "no such host"
    os.write(1, said.encode() + b"\\n")
"""
OWN_HOSTS = [sys.executable, "-m", "chaos.faults.processes.own_hosts"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Program, Path]]:
    """A process that resolves the names it is told, and its own hosts file."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a hosts file over another, where user namespaces are forbidden")
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n127.7.7.7 model.internal db.internal\n127.8.8.8 model.internal\n")
    argv = [*OWN_HOSTS, str(path), "--", sys.executable, "-c", RESOLVES]
    # Nobody else is asked for what the file has not: a network that is slow to say no is not under test.
    program = Program(argv, env={**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"})
    yield program, path
    program.end()


def test_a_process_no_longer_resolves_the_name(own: tuple[Program, Path]) -> None:
    """It does, does not, and does again, without being started anew; other names are not touched."""
    program, path = own
    assert program.ask("model.internal") == "127.7.7.7"
    undo = hosts.lines_with(path, "model.internal")
    hosts.take_out(undo)
    assert program.ask("model.internal") == "no such host"
    assert program.ask("db.internal") == "127.7.7.7"
    heal(undo)
    assert program.ask("model.internal") == "127.7.7.7"


def test_nobody_else_sees_its_hosts_file(own: tuple[Program, Path]) -> None:
    """The process keeps its pid and has the file for /etc/hosts; we have the system's."""
    program, path = own
    before = Path("/etc/hosts").read_bytes()
    program.ask("localhost")
    assert Path(f"/proc/{program.pid}/root/etc/hosts").read_bytes() == path.read_bytes()
    assert Path("/etc/hosts").read_bytes() == before
    assert "own_hosts" not in Path(f"/proc/{program.pid}/cmdline").read_text()


def test_who_is_not_root_has_a_hosts_file_too() -> None:
    """By a user namespace, as the user that it is; where the system forbids those, it says so."""
    env = {"PATH": os.environ["PATH"]}
    become: list[str] = []
    if os.geteuid() == 0:
        become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        env["PATH"] = "/usr/local/bin:/usr/bin:/bin"  # ours need not be readable for everybody
    allowed = subprocess.run([*become, "unshare", "--user", "--mount", "true"], check=False, env=env)
    # The code itself, not the module, for the same reason.
    code = (Path(hosts.__file__).parent / "own_hosts.py").read_text()
    shows = "import os; print(os.geteuid(), open('/etc/hosts').read(), end='')"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "hosts"
        file.write_text("127.7.7.7 model.internal\n")
        argv = [*become, "python3", "-c", code, str(file), "--", "python3", "-c", shows]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/", env=env)
    if allowed.returncode == 0:
        assert done.stdout == f"{os.geteuid() or 65534} 127.7.7.7 model.internal\n", done.stderr
    else:
        assert "python3 cannot be run with" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage"),
        (["FILE", "true"], "usage"),
        (["FILE", "--"], "usage"),
        (
            ["FILE", "--", "no-such-program"],
            "no-such-program cannot be run with .*hosts for its hosts: .*No such file",
        ),
        (["GONE", "--", "true"], "true cannot be run with .*gone for its hosts: .*No such file"),
    ],
)
def test_what_cannot_be_started_is_told(tmp_path: Path, arguments: list[str], said: str) -> None:
    """A usage, or the program, the file and the system's own words."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    words = {"FILE": str(tmp_path / "hosts"), "GONE": str(tmp_path / "gone")}
    argv = [*OWN_HOSTS, *(words.get(word, word) for word in arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
