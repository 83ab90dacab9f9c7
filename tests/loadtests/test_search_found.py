"""What a reply to a search is read as: whatever an endpoint says, documents or an error, and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.options.search import SearchReply
from loadtests.users.connect import Broken
from loadtests.users.found import Found, acknowledged, found_in

KEYS = SearchReply()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["results", "id", "version", "index_version", "nonce"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(values, st.integers(1, 3), st.booleans())
def test_any_json_is_read_or_refused(value: Any, k: int, careful: bool) -> None:
    """Never more than k documents, versions are finite numbers; else it is a protocol error."""
    body = json.dumps(value).encode()
    acknowledged(body, KEYS)
    with contextlib.suppress(Broken):
        found = found_in(body, KEYS, k, careful=careful)
        assert len(found.ids) <= k
        assert all(math.isfinite(version) for version in found.versions.values())


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_json_is_refused(body: bytes, careful: bool) -> None:
    """Bytes of any kind end as documents or as a protocol error."""
    acknowledged(body, KEYS)
    with contextlib.suppress(Broken):
        found_in(body, KEYS, 3, careful=careful)


@pytest.mark.parametrize("body", [b"", b"null", b"[" * 100_000, b"<html>", b'{"results": {}}', b"\xff"])
def test_a_careful_client_takes_no_reply_without_results(body: bytes) -> None:
    """Each is a protocol error, which says what came."""
    with pytest.raises(Broken, match="protocol_error"):
        found_in(body, KEYS, 3, careful=True)


def test_a_naive_client_does_not_miss_what_is_not_there() -> None:
    """No body and no results are no documents; a result without an id is skipped."""
    assert found_in(b"", KEYS, 3, careful=False) == found_in(b"{}", KEYS, 3, careful=False) == Found()
    assert found_in(b'{"results": [{}, {"id": 7}]}', KEYS, 3, careful=False).ids == ("7",)


def test_huge_versions_are_numbers_all_the_same() -> None:
    """A whole number that no float holds is compared as it is."""
    version = 10**400
    body = json.dumps({"results": [{"id": "a", "version": version}], "index_version": version}).encode()
    found = found_in(body, KEYS, 3, careful=True)
    assert (found.versions["a"], found.index_version) == (version, version)
