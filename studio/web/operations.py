"""Describes an operation where it is written: a decorator that the OpenAPI document reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from studio.errors import StudioError

ANY_MODEL = "any"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query or, where `place` says so, in a header; with its JSON schema.

    Where `is_format`, its values are all formats of tracks.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=dict)
    place: Literal["query", "header"] = "query"
    is_format: bool = False


@dataclass(frozen=True)
class Operation:
    """What OpenAPI says of a view.

    `answers` maps a status to a schema, to a media type, or to None where there is no body. An open
    operation needs no API key. `rate` names the rate that counts its requests: the general one,
    that of work, or none. Where `query_is_options`, the query may hold the options of the body,
    which are those of the model `options_of`, or of any model where it is ANY_MODEL.
    """

    summary: str
    answers: dict[int, type[BaseModel] | str | None]
    errors: tuple[type[StudioError], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    options_of: str | None = None
    body_required: bool = True
    deprecated: bool = False
    is_open: bool = False
    query_is_options: bool = False
    rate: Literal["general", "work", "none"] = "general"


def operation(**described: Any) -> Callable[[View], View]:
    """Attach an `Operation` to a view."""

    def attach(view: View) -> View:
        view.operation = Operation(**described)  # type: ignore[attr-defined]
        return view

    return attach
