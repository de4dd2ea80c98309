"""The names of models: OpenAI's mean the default variant of Whisper, others a variant."""

from typing import Any

from studio.errors import UnknownVariant
from studio.processors import Processors
from studio.web.compat.whisper import WHISPER

DEFAULT = "whisper-1"
# Before a name: listen to the vocals, separated from the rest.
VOCALS = "vocals:"


def options_of(name: str | None) -> dict[str, Any]:
    """The options of a job for a model name; the variant itself is checked with the job."""
    wanted = name or DEFAULT
    options: dict[str, Any] = {"source": "vocals"} if wanted.startswith(VOCALS) else {}
    variant = wanted.removeprefix(VOCALS)
    if variant and variant != DEFAULT and not variant.startswith("gpt-"):
        options["model_variant"] = variant
    return options


def known(models: Processors) -> list[str]:
    """All names, without OpenAI's own except the first."""
    plain = [DEFAULT, *models.describe()[WHISPER]["variants"]]
    return [*plain, *(f"{VOCALS}{name}" for name in plain)]


def check(models: Processors, name: str) -> None:
    """Raise UnknownVariant if there is no such model."""
    variant = options_of(name).get("model_variant")
    if variant is not None and variant not in (names := known(models)):
        raise UnknownVariant(f"The model {name!r} does not exist. Available: {', '.join(names)}.")


def described(name: str) -> dict[str, Any]:
    """A model as OpenAI describes one."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "audio-studio"}
