"""Random calls and traffic, given to the embedded proxy and to a real Toxiproxy: what is seen must be one.

`DIFFERENCES` is the one place for what may differ; the machine leaves those inputs out, and each has a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proxy.calls import Calls
from tests.proxy.side_by_side import World
from tests.proxy.traffic import Traffic

pytestmark = pytest.mark.toxiproxy


class Difference(NamedTuple):
    """What differs (here, in brackets there), why, how the machine deals with it, and the test that shows it."""

    what: str
    why: str
    dealt_with: str
    shown_by: str


DIFFERENCES = (
    Difference(
        "hash(seed, …) decides who is struck (unseeded)",
        "a run can be repeated",
        "toxicities between 0 and 1 for `noop` only",
        "test_seed.py",
    ),
    Difference(
        "an update keeps each connection's draw (draws again)",
        "changing a latency must not change who is struck",
        "as above",
        "test_seed.py",
    ),
    Difference(
        "attributes and toxicities out of range are 400 (accepted; some crash the server)",
        "one bad request must not end all faults",
        "attributes in range",
        "test_differences.py::test_what_crashes_toxiproxy_is_refused",
    ),
    Difference(
        "toxicities keep double precision (are rounded to 24 bits)",
        "what was asked for is what is shown",
        "toxicities of few bits",
        "test_differential.py::test_a_toxicity_is_shown_as_given",
    ),
    Difference(
        "only a reset that fires is RST (every close since reset_peer was added; none that was live)",
        "ordinary closes stay FIN, resets are RST",
        "FIN and RST are told apart only where both agree: see `_exact`",
        "test_differences.py::test_a_reset_strikes_live_connections_as_rst",
    ),
    Difference(
        "a half-close is passed on (becomes a full close)",
        "the reply is not lost",
        "half-closes only when all replies are there, and an upstream that answers one by closing",
        "test_differences.py::test_a_half_close_is_kept",
    ),
    Difference(
        "removing `timeout` closes whom it struck (all, at toxicity 0 too)",
        "healing must not disturb who was not struck",
        "`timeout` at toxicity 1",
        "test_differences.py::test_removing_a_timeout_leaves_the_unstruck_alone",
    ),
    Difference(
        "removing `reset_peer` resets at once whom it has begun to (when their time comes)",
        "data was taken from them: they cannot go on",
        "a reset that has begun is waited for",
        "test_differences.py::test_removing_a_reset_that_has_begun_resets",
    ),
    Difference(
        "a toxic that is added or removed leaves alone what its neighbours hold (lets one chunk go)",
        "injecting one fault must not lift another",
        "a toxic that holds is alone on its stream",
        "test_differential.py::test_adding_a_toxic_lets_nothing_go",
    ),
    Difference(
        "/populate and PATCH change all or nothing (keep what came before the failure)",
        "a failed call can be repeated",
        "none of several that fails; no move to a busy port; one bad field a toxic's update",
        "test_differences.py::test_populate_changes_all_or_nothing",
    ),
    Difference(
        "/populate refuses a name that is there twice (creates and replaces it)",
        "one of them is a mistake",
        "names once",
        "test_differences.py::test_populate_refuses_a_name_that_is_there_twice",
    ),
    Difference(
        "a listen without a host is loopback (all interfaces)",
        "nobody else is meant to reach it",
        "a host is given",
        "test_differences.py::test_the_default_bind_is_loopback",
    ),
    Difference(
        "a disabled proxy keeps its port (frees it)",
        "enabling it must not fail",
        "nobody asks for the port of a disabled proxy",
        "test_differences.py::test_a_disabled_proxy_keeps_its_port",
    ),
    Difference(
        "/reset tries every proxy (stops at the first error)",
        "one bad proxy must not keep the faults of others",
        "no /reset while a listen cannot be bound and there is another proxy",
        "test_differential.py::test_reset_heals_past_an_error",
    ),
    Difference(
        "upstreams are dialled side by side (one after the other)",
        "a slow one delays only its own client",
        "upstreams answer at once",
        "test_differences.py::test_a_slow_dial_delays_only_its_own_client",
    ),
    Difference(
        "counts, leases, a token (none)",
        "extensions",
        "not called",
        "test_leases.py",
    ),
    Difference(
        'no stray "Logger":{}; /version tells the product too',
        "noise; so that clients can tell",
        "taken out of the replies",
        "test_client.py::test_it_tells_what_it_talks_to",
    ),
    Difference(
        "the words after `bad request body: ` are our own (those of Go's decoder)",
        "they name the field and what was expected",
        "taken out of the replies, except for EOF",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
    Difference(
        "paths are taken as they are: doubled slashes are 404 (301), %2F is part of a name (404)",
        "every proxy can be reached by its quoted name",
        "no such paths",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
    Difference(
        "a method that HTTP does not know is 400 (405)",
        "it is no HTTP",
        "known methods",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
)


@pytest.fixture
def world(own_proxy, toxiproxy_api: str) -> Iterator[World]:
    """Both servers, each with an upstream of its own."""
    world = World(own_proxy("--seed", "7").url, toxiproxy_api)
    yield world
    world.close()


@pytest.mark.parametrize(("machine", "examples", "steps"), [(Calls, 30, 30), (Traffic, 60, 30)])
def test_both_agree(world: World, machine: type[Traffic], examples: int, steps: int) -> None:
    """Whatever is asked and sent, in whatever order: replies and connections' fates are those of Toxiproxy."""
    bound = type(machine.__name__, (machine,), {"world": world})
    run_state_machine_as_test(bound, settings=settings(max_examples=examples, stateful_step_count=steps))
