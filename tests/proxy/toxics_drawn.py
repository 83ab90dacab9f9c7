"""What is drawn for a proxy's toxics, and as much of what they do as the machine must know."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

Body = dict[str, Any]
"""What goes to the API or comes from it, as JSON."""

PROXIES = ("a", "b", "ü x")
TOXICS = ("", "t", "t 2")
DEAD = "127.0.0.1:1"
"""Nobody listens there."""
HOLDS_MS = 60_000
"""A delay that no test waits for."""
SMALL: dict[str, st.SearchStrategy[Body]] = {
    "latency": st.fixed_dictionaries(
        {}, optional={"latency": st.integers(0, 12), "jitter": st.integers(0, 5)}
    ),
    "slicer": st.fixed_dictionaries(
        {"average_size": st.integers(2, 20)}, optional={"size_variation": st.integers(0, 1)}
    ),
    "bandwidth": st.fixed_dictionaries({"rate": st.integers(1000, 100_000)}),
    "slow_close": st.fixed_dictionaries({}, optional={"delay": st.integers(0, 25), "Unknown": st.just(1)}),
    "noop": st.just({}),
}
"""What lets everything through, soon."""
STRONG: dict[str, st.SearchStrategy[Body]] = {
    "timeout": st.sampled_from([{}, {"timeout": 0}, {"TIMEOUT": 30}]),
    "limit_data": st.fixed_dictionaries({}, optional={"bytes": st.integers(0, 60)}),
    "reset_peer": st.sampled_from([{}, {"timeout": 15}]),
    "bandwidth": st.sampled_from([{}, {"rate": 0}]),
    "slow_close": st.just({"delay": HOLDS_MS}),
}
_kinds = st.sampled_from([*[(kind, False) for kind in SMALL], *[(kind, True) for kind in STRONG]])


@st.composite
def toxics(draw: st.DrawFn) -> Body:
    """The body of a toxic's creation.

    Toxicities other than 1 for `noop` only: Toxiproxy draws whom a toxic strikes without a seed. Attributes within
    their range, and toxicities of few bits: see the differences `validation` and `precision`.
    """
    kind, strong = draw(_kinds)
    body: Body = {"type": kind, "attributes": draw((STRONG if strong else SMALL)[kind])}
    if stream := draw(st.sampled_from(["", "upstream", "downstream", "UpStream", "DOWNSTREAM"])):
        body["stream"] = stream
    if name := draw(st.sampled_from(TOXICS)):
        body["name"] = name
    if kind == "noop":
        body["toxicity"] = draw(st.sampled_from([0, 0.25, 0.5, 1]))
    return body


# --- what a proxy's toxics do, as far as the machine must know it ---------------------------------------------


def acts(toxic: Body) -> str:
    """`` for what lets everything through, `holds` for what keeps it, else what it takes data or connections by."""
    value = next(iter(toxic["attributes"].values()), 0)
    match toxic["type"]:
        case "timeout":
            return "closes" if value else "swallows"
        case "limit_data":
            return "limits"
        case "reset_peer":
            return "resets"
        case "bandwidth" if value == 0:
            return "holds"
        case "slow_close" if value >= 1000:
            return "holds the end"
    return ""


def acting(chain: list[Body], stream: str) -> str:
    """What acts on a stream: one thing at most, as `clear` sees to."""
    return "".join(acts(toxic) for toxic in chain if toxic["stream"].lower() == stream)


def clear(chain: list[Body]) -> bool:
    """Whether it can be foreseen what must come true: one strong toxic, and one that holds has its stream alone.

    Of two strong ones it is a race which comes first. What one that holds has, Toxiproxy lets go when a neighbour
    comes or goes (the difference `neighbours`).
    """
    strong = [toxic for toxic in chain if acts(toxic)]
    if not strong:
        return True
    (first, *others) = strong
    beside = [toxic for toxic in chain if toxic["stream"].lower() == first["stream"].lower()]
    return not others and (len(beside) == 1 or not acts(first).startswith("holds"))


def path_of(name: str) -> str:
    """Of a proxy."""
    return f"/proxies/{quote(name, safe='')}"
