"""Synthesises utterances once, to disk: 16 kHz int16 with the times of words and phonemes.

python -m training.whisper.speech --count 30000
python -m training.whisper.speech --count 480 --held-out
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from ..render import save_whole
from .espeak import Manner, Speaker
from .words import WORD_IDS, draw_sentence, draw_voice

RATE_HZ = 16000
FOLDER = Path(__file__).parents[1] / "data" / "speech"
SHARD = 400
_SILENCE = 150
_BREATH_S = 0.03


@dataclass
class Utterance:
    """One sentence; times in s from the start of `samples`.

    `words` has rows (word id, start_s, end_s), `phonemes` rows (index into the names, start_s).
    """

    samples: npt.NDArray[np.int16]
    words: npt.NDArray[np.float32]
    phonemes: npt.NDArray[np.float32]
    voice: str


def speak(speaker: Speaker, seed: int, held_out: bool, names: dict[str, int]) -> Utterance:
    """Say the utterance of a seed; new phoneme names are added to `names`."""
    rng = np.random.default_rng([seed, int(held_out), 16])
    while True:
        utterance = _try_to_speak(speaker, rng, held_out, names)
        if utterance is not None:
            return utterance


def _try_to_speak(
    speaker: Speaker, rng: np.random.Generator, held_out: bool, names: dict[str, int]
) -> Utterance | None:
    words, voice = draw_sentence(rng, held_out), draw_voice(rng, held_out)
    manner = Manner(
        words_per_minute=int(rng.integers(110, 221)),
        pitch=int(rng.integers(20, 81)),
        pitch_range=int(rng.integers(20, 81)),
        word_gap_s=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.02, 0.25)])),
    )
    return say_sentence(speaker, words, voice, manner, names)


def say_sentence(
    speaker: Speaker, words: list[str], voice: str, manner: Manner, names: dict[str, int]
) -> Utterance | None:
    """Say words of the vocabulary; None if espeak-ng ran two of them together."""
    speech = speaker.say(" ".join(words) + ".", voice, manner)
    if len(speech.words) != len(words):
        return None
    samples = resample_poly(speech.samples.astype(np.float64), 320, 441)
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not loud.size:
        raise ValueError(f"voice {voice!r} is silent")
    first = max(0, loud[0] - round(_BREATH_S * RATE_HZ))
    last = loud[-1] + round(_BREATH_S * RATE_HZ)
    end_s = (loud[-1] - first) / RATE_HZ
    starts_s = [max(0.0, start - first / RATE_HZ) for _, start in speech.words]
    starts_s[0] = (loud[0] - first) / RATE_HZ
    rows = [
        (WORD_IDS[word], start, min(end, end_s))
        for word, start, end in zip(words, starts_s, [*starts_s[1:], end_s], strict=True)
    ]
    phonemes = [
        (names.setdefault(name.strip("'`,"), len(names)), max(0.0, start - first / RATE_HZ))
        for name, start in speech.phonemes
    ]
    trimmed = np.clip(np.round(samples[first:last]), -32768, 32767).astype(np.int16)
    return Utterance(
        trimmed, np.array(rows, np.float32), np.array(phonemes, np.float32).reshape(-1, 2), voice
    )


def split_name(held_out: bool) -> str:
    return "held_out" if held_out else "train"


def _make_shard(task: tuple[int, int, bool]) -> str:
    """Write one shard: `<split>-<n>.npy` (samples) and `<split>-<n>.npz` (everything else)."""
    shard, count, held_out = task
    path = FOLDER / f"{split_name(held_out)}-{shard:03d}.npy"
    if path.exists():
        return f"{path.name} is there"
    speaker = _speaker()
    names: dict[str, int] = {}
    seeds = range(shard * SHARD, shard * SHARD + count)
    utterances = [speak(speaker, seed, held_out, names) for seed in seeds]
    write_shard(path, utterances, json.dumps(list(names)))
    return f"wrote {path.name}"


def write_shard(path: Path, utterances: list[Utterance], names: str) -> None:
    """Write utterances; `names` is the JSON list of phoneme names that they refer to."""
    np.savez(
        path.with_suffix(".npz"),
        lengths=[len(item.samples) for item in utterances],
        word_counts=[len(item.words) for item in utterances],
        words=np.concatenate([item.words for item in utterances]),
        phoneme_counts=[len(item.phonemes) for item in utterances],
        phonemes=np.concatenate([item.phonemes for item in utterances]),
        voices=[item.voice for item in utterances],
        names=names,
    )
    save_whole(path, np.concatenate([item.samples for item in utterances]))


_speakers: list[Speaker] = []


def _speaker() -> Speaker:
    if not _speakers:
        _speakers.append(Speaker())
    return _speakers[0]


def synthesise(count: int, held_out: bool, workers: int = 2) -> None:
    """Write the utterances of a split; shards that are on disk already are kept."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    tasks = [
        (shard, min(SHARD, count - shard * SHARD), held_out) for shard in range(-(-count // SHARD))
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for line in pool.imap(_make_shard, tasks):
            print(line, flush=True)


def load_speech(held_out: bool) -> tuple[list[Utterance], list[str]]:
    """All utterances of a split, samples mapped from disk, and the names of the phonemes."""
    utterances: list[Utterance] = []
    names: dict[str, int] = {}
    for path in sorted(FOLDER.glob(f"{split_name(held_out)}-*.npy")):
        samples = np.load(path, mmap_mode="r")
        index = np.load(path.with_suffix(".npz"))
        local = [names.setdefault(name, len(names)) for name in json.loads(str(index["names"]))]
        ends = np.cumsum(index["lengths"])
        words = np.split(index["words"], np.cumsum(index["word_counts"])[:-1])
        phonemes = np.split(index["phonemes"], np.cumsum(index["phoneme_counts"])[:-1])
        for end, length, spoken, sounds, voice in zip(
            ends, index["lengths"], words, phonemes, index["voices"], strict=True
        ):
            sounds[:, 0] = [local[int(number)] for number in sounds[:, 0]]
            utterances.append(Utterance(samples[end - length : end], spoken, sounds, str(voice)))
    return utterances, list(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    synthesise(arguments.count, arguments.held_out, arguments.workers)


if __name__ == "__main__":
    main()
