"""The options of users that send plain HTTP requests. (Inside this package only: not Python's `http`.)"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from loadtests import templates
from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.options.check import Check, Extraction, HeaderName, JsonTemplateValue, Statuses, TemplateText
from loadtests.options.variable import Variable
from slo.model import Model
from slo.quantities import Duration

BUILT_IN: Final = ("arrival", "step", "nonce", "uuid", "item")
"""Names that always have a value: the arrival's ordinal, the step's, its nonce, a UUID of the step's own, and
what the arrival is about (the option `item`)."""
_FRAMING: Final = {"host", "content-length", "transfer-encoding", "connection", "traceparent"}
_NOT_IN_PATH: Final = re.compile(r"[\x00-\x20\x7f#]")
_NOT_IN_HEADER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
Key = tuple[str | int, ...]


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"expected a name of letters, digits and _, such as user_id, got {text[:60]}")
    return text


VariableName = Annotated[str, AfterValidator(_variable)]


def _path(text: str) -> str:
    for part in templates.parse(text).parts:
        if isinstance(part, str) and (found := _NOT_IN_PATH.search(part)):
            raise ValueError(f"expected a path and query, got {found[0]!r} in it; write it percent-encoded")
    return text


def _header_value(text: str) -> str:
    for part in templates.parse(text).parts:
        if isinstance(part, str) and _NOT_IN_HEADER.search(part):
            raise ValueError(f"expected one line of text, got {text[:60]!r}")
        if isinstance(part, str) and any(ord(character) > 255 for character in part):
            raise ValueError(f"expected Latin-1 text, got {text[:60]!r}")
    return text


def _header_name(text: str) -> str:
    if text.lower() in _FRAMING:
        raise ValueError(f"{text} is set by the user itself")
    return text


RequestHeader = Annotated[HeaderName, AfterValidator(_header_name)]


class HttpStep(Model):
    """One request of a plain HTTP user, and what its reply must be."""

    name: str = Field(min_length=1, max_length=100, description="The operation's name in telemetry.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    path: Annotated[str, Field(pattern=r"^/"), AfterValidator(_path)] = Field(
        description="Path and query. Templates' values are percent-encoded."
    )
    headers: dict[RequestHeader, Annotated[str, AfterValidator(_header_value)]] = Field(default_factory=dict)
    json_: JsonTemplateValue = Field(
        None, alias="json", description="The body, any value; a string that is one template keeps its type."
    )
    body: TemplateText | None = Field(None, description="The body as text.")
    expect_status: Statuses = Field((200,), description="What is right: a status, a class, or a list.")
    checks: tuple[Check, ...] = Field((), description="What else must hold of the reply.")
    extract: dict[VariableName, Extraction] = Field(
        default_factory=dict, description="Values for the steps that follow, by name."
    )
    echo: Extraction | None = Field(None, description="Where the reply repeats the request's nonce.")

    @model_validator(mode="after")
    def _one_body(self) -> HttpStep:
        if self.json_ is not None and self.body is not None:
            raise ValueError("expected json or body, got both")
        return self

    @cached_property
    def uses(self) -> tuple[tuple[Key, templates.Name], ...]:
        """The names in its templates, and the steps to where each stands. Raises BadTemplate."""
        return tuple(self._uses())

    def _uses(self) -> Iterator[tuple[Key, templates.Name]]:
        for key, text in self.texts():
            for name in templates.parse(text).names:
                yield key, name

    def texts(self) -> Iterator[tuple[Key, str]]:
        """The texts that templates may stand in, and the steps to each."""
        yield ("path",), self.path
        for name, text in self.headers.items():
            yield ("headers", name), text
        yield from templates.strings(self.json_, ("json",))
        if self.body is not None:
            yield ("body",), self.body
        for number, check in enumerate(self.checks):
            yield from templates.strings(check.equals, ("checks", number, "equals"))


class HttpOptions(Model):
    """Plain HTTP: the steps of one arrival, in order."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = Field(0.5, ge=0)
    connection: Literal["pooled", "fresh"] = "pooled"
    redirects: Literal["count", "follow"] = Field(
        "count", description="count: a redirect is a status like any other. follow: to the same service."
    )
    cookies: bool = Field(False, description="Whether an arrival keeps the cookies that it is given.")
    vars: dict[VariableName, Variable] = Field(default_factory=dict, description="Names for templates.")
    item: TemplateText | None = Field(None, description="What an arrival is about: the history's `item`.")
    steps: tuple[HttpStep, ...] = Field(min_length=1)


class HttpProfile(Profile):
    """Users that send plain HTTP requests."""

    user: Literal["http"]
    with_: HttpOptions = Field(alias="with")

    def placed(self, root: Path) -> Self:
        """With the files of its variables made absolute."""
        made = {name: variable.placed(root) for name, variable in self.with_.vars.items()}
        return self.model_copy(update={"with_": self.with_.model_copy(update={"vars": made})})

    def flaws(self) -> list[Flaw]:
        """Files of variables that cannot be used, and templates whose names have no value by then."""
        found: list[Flaw] = []
        for name, variable in self.with_.vars.items():
            key = ("with", "vars", name)
            found += variable.flaws(key)
            if name in BUILT_IN:
                found.append(Flaw(key, f"{name} is a name of its own: ${{{name}}} always has a value"))
        return found + _flaws_of_names(self.with_)


def _flaws_of_names(options: HttpOptions) -> list[Flaw]:
    found: list[Flaw] = []
    known = set(BUILT_IN if options.item is not None else BUILT_IN[:-1])
    later = {name: step.name for step in reversed(options.steps) for name in step.extract}
    for name in templates.parse(options.item).names if options.item is not None else ():
        found += _flaw_of(("with", "item"), name, options, {"arrival"}, later)
    for number, step in enumerate(options.steps):
        at: Key = ("with", "steps", number)
        for key, text in step.texts():
            try:
                names = templates.parse(text).names
            except templates.BadTemplate as error:
                found.append(Flaw((*at, *key), str(error)))
                continue
            for name in names:
                found += _flaw_of((*at, *key), name, options, known, later)
        for taken in step.extract:
            if taken in BUILT_IN or taken in options.vars:
                whose = "a variable" if taken in options.vars else "a name of its own"
                found.append(
                    Flaw((*at, "extract", taken), f"{taken} is {whose} already", "name it otherwise")
                )
        known |= step.extract.keys()
    return found


def _flaw_of(
    key: Key, name: templates.Name, options: HttpOptions, known: set[str], later: dict[str, str]
) -> list[Flaw]:
    root = name.root
    if root in options.vars:
        why = options.vars[root].lacks(name.keys)
        return [] if why is None else [Flaw(key, f"${{{name}}}: {why}")]
    if root in known:
        if root in BUILT_IN and name.keys:
            return [Flaw(key, f"${{{name}}}: {root} is a single value", f"write ${{{root}}}")]
        return []
    if root in later:
        message = (
            f"${{{name}}} has no value here: it is extracted by the step {later[root]}, which comes later"
        )
        return [Flaw(key, message, "a step's own extraction is for the steps after it")]
    if root == "item":
        return [Flaw(key, "${item} has no value: there is no `item` in `with`")]
    choices = sorted({*known, *options.vars})
    near = get_close_matches(root, choices, 1)
    hint = f"did you mean ${{{near[0]}}}?" if near else f"known here: {', '.join(choices) or 'no name'}"
    return [Flaw(key, f"${{{name}}}: there is no such name", hint)]
