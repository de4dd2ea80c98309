"""What a request's JSON asks for: options, checked once; what tells requests from each other."""

import hashlib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from studio.errors import InvalidOption, UnknownFormat, UnknownOption

Options = TypeVar("Options", bound=BaseModel)
# Of a name or a value that a sentence repeats.
MOST_SHOWN = 200


def checked(kind: type[Options], body: dict[str, Any]) -> Options:
    """The options of a request body. Raises UnknownOption, UnknownFormat or InvalidOption."""
    try:
        return kind(**body)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])[:MOST_SHOWN]
        if first["type"] == "extra_forbidden":
            raise UnknownOption(
                f"There is no option {name!r}; there are {', '.join(kind.model_fields)}."
            ) from None
        value = repr(first["input"])
        if len(value) > MOST_SHOWN:
            value = f"{value[:MOST_SHOWN]}..."
        sentence = f"The option {name!r} is {value}: {first['msg']}."
        if name == "format":
            raise UnknownFormat(sentence) from None
        raise InvalidOption(sentence) from None


def fingerprint(key: list[Any]) -> str:
    """A short name of all that a result depends on."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
