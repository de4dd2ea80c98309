"""Cuts utterances of a larger vocabulary into pieces that hold only words spoken now.

    python -m training.whisper.pieces --folder OLD_SPEECH

More to train on without another synthesis. Pieces that are held-out
sentences are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .speech import FOLDER, RATE_HZ, Utterance, write_shard
from .words import SPOKEN, VOCABULARY, is_held_out

# Shards of pieces are numbered from here on, so that they never hide shards of utterances.
FIRST_SHARD = 900
_BREATH_S = 0.03
_FADE_SAMPLES = 80
_SLACK_S = 0.005


def cut(utterance: Utterance) -> list[Utterance]:
    """The longest runs of spoken words; faded where they were cut."""
    spoken = [VOCABULARY[int(word)] in SPOKEN for word in utterance.words[:, 0]]
    borders = np.flatnonzero(np.diff([False, *spoken, False]))
    pieces = [_piece(utterance, int(a), int(b)) for a, b in borders.reshape(-1, 2)]
    return [piece for piece in pieces if piece is not None]


def _piece(utterance: Utterance, first: int, last: int) -> Utterance | None:
    """The words `first` to `last` - 1, or None if they are a sentence of the evaluation."""
    words = utterance.words[first:last].copy()
    said = [VOCABULARY[int(word)] for word in words[:, 0]]
    if len(said) > 1 and is_held_out(said):
        return None
    begins, ends = first == 0, last == len(utterance.words)
    start = max(0, round((float(words[0, 1]) - _BREATH_S * begins) * RATE_HZ))
    end = round((float(words[-1, 2]) + _BREATH_S * ends) * RATE_HZ)
    samples = utterance.samples[start:end].astype(np.float32)
    if len(samples) <= 4 * _FADE_SAMPLES:
        return None
    if not begins:
        samples[:_FADE_SAMPLES] *= np.linspace(0, 1, _FADE_SAMPLES)
    if not ends:
        samples[-_FADE_SAMPLES:] *= np.linspace(1, 0, _FADE_SAMPLES)
    start_s, length_s = start / RATE_HZ, len(samples) / RATE_HZ
    words[:, 1:] = np.clip(words[:, 1:] - start_s, 0, length_s)
    times_s = utterance.phonemes[:, 1] - start_s
    inside = (times_s >= -_SLACK_S) & (times_s < length_s - _SLACK_S)
    phonemes = utterance.phonemes[inside].copy()
    phonemes[:, 1] = np.maximum(0, times_s[inside])
    return Utterance(samples.astype(np.int16), words, phonemes, utterance.voice)


def _read(path: Path) -> tuple[list[Utterance], str]:
    """The utterances of a shard, and the names of its phonemes."""
    samples, index = np.load(path, mmap_mode="r"), np.load(path.with_suffix(".npz"))

    def parts(name: str, counts: str) -> list[npt.NDArray[np.float32]]:
        return np.split(index[name], np.cumsum(index[counts])[:-1])

    whole = np.split(samples, np.cumsum(index["lengths"])[:-1])
    words, phonemes = parts("words", "word_counts"), parts("phonemes", "phoneme_counts")
    utterances = [
        Utterance(sound, said, heard, str(voice))
        for sound, said, heard, voice in zip(whole, words, phonemes, index["voices"], strict=True)
    ]
    return utterances, str(index["names"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="shards of the same words")
    for number, path in enumerate(sorted(parser.parse_args().folder.glob("train-*.npy"))):
        utterances, names = _read(path)
        pieces = [piece for utterance in utterances for piece in cut(utterance)]
        target = FOLDER / f"train-{FIRST_SHARD + number:03d}.npy"
        write_shard(target, pieces, names)
        print(f"wrote {target.name}: {len(pieces)} pieces", flush=True)


if __name__ == "__main__":
    main()
