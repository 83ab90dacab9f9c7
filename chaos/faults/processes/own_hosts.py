"""`python -m chaos.faults.processes.own_hosts FILE -- PROGRAM ...`: a program that has FILE for /etc/hosts.

By a mount namespace of its own (mount_namespaces(7)): nobody else sees it, and it goes with the program. Who
is not root makes a user namespace for it (user_namespaces(7)), which some systems forbid.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter(hosts_file: str) -> None:
    """Give this process a mount namespace in which `hosts_file` is /etc/hosts. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _check(libc.unshare(_CLONE_NEWNS), "a mount namespace")
    else:
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "a user namespace")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mounts of its own")
    _check(
        libc.mount(os.fsencode(hosts_file), b"/etc/hosts", None, _MS_BIND, None),
        f"{hosts_file} as /etc/hosts",
    )


def main(argv: list[str]) -> None:
    """Enter the namespace, and become the program."""
    if len(argv) < len(("FILE", "--", "PROGRAM")) or argv[1] != "--":
        raise SystemExit("usage: own_hosts FILE -- PROGRAM [ARGUMENT ...]")
    hosts_file, _, *program = argv
    try:
        enter(hosts_file)
        os.execvp(program[0], program)  # noqa: S606 - an argument list, without a shell
    except OSError as error:
        raise SystemExit(f"{program[0]} cannot be run with {hosts_file} for its hosts: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
