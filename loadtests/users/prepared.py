"""A step of a plain HTTP profile, its templates parsed; its request as bytes where it is always the same."""

from __future__ import annotations

from loadtests.options.check import expected
from loadtests.options.http import HttpStep
from loadtests.templates import Unsendable, Values, json_template, parse
from loadtests.users.compiled import Compiled, compiled
from loadtests.users.connect import Address


class Prepared:
    """The `number`-th step (from 0)."""

    def __init__(self, number: int, step: HttpStep, address: Address) -> None:
        self.number = number
        self.step = step
        self.expected = expected(step.expect_status)
        self.names = frozenset(name.root for _, name in step.uses)
        takes = (*step.extract.values(), *((step.echo,) if step.echo else ()))
        self.plain = not step.checks and not takes
        """Whether the status alone tells if a reply is right."""
        self.reads_body = any(each.needs_body for each in (*step.checks, *takes))
        self._address = address
        self._path = parse(step.path)
        self._headers = {name: parse(text) for name, text in step.headers.items()}
        self._json = None if step.json_ is None else json_template(step.json_)
        self._body = None if step.body is None else parse(step.body)
        if self._json is not None and all(name.lower() != "content-type" for name in self._headers):
            self._headers["Content-Type"] = parse("application/json")
        alike = all(key[0] == "checks" for key, _ in step.uses)
        self.compiled = self._made({}) if alike else None
        """The request, where it is the same for every arrival."""

    def request(self, values: Values) -> Compiled:
        """The request with these values. Raises Missing (also of what a check needs), Unsendable."""
        for _, name in self.step.uses:
            name.value(values)
        return self.compiled if self.compiled is not None else self._made(values)

    def _made(self, values: Values) -> Compiled:
        headers = {name: template.header(values) for name, template in self._headers.items()}
        body = b""
        if self._json is not None:
            body = self._json.dumped(values).encode()
        elif self._body is not None:
            try:
                body = self._body.text(values).encode()
            except UnicodeEncodeError as error:
                raise Unsendable("a lone surrogate is no text") from error
        path = self._path.path(values)
        return compiled(self._address, self.step.name, self.step.method, path, headers, body, self.expected)
