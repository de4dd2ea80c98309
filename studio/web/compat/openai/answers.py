"""Transcripts in the forms of OpenAI's API."""

import math
from typing import Any

from studio.transcription.languages import NAMES
from studio.transcription.line_breaks import with_space
from studio.web.compat.openai.fields import TranscriptionRequest
from studio.web.compat.whisper import segment_fields

# Whisper counts time in frames of 10 ms.
FRAMES_PER_S = 100


def usage_of(transcript: dict[str, Any]) -> dict[str, Any]:
    """The audio that was transcribed, in whole seconds as OpenAI bills it."""
    return {"type": "duration", "seconds": math.ceil(transcript["duration_s"])}


def plain(transcript: dict[str, Any]) -> dict[str, Any]:
    """`json`."""
    return {"text": transcript["text"], "usage": usage_of(transcript)}


def verbose(transcript: dict[str, Any], wanted: TranscriptionRequest) -> dict[str, Any]:
    """`verbose_json`."""
    task = wanted.options.get("task", "transcribe")
    language = "en" if task == "translate" else transcript["language"]
    answer: dict[str, Any] = {
        "task": task,
        "language": NAMES.get(language or "", ""),
        "duration": transcript["duration_s"],
        "text": transcript["text"],
    }
    segments = transcript["segments"]
    if wanted.granularities != {"word"}:
        answer["segments"] = [
            {
                **segment_fields(number, segment),
                "seek": round(segment["start_s"] * FRAMES_PER_S),
                "temperature": wanted.temperature,
            }
            for number, segment in enumerate(segments)
        ]
    if "word" in wanted.granularities:
        answer["words"] = [
            {"word": word["text"].strip(), "start": word["start_s"], "end": word["end_s"]}
            for segment in segments
            for word in segment["words"]
        ]
    return {**answer, "usage": usage_of(transcript)}


def deltas(segments: list[dict[str, Any]], is_first: bool) -> list[str]:
    """The pieces of text of some segments, which add up to the text of the transcript."""
    pieces = []
    for segment in segments:
        pieces.append(with_space(segment["text"]).removeprefix(" " if is_first else ""))
        is_first = False
    return pieces
