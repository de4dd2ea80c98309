"""Turns a scene into tokens, and tells for each token which frames it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch

from . import tokens
from .network import FRAMES
from .scene import Floats, Scene

FRAMES_PER_S = 50
FIRST_TIMESTAMP_S = 1.0
NOTHING = -100
_MAX_PROMPT = 223
_SILENCE_AFTER_S = 1.0


@dataclass
class Example:
    """One window. `spans` and `following` are (tokens, 2) first and last frame, or NOTHING.

    At position p, `targets` is the token to predict and `spans` its frames; `following` are the
    frames of the token that is read there.
    """

    mel: torch.Tensor
    offset: int
    inputs: list[int]
    targets: list[int]
    spans: list[tuple[int, int]]
    following: list[tuple[int, int]]
    words: torch.Tensor
    phonemes: torch.Tensor


Token = tuple[int, tuple[float, float] | None]


def make_example(
    rng: np.random.Generator, mel: torch.Tensor, scene: Scene, prompt: list[Floats]
) -> Example:
    """Write down what a scene says, in one of Whisper's two ways (with timestamps or without)."""
    frames = mel.shape[1] // 2
    offset = int(rng.integers(0, FRAMES - frames + 1))
    silent = not scene.sentences and scene.cut is None
    timed = scene.cut is not None or silent or bool(rng.random() < 0.6)
    header: list[Token] = [(tokens.SOT, None), (tokens.ENGLISH, None), (tokens.TRANSCRIBE, None)]
    body = _timed(scene, offset) if timed else _untimed(scene)
    written = [*header, *body, (tokens.EOT, _end_span(scene))]
    before = _prompt_tokens(rng, prompt)
    numbers = [*before, *(number for number, _ in written)]
    spans = [*([None] * len(before)), *(span for _, span in written)]
    targets = [NOTHING] * len(before) + numbers[len(before) + 1 :]
    if silent:
        targets[len(before)] = tokens.NO_SPEECH
    inputs = _disturb(rng, numbers[:-1], len(before) + 3)
    return Example(
        mel, offset, inputs, targets, _to_frames(spans[1:], frames), _to_frames(spans[:-1], frames),
        _word_labels(scene, frames), _phoneme_labels(scene, frames),
    )  # fmt: skip


def _timed(scene: Scene, offset: int) -> list[Token]:
    body: list[Token] = []
    shift_s = offset / FRAMES_PER_S
    for place, sentence in enumerate(scene.sentences):
        start_s, end_s = float(sentence[0, 1]), float(sentence[-1, 2])
        if place == 0 and offset == 0 and len(scene.audio) > 20 * 16000:
            body.append((tokens.timestamp(min(start_s, FIRST_TIMESTAMP_S)), None))
        else:
            body.append((tokens.timestamp(start_s + shift_s), (start_s - 0.1, start_s + 0.2)))
        body += _sentence(scene, place)
        body.append((tokens.timestamp(end_s + shift_s), (end_s - 0.2, end_s + 0.1)))
    if scene.cut is not None:
        start_s = float(scene.cut[0, 1])
        first = not scene.sentences and offset == 0
        shown_s = min(start_s, FIRST_TIMESTAMP_S) if first else start_s + shift_s
        body.append((tokens.timestamp(shown_s), (start_s - 0.1, start_s + 0.2)))
    return body or [(tokens.timestamp(shift_s), None)]


def _untimed(scene: Scene) -> list[Token]:
    body: list[Token] = [(tokens.NO_TIMESTAMPS, None)]
    for place in range(len(scene.sentences)):
        body += _sentence(scene, place)
    return body


def _sentence(scene: Scene, place: int) -> list[Token]:
    body: list[Token] = []
    sentence = scene.sentences[place]
    for word, start_s, end_s in sentence.tolist():
        numbers = tokens.word_numbers()[int(word)]
        step_s = (end_s - start_s) / len(numbers)
        for part, number in enumerate(numbers):
            body.append((number, (start_s + part * step_s, start_s + (part + 1) * step_s)))
    end_s = float(sentence[-1, 2])
    later = [
        *scene.sentences[place + 1 : place + 2],
        *([scene.cut] if scene.cut is not None else []),
    ]
    until_s = float(later[0][0, 1]) if later else end_s + _SILENCE_AFTER_S
    body.append((tokens.FULL_STOP, (end_s, max(until_s, end_s + 0.06))))
    return body


def _end_span(scene: Scene) -> tuple[float, float] | None:
    if scene.cut is not None or not scene.sentences:
        return None
    end_s = float(scene.sentences[-1][-1, 2])
    return end_s + 0.1, end_s + 0.1 + _SILENCE_AFTER_S


def _prompt_tokens(rng: np.random.Generator, prompt: list[Floats]) -> list[int]:
    if not prompt:
        return []
    numbers: list[int] = []
    timed = rng.random() < 0.7
    for sentence in prompt:
        spoken = [part for word in sentence[:, 0] for part in tokens.word_numbers()[int(word)]]
        if rng.random() < 0.1:
            spoken = [tokens.UNUSED] * int(rng.integers(1, 12))
        times = [tokens.timestamp(float(sentence[0, 1])), tokens.timestamp(float(sentence[-1, 2]))]
        line = [*spoken, tokens.FULL_STOP]
        numbers += [times[0], *line, times[1]] if timed else line
    return [tokens.PREVIOUS, *numbers[-_MAX_PROMPT:]]


def _disturb(rng: np.random.Generator, numbers: list[int], first: int) -> list[int]:
    """Change a few of the tokens to read, as a decoder that errs would."""
    disturbed = list(numbers)
    for place in range(first, len(numbers)):
        number = numbers[place]
        if number >= tokens.FIRST_TIMESTAMP:
            if rng.random() < 0.3:
                moved = number + int(rng.integers(-3, 4))
                disturbed[place] = min(tokens.SIZE - 1, max(tokens.FIRST_TIMESTAMP, moved))
        elif number > tokens.FULL_STOP and rng.random() < 0.03:
            disturbed[place] = int(rng.integers(tokens.FULL_STOP + 1, tokens.UNUSED))
    return disturbed


def _to_frames(spans: list[tuple[float, float] | None], frames: int) -> list[tuple[int, int]]:
    result = []
    for span in spans:
        first = last = NOTHING
        if span is not None:
            first = min(frames - 1, max(0, round(span[0] * FRAMES_PER_S)))
            last = min(frames - 1, max(first, round(span[1] * FRAMES_PER_S) - 1))
        result.append((first, last))
    return result


def _word_labels(scene: Scene, frames: int) -> torch.Tensor:
    labels = torch.zeros(frames, dtype=torch.long)
    parts = [*scene.sentences, *([scene.cut] if scene.cut is not None else [])]
    for word, start_s, end_s in (row for part in parts for row in part.tolist()):
        labels[round(start_s * FRAMES_PER_S) : round(end_s * FRAMES_PER_S)] = int(word) + 1
    if scene.cut is not None:
        cut_words = scene.cut[scene.cut[:, 2] > frames / FRAMES_PER_S]
        if len(cut_words):
            labels[round(float(cut_words[0, 1]) * FRAMES_PER_S) :] = NOTHING
    return labels


def _phoneme_labels(scene: Scene, frames: int) -> torch.Tensor:
    """Number 0 is silence; a phoneme lasts until the next one starts."""
    if not scene.phonemes_known:
        return torch.full((frames,), NOTHING)
    labels = torch.zeros(frames, dtype=torch.long)
    rows = scene.phonemes.tolist()
    for (number, start_s), following in zip_longest(rows, rows[1:]):
        end_s = following[1] if following and following[1] > start_s else start_s + 0.05
        labels[round(start_s * FRAMES_PER_S) : round(end_s * FRAMES_PER_S)] = int(number)
    return labels
