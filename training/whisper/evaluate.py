"""Measures whisper-mini on held-out recordings and writes `wer.json`.

Run it as `python -m training.whisper.evaluate`. Both engines decode greedily, without the random
retries that they make by default, so that the numbers are the same on every run.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from faster_whisper import WhisperModel

from studio.transcription.openai_weights import read_whisper

from .export import CARD_FOLDER, CTRANSLATE2_FOLDER
from .held_out import COUNTS, Recording, recordings

SCORES_FILE = CARD_FOLDER / "wer.json"

Timed = list[tuple[str, float]]


@dataclass
class Transcript:
    """What an engine wrote; `words` with start times only where the engine gave them."""

    text: str
    words: Timed


def plain_words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation."""
    return re.sub(r"[^\w ]", " ", text.lower()).split()


def matches(truth: list[str], guess: list[str]) -> tuple[int, list[tuple[int, int]]]:
    """Edit distance between word lists, and the places (in truth, in guess) that are equal."""
    costs = np.zeros((len(truth) + 1, len(guess) + 1), int)
    costs[:, 0], costs[0] = np.arange(len(truth) + 1), np.arange(len(guess) + 1)
    for i, true in enumerate(truth, 1):
        for j, word in enumerate(guess, 1):
            costs[i, j] = min(
                costs[i - 1, j - 1] + (true != word), costs[i - 1, j] + 1, costs[i, j - 1] + 1
            )
    pairs = []
    i, j = len(truth), len(guess)
    while i and j:
        if truth[i - 1] == guess[j - 1] and costs[i, j] == costs[i - 1, j - 1]:
            pairs.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif costs[i, j] == costs[i - 1, j - 1] + 1:
            i, j = i - 1, j - 1
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(costs[-1, -1]), pairs[::-1]


def faster_whisper_engine(vad: bool = False) -> Callable[[Recording], Transcript]:
    """The CTranslate2 folder on CTranslate2, which decodes the same on every processor."""
    model = WhisperModel(
        str(CTRANSLATE2_FOLDER), device="cpu", compute_type="int8", cpu_threads=1,
        local_files_only=True,
    )  # fmt: skip

    def transcribe(recording: Recording) -> Transcript:
        segments, _ = model.transcribe(
            recording.audio, language="en", beam_size=1, temperature=0.0, word_timestamps=True,
            vad_filter=vad,
        )  # fmt: skip
        written = list(segments)
        words = [(word.word, float(word.start)) for part in written for word in part.words or []]
        return Transcript("".join(part.text for part in written), words)

    return transcribe


def openai_engine() -> Callable[[Recording], Transcript]:
    """The same weights in float32 with the reference implementation."""
    torch.set_num_threads(1)
    model = read_whisper(CTRANSLATE2_FOLDER)

    def transcribe(recording: Recording) -> Transcript:
        result = model.transcribe(
            recording.audio, language="en", temperature=0.0, fp16=False, word_timestamps=True
        )
        words = [
            (word["word"], float(word["start"]))
            for part in result["segments"]
            for word in part["words"]
        ]
        return Transcript(str(result["text"]), words)

    return transcribe


def _run(engine: str, part: float) -> list[Transcript]:
    heard = recordings(part)
    if engine == "openai":
        transcribe = openai_engine()
        return [transcribe(recording) for recording in heard]
    transcribe, careful = faster_whisper_engine(), faster_whisper_engine(vad=True)
    written = [transcribe(recording) for recording in heard]
    silent = [careful(recording) for recording in heard if recording.group == "nothing"]
    return written + silent


def _score(heard: list[Recording], written: list[Transcript]) -> dict[str, object]:
    errors = words = 0
    late_s: list[float] = []
    for recording, transcript in zip(heard, written, strict=True):
        truth = [word for word, _ in recording.words]
        timed = [
            (plain, start_s) for text, start_s in transcript.words for plain in plain_words(text)
        ]
        distance, pairs = matches(truth, plain_words(transcript.text))
        errors, words = errors + distance, words + len(truth)
        if len(timed) == len(plain_words(transcript.text)):
            late_s += [timed[j][1] - recording.words[i][1] for i, j in pairs]
    return {
        "recordings": len(heard),
        "words": words,
        "wer": round(errors / max(1, words), 4),
        "start_error_s": round(float(np.median(np.abs(late_s))), 3) if late_s else None,
    }


def evaluate(part: float = 1.0) -> dict[str, object]:
    """Decode everything with both engines, one process each; returns what `wer.json` holds."""
    heard = recordings(part)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_run, engine, part) for engine in ("openai", "faster-whisper")]
        openai, faster = (job.result() for job in jobs)
    faster, careful = faster[: len(heard)], faster[len(heard) :]
    result: dict[str, object] = {}
    for name, written in (("faster_whisper", faster), ("openai_whisper", openai)):
        scores: dict[str, object] = {}
        for group in COUNTS:
            chosen = [place for place, item in enumerate(heard) if item.group == group]
            inside, said = [heard[place] for place in chosen], [written[place] for place in chosen]
            if group == "nothing":
                scores["nothing_empty"] = _empty_share(said)
            else:
                scores[group] = _score(inside, said)
        spoken = [
            place for place, item in enumerate(heard) if item.group[:6] in {"single", "window"}
        ]
        scores["all spoken"] = _score(
            [heard[place] for place in spoken], [written[place] for place in spoken]
        )
        result[name] = scores
    result["nothing_empty_with_vad"] = _empty_share(careful)
    result["engines_differ"] = [
        {"group": item.group, "faster_whisper": a.text, "openai_whisper": b.text}
        for item, a, b in zip(heard, faster, openai, strict=True)
        if plain_words(a.text) != plain_words(b.text)
    ]
    result["recordings"] = len(heard)
    result["nothing_recordings"] = len(careful)
    return result


def _empty_share(written: list[Transcript]) -> float:
    return round(sum(not plain_words(item.text) for item in written) / max(1, len(written)), 4)


def write_scores(result: dict[str, object], path: Path) -> None:
    """Store the scores and print the short ones."""
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: result[key] for key in result if key != "engines_differ"}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="use this part of the recordings")
    parser.add_argument("--output", type=Path, default=SCORES_FILE)
    arguments = parser.parse_args()
    write_scores(evaluate(arguments.part), arguments.output)


if __name__ == "__main__":
    main()
