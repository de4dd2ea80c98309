"""What a request asks for: options, checked once; what tells requests from each other."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from studio.errors import InvalidOption, UnknownFormat, UnknownOption

# Of a name or a value that a sentence repeats.
MOST_SHOWN = 200

# An option of every job, whatever its model; it is taken out before the others are checked.
WEBHOOK = "webhook"


class JobOptions(BaseModel):
    """The options of a job: checked once, frozen afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model_variant: str | None = None


Options = TypeVar("Options", bound=JobOptions)


def parse_options(kind: type[Options], body: dict[str, Any]) -> Options:
    """The options of a request body. Raises UnknownOption, UnknownFormat or InvalidOption."""
    try:
        return kind(**body)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])[:MOST_SHOWN]
        if name == WEBHOOK:
            raise UnknownOption(
                f"The option {WEBHOOK!r} belongs into the request, not into the file."
            ) from None
        if first["type"] == "extra_forbidden":
            known = ", ".join([*kind.model_fields, WEBHOOK])
            raise UnknownOption(f"There is no option {name!r}; there are {known}.") from None
        value = repr(first["input"])
        if len(value) > MOST_SHOWN:
            value = f"{value[:MOST_SHOWN]}..."
        sentence = f"The option {name!r} is {value}: {first['msg']}."
        if name == "format":
            raise UnknownFormat(sentence) from None
        raise InvalidOption(sentence) from None


def with_query(
    kind: type[BaseModel], body: dict[str, Any], query: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The options of a body together with those of a query, whose texts become numbers and so on.

    `query` holds all values of each name. Raises InvalidOption where the two contradict each other.
    """
    options = dict(body)
    for name, texts in query.items():
        value = _typed(kind, name, list(texts))
        if name in body and _as_list(body[name]) != _as_list(value):
            raise InvalidOption(
                f"The option {name!r} is {value!r} in the query and {body[name]!r} in the body. "
                "Give it once."
            )
        options.setdefault(name, value)
    return options


def one_or_more(value: Any) -> Any:
    """A text that stands for a list of one; used before the checks of an option."""
    return [value] if isinstance(value, str) else value


def _typed(kind: type[BaseModel], name: str, texts: list[str]) -> Any:
    """The value of an option that is given as text, once or several times.

    What does not fit its type stays text, for `parse_options` to name.
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
            f"The option {name!r} is given {len(texts)} times in the query. Give it once."
        )
    return texts[0]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fingerprint(key: list[Any]) -> str:
    """A short name of all that a result depends on."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
