"""Writes the bundled spoken sample: several held-out sentences by one held-out voice.

Run it as `python -m training.whisper.sample`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from . import sound
from .espeak import Manner, Speaker
from .speech import RATE_HZ, say_sentence
from .words import HELD_OUT_VARIANTS, VOCABULARY, draw_sentence

FOLDER = Path(__file__).parents[2] / "samples" / "speech"
VOICE = f"en-us+{HELD_OUT_VARIANTS[0]}"
SEED = 7
LONGEST_S = 22.0
_LEAD_S, _PAUSE_S = 0.4, 0.8
_NOISE_DB = 30.0
MAX_BYTES = 1_000_000


def write_sample(folder: Path = FOLDER) -> int:
    """Write `spoken.flac` (16 kHz mono) and `spoken.json`; returns their size in bytes."""
    rng = np.random.default_rng(SEED)
    speaker, names = Speaker(), dict[str, int]()
    audio = np.zeros(round(LONGEST_S * RATE_HZ), np.float32)
    at_s = _LEAD_S
    sentences: list[dict[str, Any]] = []
    while True:
        said = draw_sentence(rng, held_out=True)
        # The tests let the first sentence be spoken alone.
        if not (3 if sentences else 5) <= len(said) <= (8 if sentences else 5):
            continue
        utterance = say_sentence(speaker, said, VOICE, Manner(), names)
        if utterance is None:
            continue
        end_s = at_s + len(utterance.samples) / RATE_HZ
        if end_s > LONGEST_S - _LEAD_S:
            break
        first = round(at_s * RATE_HZ)
        audio[first : first + len(utterance.samples)] = utterance.samples / np.float32(32768)
        sentences.append({
            "text": " ".join(said) + ".",
            "words": [
                {
                    "word": VOCABULARY[int(word)],
                    "start_s": round(at_s + float(start_s), 3),
                    "end_s": round(at_s + float(end_s), 3),
                }
                for word, start_s, end_s in utterance.words
            ],
        })  # fmt: skip
        at_s = end_s + _PAUSE_S
    audio = audio[: round((at_s - _PAUSE_S + _LEAD_S) * RATE_HZ)]
    audio = sound.add(audio, sound.noise(rng, len(audio)), _NOISE_DB)
    audio *= np.float32(0.7 / np.abs(audio).max())
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "spoken.flac", audio, RATE_HZ, "PCM_16", compression_level=1.0)
    truth = {
        "text": " ".join(str(sentence["text"]) for sentence in sentences),
        "voice": f"espeak-ng {VOICE}",
        "duration_s": round(len(audio) / RATE_HZ, 3),
        "sentences": sentences,
    }
    (folder / "spoken.json").write_text(json.dumps(truth, indent=2) + "\n")
    size_bytes = sum((folder / name).stat().st_size for name in ("spoken.flac", "spoken.json"))
    if size_bytes > MAX_BYTES:
        raise ValueError(f"the spoken sample takes {size_bytes} bytes, over {MAX_BYTES}")
    return size_bytes


if __name__ == "__main__":
    print(f"spoken sample: {write_sample()} bytes")
