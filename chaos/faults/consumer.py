"""Requests to the API of one proxy server: with a time-out, past HTTP_PROXY, and errors that tell."""

from __future__ import annotations

from typing import Final

import requests

TIMEOUT_S: Final = 3.0


class ProxyUnreachable(OSError):
    """The proxy server did not answer, or could not do it; whether it did anything is not known."""


class ProxyFailed(ProxyUnreachable):
    """The server answered that it could not do it (a port that is taken), or not as this API does."""


class ProxyRefused(OSError):
    """The server answered that it will not: `status` is 400, 401, 403, 404 or 409."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Consumer:
    """The requests to one server: with a time-out, past the environment's proxies, with errors that tell."""

    def __init__(self, url: str, timeout_s: float, token: str | None) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self.token = token
        self._open: list[requests.Session] = []

    def connect(self) -> None:
        """Open a connection, and keep it for the next request that changes something."""
        session = self._session()
        try:
            session.get(f"{self.url}/version", headers=self._headers(), timeout=self.timeout_s)
        except requests.RequestException as error:
            session.close()
            raise ProxyUnreachable(
                f"{self.url}: the proxy server does not answer: {_reason(error)}"
            ) from error
        self._open.append(session)

    def disconnect(self) -> None:
        """Close the connections that were kept."""
        while self._open:
            self._open.pop().close()

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        return session

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": "brownout", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        """One request, on a connection of its own. Raises ProxyUnreachable, ProxyFailed, ProxyRefused."""
        opened = self._open.pop() if self._open and method != "GET" else None
        try:
            with opened or self._session() as session:
                response = session.request(
                    method, self.url + path, json=body, headers=self._headers(), timeout=self.timeout_s
                )
        except requests.RequestException as error:
            raise ProxyUnreachable(
                f"{self.url}: the proxy server did not answer {method} {path} within {self.timeout_s:g} s: "
                f"{_reason(error)}"
            ) from error
        if response.status_code >= 400:
            raise _refusal(response, f"{self.url}: {method} {path}")
        return response


def _refusal(response: requests.Response, request: str) -> ProxyRefused | ProxyFailed:
    try:
        reason = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = response.text.strip()[:200] or response.reason
    message = f"{request}: {response.status_code} {reason}"
    if response.status_code >= 500:
        return ProxyFailed(message)
    return ProxyRefused(message, response.status_code)


def _reason(error: BaseException) -> str:
    """The innermost reason; requests wraps it three deep."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)
