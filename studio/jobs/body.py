"""Parses and checks the options of a request, and computes request fingerprints."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from studio.errors import InvalidOption, UnknownFormat, UnknownOption

# Characters of a name or a value that an error repeats.
MAX_SHOWN_CHARACTERS = 200

# An option of every job; it is removed before the options of the model are checked.
WEBHOOK = "webhook"

# Stored with the options of a job: the identities of the sounds that they name, by option.
SOURCE_IDENTITIES = "source_identities"

VariantName = Annotated[str, Field(min_length=1, max_length=200)]


class StrictBody(BaseModel):
    """A request body, or an object in one: checked once, frozen afterwards.

    Lists that are much longer than those of options need `FailFast`, because pydantic keeps about
    1 kB for each error of a body.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_one_unknown(cls, fields: Any) -> Any:
        """Keep the first unknown field only, because each would be an error."""
        if not isinstance(fields, dict):
            return fields
        kept = {name: fields[name] for name in cls.model_fields if name in fields}
        unknown = next((name for name in fields if name not in kept), None)
        return kept if unknown is None else {**kept, unknown: fields[unknown]}


class JobOptions(StrictBody):
    """The options of a job."""

    model_variant: str | None = None


Options = TypeVar("Options", bound=JobOptions)
Body = TypeVar("Body", bound=BaseModel)


def parse_options(kind: type[Options], body: dict[str, Any]) -> Options:
    """The options of a request body. Raises UnknownOption, UnknownFormat or InvalidOption."""
    if WEBHOOK in body:
        raise UnknownOption(f"The option {WEBHOOK!r} must be in the request, not in the file.")
    return parse_body(kind, body, WEBHOOK)


def parse_body(kind: type[Body], body: dict[str, Any], *also_known: str) -> Body:
    """A request body. Raises UnknownOption, UnknownFormat or InvalidOption."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])[:MAX_SHOWN_CHARACTERS]
        if first["type"] == "extra_forbidden":
            known = ", ".join([*kind.model_fields, *also_known])
            raise UnknownOption(f"Unknown option {name!r}. Known: {known}.") from None
        if first["type"] == "missing":
            raise InvalidOption(f"The option {name!r} is missing. Add it to the body.") from None
        value = repr(first["input"])
        if len(value) > MAX_SHOWN_CHARACTERS:
            value = f"{value[:MAX_SHOWN_CHARACTERS]}..."
        sentence = f"The option {name!r} is {value}: {first['msg']}."
        if name == "format":
            raise UnknownFormat(sentence) from None
        raise InvalidOption(sentence) from None


def with_query(
    kind: type[BaseModel], body: dict[str, Any], query: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Merge the options of a body and a query, whose strings are converted to the right type.

    `query` has all values of each name. Raises InvalidOption if the two contradict each other.
    """
    options = dict(body)
    for name, texts in query.items():
        value = _typed(kind, name, list(texts))
        if name in body and _as_list(body[name]) != _as_list(value):
            raise InvalidOption(
                f"The option {name!r} is {value!r} in the query but {body[name]!r} in the body. "
                "Send it once."
            )
        options.setdefault(name, value)
    return options


def one_or_more(value: Any) -> Any:
    """Turn a string into a list with one item, before an option is checked."""
    return [value] if isinstance(value, str) else value


def _typed(kind: type[BaseModel], name: str, texts: list[str]) -> Any:
    """The value of an option from its strings in a query.

    A string that does not fit the type is returned unchanged, for `parse_options` to report.
    """
    field = kind.model_fields.get(name)
    annotation: Any = field.annotation if field else str
    adapter = TypeAdapter[Any](annotation)
    for value in (*texts, texts) if len(texts) == 1 else (texts,):
        try:
            return adapter.validate_python(value)
        except ValidationError:
            continue
    if len(texts) > 1:
        raise InvalidOption(
            f"The option {name!r} occurs {len(texts)} times in the query. Send it once."
        )
    return texts[0]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fingerprint(key: list[Any]) -> str:
    """A hash of everything that a result depends on."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
