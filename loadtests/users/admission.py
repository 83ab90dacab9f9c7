"""The handshake by which a worker and a master find out that both hold the token: each side's part, as steps.

Nothing here sends or waits. A worker says hello; the master proves itself first, so that a worker never
answers a false one; then the worker does.
"""

from __future__ import annotations

import re
from typing import Any, Final

from loadtests.seal import NONCE_BYTES, Greeting, Session, nonce

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")


class Refused(ValueError):
    """The other side is not what it should be, and why."""


class Applicant:
    """A worker that wants to be admitted."""

    def __init__(self, name: str, key: bytes, about: dict[str, Any]) -> None:
        self.name = name
        self._key = key
        self._nonce = nonce()
        self.hello = {"hello": name, "nonce": self._nonce, **about}

    def answer(self, challenge: dict[str, Any]) -> tuple[Session, dict[str, Any]]:
        """The session, and what to answer to a master's challenge. Raises Refused: it is none of ours."""
        of_master = challenge.get("challenge")
        if not isinstance(of_master, bytes) or len(of_master) != NONCE_BYTES:
            raise Refused("the master's challenge is none")
        greeting = Greeting(self.name, self._nonce, of_master)
        if not greeting.proven(self._key, "master", challenge.get("proof")):
            raise Refused("the master does not hold our token")
        return greeting.session(self._key, "worker"), {"answer": greeting.proof(self._key, "worker")}


class Doorkeeper:
    """A master's part, for one applicant."""

    def __init__(self, key: bytes, hello: dict[str, Any], version: str) -> None:
        """Raises Refused: what it says is no hello, or it is of another version."""
        name, of_worker = hello.get("hello"), hello.get("nonce")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refused("its name is none")
        if not isinstance(of_worker, bytes) or len(of_worker) != NONCE_BYTES:
            raise Refused("its hello is none")
        if hello.get("version") != version:
            raise Refused(f"it is of version {str(hello.get('version'))[:40]}, this is {version}")
        self.name = name
        self.machine = str(hello.get("machine", ""))[:200]
        self._key = key
        self._greeting = Greeting(name, of_worker, nonce())

    @property
    def challenge(self) -> dict[str, Any]:
        """What to say to a hello."""
        return {
            "challenge": self._greeting.of_master,
            "proof": self._greeting.proof(self._key, "master"),
        }

    def admit(self, answer: dict[str, Any]) -> Session:
        """The session of an applicant that has proved itself. Raises Refused."""
        if "declined" in answer:
            raise Refused("it does not believe that we hold its token: does it have another?")
        if not self._greeting.proven(self._key, "worker", answer.get("answer")):
            raise Refused("it does not hold the token")
        return self._greeting.session(self._key, "master")
