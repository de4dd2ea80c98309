"""A decorator that describes a view for the OpenAPI document."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from studio.errors import StudioError

ANY_MODEL = "any"
TRACK = "track"
"""In `Operation.answers`: a track, in any format of any model."""
TAGS = {
    "server": "State of the server and its models",
    "files": "Upload, list and delete files",
    "jobs": "Run models on files",
    "tracks": "Download results",
    "access": "Use downloads and pages without sending a key",
    "monitoring": "Metrics for Prometheus",
}
"""The groups of operations, with a description of each."""

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Parameter:
    """A query or header parameter with its JSON schema.

    If `is_format`, its values are the formats of all tracks. If `of_stem` is set, it stands for one
    parameter for each stem, named as this says, such as `{stem}.pan`.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=dict)
    place: Literal["query", "header"] = "query"
    is_format: bool = False
    of_stem: str = ""


@dataclass(frozen=True)
class Operation:
    """The OpenAPI description of a view.

    `name` is the operation ID unless `model` is set, and `tag` one of TAGS. `answers` maps a status
    to a schema, media types separated by commas, TRACK, or None for an empty body. `body` has the
    content by media type, or the schema of JSON. An open operation requires no API key. `rate` is
    the rate limit that applies: general, work, or none. If `query_is_options`, the view checks the
    query itself: it may contain the options of the body, those of the model `options_of`, or of any
    model if that is ANY_MODEL. An operation of any model is described once more for each `model`.
    The protocols of other programs and the files of pages are not described in the OpenAPI
    document.
    """

    name: str
    tag: str
    summary: str
    answers: dict[int, type[BaseModel] | str | None]
    errors: tuple[type[StudioError], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | type[BaseModel] = field(default_factory=dict)
    options_of: str | None = None
    model: str = ""
    body_required: bool = True
    deprecated: bool = False
    is_open: bool = False
    query_is_options: bool = False
    rate: Literal["general", "work", "none"] = "general"
    is_described: bool = True

    @property
    def operation_id(self) -> str:
        """For one model, `start_job` becomes `start_demucs_job`."""
        verb, _, noun = self.name.partition("_")
        return f"{verb}_{self.model}_{noun}" if self.model else self.name


def operation(**described: Any) -> Callable[[View], View]:
    """Attach an `Operation` to a view."""

    def attach(view: View) -> View:
        view.operation = Operation(**described)  # type: ignore[attr-defined]
        return view

    return attach


def own_file(view: View) -> View:
    """A view that sends files of the server's pages: without a key, and without a rate limit."""
    attach = operation(
        name="", tag="", summary="", answers={}, is_open=True, rate="none", is_described=False
    )
    return attach(view)


def other_protocol(rate: Literal["general", "work", "none"]) -> Callable[[View], View]:
    """Describe a view that speaks the protocol of another program: it needs a key."""
    return operation(name="", tag="", summary="", answers={}, rate=rate, is_described=False)
