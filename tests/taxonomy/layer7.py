"""A place that faults of layer 7 are injected at: a proxy of the embedded server that reads HTTP."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx

_toxics = itertools.count()


@dataclass
class Layer7:
    """One proxy. What it counts and what it struck outlives the fault: `heal` takes the counts along."""

    api: httpx.Client
    name: str
    address: str
    toxics: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients find the service, through the proxy."""
        return f"http://{self.address}"

    def inject(self, type: str, attributes: dict[str, Any] | None = None, **more: Any) -> None:
        """Inject a toxic; `more` is what the API takes besides: where, toxicity, seed, stream, persist."""
        name = f"t{next(_toxics)}"
        body = {"name": name, "type": type, "attributes": attributes or {}, **more}
        answer = self.api.post(f"/proxies/{self.name}/toxics", json=body)
        assert answer.status_code == 200, answer.text
        self.toxics.append(name)

    def counts(self) -> dict[str, int]:
        """What the latest toxic has counted."""
        answer = self.api.get(f"/proxies/{self.name}/toxics/{self.toxics[-1]}/counts")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    @property
    def struck(self) -> tuple[int, int]:
        """How many messages `where` fitted and how many of these the latest toxic acted on.

        Where `where` fits all requests, the first is how many the client has sent.
        """
        counts = self.counts()
        assert counts["unread"] == 0
        return counts["matched"], counts["applied"]

    def hits(self) -> list[dict[str, Any]]:
        """What toxics have struck here, oldest first."""
        hits: list[dict[str, Any]] = []
        while True:
            after = hits[-1]["number"] if hits else 0
            page = self.api.get(f"/proxies/{self.name}/hits", params={"after": after}).json()
            assert page["missed"] == 0
            if not page["hits"]:
                return hits
            hits += page["hits"]

    def heal(self) -> None:
        """Heal all that was injected here, newest first."""
        while self.toxics:
            answer = self.api.delete(f"/proxies/{self.name}/toxics/{self.toxics.pop()}")
            assert answer.status_code == 204, answer.text
