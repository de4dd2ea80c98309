"""Measures how well the exported model follows prompts; writes `scores.json` next to it.

Run it as `python -m training.musicgen.evaluate`. Nothing but the sound is looked at. The measures
themselves are checked too: on rendered pieces of the same combinations, as they are and after a
way through the codec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer, EncodecModel, MusicgenForConditionalGeneration

from .export import CARD_FOLDER
from .measure import Heard, analyse, calibrate, decide
from .pieces import FRAME_RATE_HZ, write_piece
from .prompts import Combination, say, split_combinations
from .sounds import RATE_HZ, Player, render_sounds

SCORES_FILE = CARD_FOLDER / "scores.json"
PROMPTS_PER_COMBINATION = 2
DURATION_S = 6
_BATCH = 24

Floats = npt.NDArray[np.float32]


def generate(
    model: MusicgenForConditionalGeneration, prompts: Sequence[str], seed: int, frames: int
) -> Floats:
    """One batch of sounds with the model's own generation settings: (prompts, samples)."""
    tokenizer = AutoTokenizer.from_pretrained(CARD_FOLDER)
    words = tokenizer(list(prompts), padding=True, return_tensors="pt")
    torch.manual_seed(seed)
    delay = model.decoder.num_codebooks - 1
    sounds = model.generate(
        input_ids=words.input_ids,
        attention_mask=words.attention_mask,
        max_new_tokens=frames + delay,
    )
    heard: npt.NDArray[np.float32] = sounds[:, 0].numpy()
    return heard


def through_codec(codec: EncodecModel, sounds: Sequence[Floats]) -> Iterator[Floats]:
    """Each sound encoded and decoded again."""
    for sound in sounds:
        with torch.no_grad():
            codes = codec.encode(torch.from_numpy(sound)[None, None]).audio_codes
            yield codec.decode(codes, [None]).audio_values[0, 0].numpy()


def error_db(originals: Sequence[Floats], decoded: Sequence[Floats]) -> float:
    """The power of all errors over that of all sounds."""
    whole, errors = np.stack(originals), np.stack(originals) - np.stack(decoded)
    return float(10 * np.log10((errors**2).mean() / (whole**2).mean()))


def shares(asked: Sequence[Combination], heard: Sequence[Heard]) -> dict[str, Any]:
    """The share of cases that are right: of all, and by what was asked for."""
    right: dict[str, Any] = {}
    for name in Heard._fields:
        wanted = [getattr(combination, name) for combination in asked]
        hits = np.array([
            getattr(one, name) == value for one, value in zip(heard, wanted, strict=True)
        ])  # fmt: skip
        right[name] = round(float(hits.mean()), 3)
        for value in sorted(set(wanted)):
            of_value = np.array([other == value for other in wanted])
            right[f"{name} {value}"] = round(float(hits[of_value].mean()), 3)
    return right


def evaluate() -> dict[str, Any]:
    """Everything that goes into `scores.json`."""
    render_sounds()
    player, rng = Player(), np.random.default_rng(2)
    frames = DURATION_S * FRAME_RATE_HZ

    def rendered(combinations: Sequence[Combination]) -> list[Floats]:
        return [player.perform(write_piece(one, rng, frames)) for one in combinations]

    split = split_combinations()
    thresholds = calibrate([
        (analyse(sound, RATE_HZ), combination.drums, combination.register)
        for combination, sound in zip(split.train, rendered(split.train), strict=True)
    ])  # fmt: skip

    def hear(sounds: Sequence[Floats]) -> list[Heard]:
        return [decide(analyse(sound, RATE_HZ), thresholds) for sound in sounds]

    asked = list(split.held_out) * PROMPTS_PER_COMBINATION
    prompts = [say(combination, rng) for combination in asked]
    originals = rendered(asked)
    torch.set_flush_denormal(True)
    model = MusicgenForConditionalGeneration.from_pretrained(CARD_FOLDER).eval()
    generated: list[Floats] = []
    for seed, start in enumerate(range(0, len(prompts), _BATCH)):
        generated += list(generate(model, prompts[start : start + _BATCH], seed, frames))
    heard = hear(generated)
    decoded = list(through_codec(model.audio_encoder, originals))
    return {
        "prompts": len(prompts),
        "duration_s": DURATION_S,
        "thresholds": asdict(thresholds),
        "codec_error_db": round(error_db(originals, decoded), 1),
        "generated": shares(asked, heard),
        "rendered": shares(asked, hear(originals)),
        "through_codec": shares(asked, hear(decoded)),
        "cases": [
            {"prompt": prompt, "asked": combination._asdict(), "heard": one._asdict()}
            for prompt, combination, one in zip(prompts, asked, heard, strict=True)
        ],
    }


def write_scores() -> dict[str, Any]:
    """Evaluate and write the file; returns what is in it."""
    scores = evaluate()
    SCORES_FILE.write_text(json.dumps(scores, indent=1) + "\n")
    return scores


if __name__ == "__main__":
    print(json.dumps(write_scores()["generated"], indent=2))
