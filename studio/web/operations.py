"""Describes an operation where it is written: a decorator that the OpenAPI document reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from studio.errors import StudioError

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Query:
    """A query parameter with its JSON schema."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """What OpenAPI says of a view. `answers` maps a status to a schema or to a media type."""

    summary: str
    answers: dict[int, type[BaseModel] | str]
    errors: tuple[type[StudioError], ...] = ()
    queries: tuple[Query, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    body_required: bool = True
    deprecated: bool = False


def operation(**described: Any) -> Callable[[View], View]:
    """Attach an `Operation` to a view."""

    def attach(view: View) -> View:
        view.operation = Operation(**described)  # type: ignore[attr-defined]
        return view

    return attach
