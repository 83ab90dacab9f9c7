"""Who may speak to whom past one machine: proofs of a shared token, and messages that cannot be forged.

Locust's sockets know neither. Invariant: nobody who does not hold the token learns anything but random
numbers and digests, is obeyed, or is believed; a message counts once, in its order, direction and session.
What is sent is authenticated and not encrypted: whoever can read the network reads it.

The handshake is challenge and response by HMAC-SHA256 (RFC 2104) both ways, with both sides' random numbers
and the name in each digest, and another label for each purpose, so that nothing said can be said again
elsewhere: compare ISO/IEC 9798-4, mechanism 4 (mutual, three passes).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

TOKEN_VARIABLE: Final = "BROWNOUT_WORKER_TOKEN"  # noqa: S105 - where it is, not what
LEAST_TOKEN: Final = 16
"""Characters: a digest of the token is shown to whoever asks, so that it must not be guessable."""
NONCE_BYTES: Final = 32
_MOST_TOKEN: Final = 4096
_SEQUENCE = struct.Struct(">QII")

Side = Literal["master", "worker"]


class BadToken(ValueError):
    """A token that is too short or too long; the message says so without it."""


class Forged(ValueError):
    """A message that the holder of the session did not send, or not now, or not so."""


def checked_token(token: str) -> bytes:
    """The key that a token stands for. Raises BadToken."""
    token = token.strip()
    if not LEAST_TOKEN <= len(token) <= _MOST_TOKEN:
        raise BadToken(f"the token has {len(token)} characters: expected at least {LEAST_TOKEN}, by chance")
    return hashlib.sha256(b"brownout worker token\0" + token.encode()).digest()


def nonce() -> bytes:
    """Random bytes that never come again."""
    return secrets.token_bytes(NONCE_BYTES)


def bearer(key: bytes, run: str) -> str:
    """What a worker of `run` shows to the telemetry receiver; both sides know it."""
    return hmac.digest(key, b"receiver\0" + run.encode(), "sha256").hex()


@dataclass(frozen=True)
class Greeting:
    """What both sides of a handshake have said: the worker's name, and a nonce of each."""

    worker: str
    of_worker: bytes
    of_master: bytes

    def proof(self, key: bytes, side: Side) -> bytes:
        """That `side` holds the key."""
        return self._digest(key, side)

    def proven(self, key: bytes, side: Side, proof: object) -> bool:
        """Whether `proof` is that of `side`."""
        return isinstance(proof, bytes) and hmac.compare_digest(self._digest(key, side), proof)

    def session(self, key: bytes, side: Side) -> Session:
        """The session that follows, as `side` holds it."""
        return Session(self._digest(key, "session"), side)

    def _digest(self, key: bytes, label: str) -> bytes:
        said = (label.encode(), self.worker.encode(), self.of_worker, self.of_master)
        return hmac.digest(key, b"".join(struct.pack(">I", len(part)) + part for part in said), "sha256")


@dataclass(frozen=True, slots=True)
class Said:
    """An opened message."""

    kind: str
    body: dict[str, Any]
    blob: bytes


class Session:
    """Seals what one side sends, and opens what the other sent."""

    def __init__(self, key: bytes, side: Side) -> None:
        other: Side = "worker" if side == "master" else "master"
        self._sending = hmac.digest(key, b"from " + side.encode(), "sha256")
        self._receiving = hmac.digest(key, b"from " + other.encode(), "sha256")
        self._sent = 0
        self._received = 0

    def seal(self, kind: str, body: dict[str, Any] | None = None, blob: bytes = b"") -> dict[str, Any]:
        """A message to send, as plain values."""
        self._sent += 1
        text = json.dumps([kind, body or {}])
        mac = _mac(self._sending, self._sent, text, blob)
        return {"n": self._sent, "said": text, "blob": blob, "mac": mac}

    def open(self, sealed: object) -> Said:
        """What a message says. Raises Forged: it is not the other side's, or has come before."""
        try:
            number, text, blob, mac = _parts(sealed)
            if not hmac.compare_digest(_mac(self._receiving, number, text, blob), mac):
                raise Forged("a message that was not sealed by the other side, or was changed")
            if number <= self._received:
                raise Forged(f"message {number} after {self._received}: it has come before")
            kind, body = json.loads(text)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise error if isinstance(error, Forged) else Forged("not a sealed message") from error
        self._received = number
        return Said(str(kind), dict(body), blob)


def _parts(sealed: object) -> tuple[int, str, bytes, bytes]:
    if not isinstance(sealed, dict):
        raise Forged("not a sealed message")
    number, text, blob, mac = sealed["n"], sealed["said"], sealed["blob"], sealed["mac"]
    if not (isinstance(number, int) and isinstance(text, str) and isinstance(blob, bytes)):
        raise Forged("not a sealed message")
    if not isinstance(mac, bytes):
        raise Forged("not a sealed message")
    return number, text, blob, mac


def _mac(key: bytes, number: int, text: str, blob: bytes) -> bytes:
    said = text.encode()
    return hmac.digest(key, _SEQUENCE.pack(number, len(said), len(blob)) + said + blob, "sha256")
