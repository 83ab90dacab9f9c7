"""Which requests of a stock client are struck: the same ones at any concurrency, by the seed and the request."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import openai

from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.said import question

REQUESTS = 200
FEWER = 50
FAULT = {"status": 500, "provider": "openai", "headers": {"retry-after-ms": "1"}}
DRAWN: dict[str, Any] = {"toxicity": 0.2, "seed": 4, "draw": "storm"}

Struck = set[tuple[str, int, int]]
"""Id, attempt and ordinal of each request that was struck."""


async def ask_all(place: Layer7, concurrency: int, max_retries: int, requests: int, questions: int) -> int:
    """Ask so many questions, again and again, for so many requests; how many calls ended in an error."""
    client = openai.AsyncOpenAI(
        api_key="none", base_url=f"{place.url}/v1", timeout=WITHIN_S, max_retries=max_retries
    )
    at_once, failed = asyncio.Semaphore(concurrency), 0

    async def ask(number: int) -> None:
        nonlocal failed
        async with at_once:
            try:
                await client.chat.completions.create(**question(number))
            except openai.InternalServerError:
                failed += 1

    async with client:
        await asyncio.gather(*(ask(number % questions) for number in range(requests)))
    return failed


def run(
    place: Layer7,
    concurrency: int,
    *,
    max_retries: int = 0,
    requests: int = FEWER,
    questions: int = FEWER // 2,
    **more: Any,
) -> tuple[Struck, int, int]:
    """What was struck in a run of its own, how many calls failed, and how many requests were sent."""
    known = len(place.hits())
    place.inject("http_reply", FAULT, **{**DRAWN, **more})
    failed = asyncio.run(ask_all(place, concurrency, max_retries, requests, questions))
    matched, applied = place.struck
    place.heal()
    struck = [(hit["id"], hit["attempt"], hit["ordinal"]) for hit in place.hits()[known:]]
    assert len(struck) == len(set(struck)) == applied
    return set(struck), failed, matched


def test_the_same_requests_at_any_concurrency(evals_http: Layer7) -> None:
    """HIDDEN: one at a time or fifty at once, the same requests are struck; the second of the same ones draws anew.

    An SDK without retries fails as often as it is struck.
    """
    asked: dict[str, int] = {"requests": REQUESTS, "questions": REQUESTS // 2}
    alone, failed_alone, sent_alone = run(evals_http, 1, **asked)
    together, failed_together, sent_together = run(evals_http, 50, **asked)
    assert alone == together
    assert failed_alone == failed_together == len(alone)
    assert sent_alone == sent_together == REQUESTS
    assert 20 < len(alone) < 60  # a binomial draw of 200 by 0.2 is outside once in 10,000; the seed is fixed
    first, second = ({ident for ident, _, ordinal in alone if ordinal == n} for n in (0, 1))
    assert first
    assert second
    assert first != second


def test_another_seed_strikes_other_requests(evals_http: Layer7) -> None:
    """HIDDEN: what is struck follows from the seed and the name that is drawn by, and from nothing else."""
    asked = run(evals_http, 50)[0]
    assert run(evals_http, 50, seed=5)[0] != asked
    assert run(evals_http, 50, draw="another")[0] != asked
    assert run(evals_http, 50)[0] == asked


def test_a_retry_draws_anew(evals_http: Layer7) -> None:
    """HIDDEN: with retries most requests get through: each try is a draw of its own, as told by the SDK.

    Which tries are struck is the same at any concurrency, too.
    """
    alone, failed_alone, sent_alone = run(evals_http, 1, max_retries=2, toxicity=0.5)
    together, failed_together, sent_together = run(evals_http, 50, max_retries=2, toxicity=0.5)
    assert alone == together
    assert (failed_alone, sent_alone) == (failed_together, sent_together)
    attempts = [sum(attempt == n for _, attempt, _ in alone) for n in (0, 1, 2)]
    assert attempts[0] > attempts[1] > attempts[2] > 0
    assert failed_alone == attempts[2]
    assert sent_alone == FEWER + attempts[0] + attempts[1]


def test_a_hit_that_persists(evals_http: Layer7) -> None:
    """HIDDEN: with `persist: request` all tries of a request that is struck are: three requests, and one error told.

    The same request twice is two: one of them may be struck, with its retries, and the other not.
    """
    struck, failed, sent = run(evals_http, 50, max_retries=2, persist="request")
    attempts = [Counter(ident for ident, attempt, _ in struck if attempt == n) for n in (0, 1, 2)]
    assert attempts[0] == attempts[1] == attempts[2]
    assert attempts[0] == Counter(ident for ident, _, _ in run(evals_http, 50)[0])
    assert failed == attempts[0].total() > 0
    assert sent == FEWER + 2 * failed


def test_requests_that_bear_an_id(evals_http: Layer7) -> None:
    """HIDDEN: where the client names its requests, that is what is drawn by, and what the record of hits says."""

    async def ask(concurrency: int) -> None:
        async with openai.AsyncOpenAI(
            api_key="none", base_url=f"{evals_http.url}/v1", timeout=WITHIN_S, max_retries=0
        ) as client:
            at_once = asyncio.Semaphore(concurrency)

            async def one(number: int) -> None:
                async with at_once:
                    named = {"x-item": f"item-{number}"}
                    await client.chat.completions.create(**question(0), extra_headers=named)

            await asyncio.gather(*(one(number) for number in range(50)))

    drawn = []
    for concurrency in (1, 50):
        known = len(evals_http.hits())
        evals_http.inject("http_delay", {"delay": 1}, id={"header": "X-Item"}, **DRAWN)
        asyncio.run(ask(concurrency))
        evals_http.heal()
        drawn.append({hit["id"] for hit in evals_http.hits()[known:]})
    assert drawn[0] == drawn[1]
    assert 0 < len(drawn[0]) < 50
    assert drawn[0] < {f"item-{number}" for number in range(50)}
