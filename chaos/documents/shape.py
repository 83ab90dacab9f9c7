"""Which model describes which part of a document: follows an error's location down the models.

A validation error's location holds steps that nobody wrote: the member of a union that was tried. Only the
models tell those from keys of the same name (`timeout` is a fault's type and one of its keys), so the
location is followed through models and text at once.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

from chaos.documents.tree import Node, Steps, as_written


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an error is: the steps that people wrote, and the model that the last key belongs to."""

    steps: Steps
    model: type[BaseModel] | None
    is_key: bool = False

    def in_text(self, tree: Node) -> Spot:
        """The same, by the steps that the text has."""
        return replace(self, steps=as_written(tree, self.steps))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the model knows here."""
        if self.model is None:
            return ()
        return tuple(field.alias or name for name, field in self.model.model_fields.items())


@dataclass(frozen=True, slots=True)
class _Shape:
    """An annotation, and what goes with it."""

    type: Any
    metadata: tuple[Any, ...] = ()


def follow(model: type[BaseModel] | Any, location: Iterable[int | str]) -> Spot:
    """The spot that a pydantic error's `loc` speaks of."""
    steps: list[str | int] = []
    shape = _plain(_Shape(model))
    owner: type[BaseModel] | None = None
    for element in location:
        if element == "[key]":
            return Spot(tuple(steps), owner, is_key=True)
        members = _members(shape)
        if members:
            shape = _plain(_chosen(members, shape, element))
            continue
        below = _below(shape, element)
        if below is None:
            continue
        owner = shape.type if _is_model(shape.type) else None
        steps.append(element)
        shape = _plain(below)
    return Spot(tuple(steps), owner)


def fields_at(model: type[BaseModel] | Any, location: Iterable[int | str]) -> tuple[str, ...]:
    """The keys that the mapping at `loc` itself may have; none if it is no model."""
    shape = _plain(_Shape(model))
    for element in location:
        members = _members(shape)
        below = _chosen(members, shape, element) if members else _below(shape, element)
        shape = _plain(below) if below else shape
    return Spot((), shape.type if _is_model(shape.type) else None).keys


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _plain(shape: _Shape) -> _Shape:
    """Without `Annotated` and without `| None`, neither of which an error's location names."""
    kind, metadata = shape.type, shape.metadata
    while True:
        if get_origin(kind) is Annotated:
            kind, *more = get_args(kind)
            metadata = (*metadata, *more)
        elif _is_union(kind) and type(None) in get_args(kind):
            rest = tuple(arm for arm in get_args(kind) if arm is not type(None))
            if len(rest) > 1:
                return _Shape(Union[rest], metadata)  # noqa: UP007 - the members are known at run time only
            kind = rest[0]
        else:
            return _Shape(kind, metadata)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _members(shape: _Shape) -> tuple[Any, ...]:
    return get_args(shape.type) if _is_union(shape.type) else ()


def _below(shape: _Shape, element: int | str) -> _Shape | None:
    """What stands under one step, or None when the step is none that people write."""
    kind = shape.type
    if _is_model(kind):
        for name, field in kind.model_fields.items():
            if element in (name, field.alias):
                return _of_field(field)
        return _Shape(Any) if isinstance(element, str) else None
    origin = get_origin(kind)
    if origin in (tuple, list, set, frozenset) and isinstance(element, int):
        return _Shape(get_args(kind)[0])
    if origin is dict and isinstance(element, str | int):
        return _Shape(get_args(kind)[1])
    if kind is Any:
        return _Shape(Any)
    return None


def _of_field(field: FieldInfo) -> _Shape:
    extra = (field,) if field.discriminator else ()
    return _Shape(field.annotation, (*field.metadata, *extra))


def _chosen(members: tuple[Any, ...], shape: _Shape, tag: int | str) -> _Shape:
    """The member of a union that a location's tag names; Any when the tag is not understood."""
    key = _discriminator(shape)
    for member in members:
        bare = _plain(_Shape(member))
        tags = [extra.tag for extra in bare.metadata if isinstance(extra, Tag)]
        if isinstance(key, str) and _is_model(bare.type) and key in bare.type.model_fields:
            annotation = bare.type.model_fields[key].annotation
            if get_origin(annotation) is Literal:
                tags += [str(value) for value in get_args(annotation)]
        if tag in tags or tag in (getattr(bare.type, "__name__", ""), str(bare.type)):
            return bare
    return _Shape(Any)


def _discriminator(shape: _Shape) -> str | None:
    for extra in shape.metadata:
        found = extra.discriminator if isinstance(extra, FieldInfo | Discriminator) else None
        if isinstance(found, str):
            return found
    return None
