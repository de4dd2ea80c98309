"""The fields of a transcription request, and the job options that they mean."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import InvalidOption
from studio.transcription.languages import language_code
from studio.web.compat.form_values import FormValues
from studio.web.compat.openai import names

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "lrc")
STREAMED_FORMATS = ("json", "text")
GRANULARITIES = ("segment", "word")
# OpenAI's service also uses only the end of a long prompt.
MAX_PROMPT_CHARACTERS = 1000
MAX_KEYWORDS_CHARACTERS = 500
MAX_NUMBER_CHARACTERS = 40


@dataclass(frozen=True)
class TranscriptionRequest:
    """What a request asks for: the options of its job, and the form of the answer."""

    options: dict[str, Any]
    response_format: str
    granularities: frozenset[str]
    is_streamed: bool
    temperature: float


def requested(fields: Mapping[str, Sequence[str]], task: str) -> TranscriptionRequest:
    """The request in the fields of a form, each with all its values. Raises InvalidOption."""
    values = _Values(fields)
    response_format = values.response_format()
    is_streamed = values.flag("stream") or False
    if is_streamed and response_format not in STREAMED_FORMATS:
        raise _invalid(
            "response_format", response_format, f"with stream=true, use {_listed(STREAMED_FORMATS)}"
        )
    temperature = values.temperature()
    return TranscriptionRequest(
        _options(values, task, temperature),
        response_format,
        frozenset(values.each_of("timestamp_granularities", GRANULARITIES)),
        is_streamed,
        temperature,
    )


def _options(values: "_Values", task: str, temperature: float) -> dict[str, Any]:
    options = names.options_of(values.last("model"))
    if task != "transcribe":
        options["task"] = task
    elif language := values.language():
        options["language"] = language
    if prompt := values.last("prompt"):
        options["initial_prompt"] = prompt[-MAX_PROMPT_CHARACTERS:]
    keywords = ", ".join(filter(None, map(str.strip, values.all("keywords"))))
    if len(keywords) > MAX_KEYWORDS_CHARACTERS:
        raise InvalidOption(
            f"`keywords` has {len(keywords)} characters in total; at most "
            f"{MAX_KEYWORDS_CHARACTERS} are allowed.",
            param="keywords",
        )
    if keywords:
        options["hotwords"] = keywords
    if temperature > 0:
        options["temperature"] = temperature
    return options


class _Values(FormValues):
    """The values of fields, whose names may end in `[]`; empty ones count as not sent."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        super().__init__(lambda name: next(reversed(self.all(name)), None), _invalid, _listed)
        self._fields = fields

    def all(self, name: str) -> list[str]:
        sent = [*self._fields.get(name, ()), *self._fields.get(f"{name}[]", ())]
        return [value for value in sent if value]

    def response_format(self) -> str:
        name = "response_format"
        if self.last(name) == "diarized_json":
            raise InvalidOption(
                "`response_format` is 'diarized_json', but this server does not tell speakers "
                f"apart. Use {_listed(FORMATS)}.",
                param=name,
            )
        return self.one_of(name, FORMATS) or "json"

    def each_of(self, name: str, allowed: Sequence[str]) -> list[str]:
        for value in (values := self.all(name)):
            if value not in allowed:
                raise _invalid(name, value, f"use {_listed(allowed)}")
        return values

    def temperature(self) -> float:
        text = self.last("temperature") or "0"
        try:
            value = float(text) if len(text) <= MAX_NUMBER_CHARACTERS else math.nan
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise _invalid("temperature", text, "use a number from 0 to 1")
        return value

    def language(self) -> str | None:
        """The language that is spoken; None to detect it, as among several."""
        given, several = self.last("language"), self.all("languages")
        for name, text in (("language", given), *(("languages", one) for one in several)):
            if text is not None and language_code(text) is None:
                raise _invalid(name, text, "use a code such as en, or leave it out")
        return given or (several[0] if len(several) == 1 else None)


def fields_of(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields of a JSON body in the form that `requested` takes."""
    fields = {}
    for name, value in body.items():
        several = value if isinstance(value, list) else [value]
        fields[name] = [_text(one) for one in several if one is not None]
    return fields


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _invalid(name: str, value: str, advice: str) -> InvalidOption:
    return InvalidOption(f"`{name}` is {value[:100]!r}; {advice}.", param=name)
