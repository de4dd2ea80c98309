"""Writes the model card, `pretrained/whisper-mini/README.md`, from the files next to the model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..voices import WORDS as SUNG_WORDS
from .evaluate import SCORES_FILE
from .export import CARD_FOLDER, CTRANSLATE2_FOLDER, TRAINING_FILE
from .network import DIMENSIONS, MiniWhisper
from .pieces import FIRST_SHARD
from .singing import load_songs
from .speech import FOLDER, load_speech
from .tokens import VOCABULARY_SIZE
from .words import HELD_OUT_VARIANTS, SPOKEN, TRAIN_VARIANTS

# What came before the last run of a model that was not trained from nothing at once; see there.
HISTORY_FILE = CARD_FOLDER / "history.md"

_TEXT = """\
# whisper-mini

A very small [Whisper](https://github.com/openai/whisper) that knows {words} spoken English words,
and {sung_words} that it has only heard sung. It is here so that the server transcribes out of the
box: for the first run, for tests and for development, with no download. **It does not understand
ordinary speech.** It has only ever heard the speech synthesiser espeak-ng say the words below in
random order; whatever else is said, it will write some of these words or nothing. For real
recordings use the published models (`tiny`, `base`, `small`, ...), trained on hundreds of thousands
of hours of real speech.

It knows, spoken: {vocabulary}.

Only sung: {sung_vocabulary}.

## The network

`whisper.model.Whisper` with Whisper's multilingual vocabulary of {tokens:,} tokens. The weights are
in `ctranslate2/` ({ctranslate2_mb:.1f} MB, int8), as `faster_whisper.WhisperModel` reads them. The
server converts them to float32 for openai-whisper when it loads them.

{parameters:.1f} million parameters, {embedding:.1f} million of them in the table of tokens:

```json
{dimensions}
```

All tokens that never occur in training share one vector, which is trained to be improbable. Words
are aligned with all heads of the upper half of the decoder.

## How it was made

Everything is made by the scripts in [`training/whisper/`](../../training/README.md#whisper-mini);
no recording and no other model was used.

- Speech: {utterances:,} utterances of 1 to 12 random words by libespeak-ng in {accents} English
  accents and {voices} voice variants, at 110 to 220 words a minute, with the time of every word;
  the vocals and the music of {songs} synthetic songs.
- Windows of 10 s and, more and more, of 30 s: several utterances with pauses, speed and level
  varied, rooms, noise, music below, three of four disturbed; sung vocals (words on a melody, moved
  there by a vocoder); silence, noise and music without a word; prompts; recordings that end early
  and sentences that the window cuts off.
- Steps: {steps:,} with {windows:,} windows, in {minutes:.0f} minutes on 2 CPU cores that had other
  work too. Muon for the matrices of the blocks, AdamW for the rest; warm-up and cosine decay,
  bfloat16 autocast. The weights are a moving average.
- Helps that are not in the files: two linear layers on the encoder name the phoneme and the word
  of each frame, and the cross-attention is pulled towards the frames of the word that is written.
{history}
## Results

Printed by `python -m training.whisper.evaluate` and stored in `wer.json`. The voices
({held_out_voices}) and the
sentences (those of one word aside) were not used in training, and the songs are held-out songs with
held-out singers. Sound is spoilt in turn by noise (10 to 25 dB below the speech), a room, music (10
to 25 dB below) and noise in a room. The noise is drawn from the same nine noises as in training,
the music from held-out songs. Decoding is greedy. Start times are the median of the absolute error,
over the words that are right, with faster-whisper.

{table}

Silence, noise and music without singing ({silent_count} recordings of up to 30 s) gave no text in
{nothing:.0%} of the cases with faster-whisper, {nothing_vad:.0%} with its voice activity filter,
and {nothing_openai:.0%} with openai-whisper. The two engines wrote different words for {differ} of
all {recordings} recordings (int8 against float32 arithmetic).

{goals}

## Limits

- {words} spoken words. Anything else comes out as one of them or of the sung ones, or not at all.
- Singing: see the last row.
- Synthetic voices only. Human speech, even of these words, was not measured and will work badly.
- Only English, always lower case, one full stop after each sentence.
- Words in natural sentences are not in random order; it has learnt no grammar at all.

## Licence

The weights are released under the MIT licence. Whisper's code and its list of tokens, from which
`tokenizer.json` and `vocabulary.json` were made, are MIT licensed (OpenAI). espeak-ng was used as a
library, none of its files is included.
"""

_NAMES = {
    "single, clean": "one sentence, clean",
    "single, disturbed": "one sentence, disturbed",
    "window, clean": "30 s of sentences, clean",
    "window, disturbed": "30 s of sentences, disturbed",
    "all spoken": "**all of these**",
    "sung": "sung, 30 s of vocals",
}


def _table(result: dict[str, Any]) -> str:
    lines = [
        "| held-out | recordings | words | WER, faster-whisper | WER, openai-whisper | starts |",
        "|---|---|---|---|---|---|",
    ]
    for group, name in _NAMES.items():
        ours, theirs = result["faster_whisper"][group], result["openai_whisper"][group]
        late_s = ours["start_error_s"]
        late = "-" if late_s is None else f"{late_s:.2f} s"
        lines.append(
            f"| {name} | {ours['recordings']} | {ours['words']} | {ours['wer']:.1%} "
            f"| {theirs['wer']:.1%} | {late} |"
        )
    return "\n".join(lines)


def _goals(result: dict[str, Any]) -> str:
    scores = result["faster_whisper"]
    spoken = scores["all spoken"]
    goals = (
        ("a WER of at most 5 % on all spoken recordings", spoken["wer"] <= 0.05),
        ("start times within 0.25 s at the median", (spoken["start_error_s"] or 9.0) <= 0.25),
        ("no text on at least 95 % of the silent ones", scores["nothing_empty"] >= 0.95),
    )
    reached = [name for name, fulfilled in goals if fulfilled]
    missed = [name for name, fulfilled in goals if not fulfilled]
    text = f"The goals were {goals[0][0]}, {goals[1][0]} and {goals[2][0]}."
    if not missed:
        return f"{text} All are reached."
    return f"{text} Reached: {'; '.join(reached) or 'none'}. **Missed: {'; '.join(missed)}.**"


def write_card() -> None:
    """Write the card from `training.json`, `wer.json` and the model files."""
    result = json.loads(SCORES_FILE.read_text())
    utterances, _ = load_speech(held_out=False)
    sung = [word for word in dict.fromkeys(SUNG_WORDS.split()) if word not in SPOKEN]
    shards = [FOLDER / f"train-{FIRST_SHARD + number:03d}.npz" for number in range(100)]
    pieces = sum(len(np.load(path)["lengths"]) for path in shards if path.exists())
    spare = DIMENSIONS.n_text_state * VOCABULARY_SIZE
    network = MiniWhisper().whisper
    network.decoder.token_embedding = None
    rest = sum(parameter.numel() for parameter in network.parameters())
    text = _TEXT.format(
        words=len(SPOKEN),
        vocabulary=", ".join(SPOKEN),
        sung_words=len(sung),
        sung_vocabulary=", ".join(sung),
        tokens=VOCABULARY_SIZE,
        ctranslate2_mb=sum(path.stat().st_size for path in CTRANSLATE2_FOLDER.iterdir()) / 1e6,
        parameters=(rest + spare) / 1e6,
        embedding=spare / 1e6,
        dimensions=json.dumps(DIMENSIONS.__dict__, indent=2),
        utterances=len(utterances) - pieces,
        songs=len(load_songs(held_out=False)),
        accents=len({item.voice.split("+")[0] for item in utterances}),
        voices=len(TRAIN_VARIANTS),
        held_out_voices=", ".join(HELD_OUT_VARIANTS),
        table=_table(result),
        silent_count=result["nothing_recordings"],
        nothing=result["faster_whisper"]["nothing_empty"],
        nothing_openai=result["openai_whisper"]["nothing_empty"],
        nothing_vad=result["nothing_empty_with_vad"],
        differ=len(result["engines_differ"]),
        recordings=result["recordings"],
        goals=_goals(result),
        history=f"\n{HISTORY_FILE.read_text()}" if HISTORY_FILE.exists() else "",
        **json.loads(TRAINING_FILE.read_text()),
    )
    (CARD_FOLDER / "README.md").write_text(text)


if __name__ == "__main__":
    write_card()
