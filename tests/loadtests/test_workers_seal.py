"""Who may speak to whom past one machine: wrong tokens, replays, forgeries, reflections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.machines import PROTOCOL, master_address
from loadtests.seal import BadToken, Forged, Greeting, Session, bearer, checked_token
from loadtests.users.admission import Applicant, Doorkeeper, Refused

KEY = checked_token("a token of the tests, long enough")
OTHER = checked_token("another token, long enough too")
ABOUT = {"version": PROTOCOL, "machine": "here"}


def sessions() -> tuple[Session, Session]:
    """A session as the master and as the worker hold it."""
    applicant = Applicant("w", KEY, ABOUT)
    doorkeeper = Doorkeeper(KEY, applicant.hello, PROTOCOL)
    worker, answer = applicant.answer(doorkeeper.challenge)
    return doorkeeper.admit(answer), worker


def test_both_sides_prove_the_token_and_then_understand_each_other() -> None:
    """With one token a handshake ends in a session in which both sides open what the other seals."""
    master, worker = sessions()
    said = worker.open(master.seal("line", {"line": "x"}, b"blob"))
    assert (said.kind, said.body, said.blob) == ("line", {"line": "x"}, b"blob")
    assert master.open(worker.seal("renew")).kind == "renew"


def test_a_worker_answers_no_master_of_another_token() -> None:
    """It learns that before it says anything that a stranger could use."""
    applicant = Applicant("w", KEY, ABOUT)
    with pytest.raises(Refused, match="does not hold our token"):
        applicant.answer(Doorkeeper(OTHER, applicant.hello, PROTOCOL).challenge)


@pytest.mark.parametrize(
    "answer", [{}, {"answer": b""}, {"answer": "text"}, {"answer": b"x" * 32}, {"declined": True}]
)
def test_who_does_not_prove_the_token_is_not_admitted(answer: dict[str, Any]) -> None:
    """Whatever it answers instead."""
    doorkeeper = Doorkeeper(KEY, Applicant("w", OTHER, ABOUT).hello, PROTOCOL)
    with pytest.raises(Refused):
        doorkeeper.admit(answer)


def test_an_answer_proves_nothing_a_second_time() -> None:
    """Who recorded a handshake cannot use it: each challenge is another."""
    applicant = Applicant("w", KEY, ABOUT)
    _, answer = applicant.answer(Doorkeeper(KEY, applicant.hello, PROTOCOL).challenge)
    with pytest.raises(Refused):
        Doorkeeper(KEY, applicant.hello, PROTOCOL).admit(answer)


def test_a_proof_cannot_be_reflected() -> None:
    """What the master proves itself by does not prove a worker."""
    doorkeeper = Doorkeeper(KEY, Applicant("w", OTHER, ABOUT).hello, PROTOCOL)
    with pytest.raises(Refused):
        doorkeeper.admit({"answer": doorkeeper.challenge["proof"]})


@pytest.mark.parametrize(
    "hello",
    [
        {},
        {"hello": "../w", "nonce": b"x" * 32, "version": PROTOCOL},
        {"hello": "w" * 500, "nonce": b"x" * 32, "version": PROTOCOL},
        {"hello": "w", "nonce": b"short", "version": PROTOCOL},
        {"hello": "w", "nonce": b"x" * 32, "version": "0"},
        {"hello": 7, "nonce": b"x" * 32, "version": PROTOCOL},
    ],
)
def test_a_hello_that_is_none_is_refused(hello: dict[str, Any]) -> None:
    """A name becomes a file's name; another version would be misunderstood."""
    with pytest.raises(Refused):
        Doorkeeper(KEY, hello, PROTOCOL)


def test_a_message_counts_once_and_in_order() -> None:
    """A replayed message, and one that comes after a later one, are refused; what follows is not."""
    master, worker = sessions()
    first, second, third = (master.seal("line", {"n": n}) for n in range(3))
    worker.open(second)
    for stale in (first, second):
        with pytest.raises(Forged, match="come before"):
            worker.open(stale)
    assert worker.open(third).body == {"n": 2}


def test_a_message_of_another_session_or_direction_is_refused() -> None:
    """Neither can a worker's own message be turned on it, nor one session's be told in another."""
    master, worker = sessions()
    other, _ = sessions()
    for sealed in (worker.seal("line"), other.seal("line")):
        with pytest.raises(Forged):
            worker.open(sealed)
    assert worker.open(master.seal("line")).kind == "line"


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), part=st.sampled_from(["said", "blob", "mac", "n"]))
def test_a_message_that_was_changed_is_refused(at: int, bit: int, part: str) -> None:
    """One bit anywhere is enough."""
    master, worker = sessions()
    sealed = master.seal("line", {"line": "some text"}, b"some bytes")
    changed = dict(sealed)
    value = changed[part]
    if isinstance(value, int):
        changed[part] = value ^ (1 << bit)
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[at % len(raw)] ^= 1 << (bit % 7)
        changed[part] = raw.decode("latin-1") if isinstance(value, str) else bytes(raw)
    with pytest.raises(Forged):
        worker.open(changed)
    assert worker.open(sealed).kind == "line", "what was refused has changed nothing"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["n", "said", "blob", "mac", "x"]), inner)
        ),
    )
)
def test_nonsense_is_refused(nonsense: Any) -> None:
    """Whatever a stranger sends is refused as such, and never fails in another way."""
    _, worker = sessions()
    with pytest.raises(Forged):
        worker.open(nonsense)


def test_short_tokens_are_refused() -> None:
    """A token that can be guessed is none, and the message does not tell it."""
    with pytest.raises(BadToken) as raised:
        checked_token("hunter2")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadToken):
        checked_token("x" * 5000)


def test_the_receivers_token_is_each_runs_own() -> None:
    """Who learns one run's cannot send as another's worker, and it is no other digest of the token."""
    assert bearer(KEY, "run-1") != bearer(KEY, "run-2") != bearer(OTHER, "run-2")
    assert Greeting("receiver", b"", b"").proof(KEY, "master").hex() != bearer(KEY, "run-1")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", 5557),
        ("10.0.0.1:99", "10.0.0.1", 99),
        ("[fd00::1]:99", "fd00::1", 99),
        ("[fd00::1]", "fd00::1", 5557),
        ("fd00::1", "fd00::1", 5557),
        ("load.internal:5557", "load.internal", 5557),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    """With and without a port, of both families."""
    assert master_address(text) == (host, port)


@pytest.mark.parametrize("text", ["", ":5557", "host:", "host:0", "host:70000", "host:x", "[]:5"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        master_address(text)


@pytest.mark.parametrize(
    ("text", "everywhere"), [("0.0.0.0", True), ("[::]:5", True), ("*:5", True), ("10.0.0.1", False)]
)
def test_wildcards_are_known(text: str, everywhere: bool) -> None:
    """All of their spellings stand for every interface."""
    assert master_address(text).everywhere is everywhere
