"""Writes the model card, `pretrained/whisper-mini/README.md`, from the files beside the model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..voices import WORDS as SUNG_WORDS
from .evaluate import SCORES_FILE
from .export import CARD_FOLDER, CTRANSLATE2_FOLDER, TRAINING_FILE
from .network import DIMENSIONS, MiniWhisper
from .singing import load_songs
from .speech import FOLDER, load_speech
from .tokens import VOCABULARY_SIZE
from .words import HELD_OUT_VARIANTS, SPOKEN, TRAIN_VARIANTS

# Shards from this number on hold pieces of utterances, which are not counted as utterances.
FIRST_SHARD = 900
# Earlier runs of a model that was not trained from scratch in a single run.
HISTORY_FILE = CARD_FOLDER / "history.md"

_TEXT = """\
# whisper-mini

A very small [Whisper](https://github.com/openai/whisper) that recognises {words} spoken English
words, and {sung_words} more that it has only heard sung. It is bundled so that the server can
transcribe without a download: for first runs, tests and development. **It does not understand
ordinary speech.** It was trained only on the words below, spoken in random order by the speech
synthesiser espeak-ng. Whatever else is said, it writes some of these words or nothing. For real
recordings, use the published models (`tiny`, `base`, `small`, ...), which were trained on
hundreds of thousands of hours of real speech.

Spoken words: {vocabulary}.

Sung words: {sung_vocabulary}.

## Architecture

`whisper.model.Whisper` with Whisper's multilingual vocabulary of {tokens:,} tokens. The weights are
in `ctranslate2/` ({ctranslate2_mb:.1f} MB, int8), as `faster_whisper.WhisperModel` reads them.
The server converts them to float32 for openai-whisper when it loads them.

{parameters:.1f} million parameters, {embedding:.1f} million of them in the token embedding:

```json
{dimensions}
```

All tokens that do not occur in training share one vector, which is trained to be improbable. Words
are aligned with all heads of the upper half of the decoder.

## Training

The scripts in [`training/whisper/`](../../training/README.md#whisper-mini) created everything; no
recordings and no other models were used.

- Speech: {utterances:,} utterances of 1 to 12 random words by libespeak-ng in {accents} English
  accents and {voices} voice variants, at 110 to 220 words per minute, with the time of every
  word; and the vocals and backing of {songs} synthetic songs.
- Windows: 10 s, and increasingly 30 s. They contain several utterances with pauses, at varying
  speed and level, three out of four with reverberation, noise or background music; sung vocals
  (words moved onto a melody by a vocoder); silence, noise and music without words; prompts;
  recordings that end early, and sentences that are cut off by the window.
- Steps: {steps:,} with {windows:,} windows, in {minutes:.0f} minutes on 2 CPU cores that were
  shared with other work. Muon for the matrices of the blocks, AdamW for the rest; warm-up and
  cosine decay, bfloat16 autocast. The weights are a moving average.
- Auxiliary losses, whose layers are not in the files: two linear layers on the encoder predict
  the phoneme and the word of each frame, and the cross-attention is pulled towards the frames of
  the word that is written.
{history}
## Results

As printed by `python -m training.whisper.evaluate` and stored in `wer.json`. The voices
({held_out_voices}) and the sentences (except those of a single word) were not used in training,
and the songs are held-out songs with held-out singers. Disturbed audio has, in turn, noise (10 to
25 dB below the speech), reverberation, music (10 to 25 dB below), or noise and reverberation. The
noise is drawn from the same nine types as in training, the music from held-out songs. Decoding is
greedy. Start errors are the median absolute error over the correctly recognised words, with
faster-whisper.

{table}

For silence, noise and music without singing ({silent_count} recordings of up to 30 s),
faster-whisper produced no text in {nothing:.0%} of the cases, or in {nothing_vad:.0%} with its
voice activity filter, and openai-whisper in {nothing_openai:.0%}. The two engines produced
different words for {differ} of all {recordings} recordings (int8 and float32).

{goals}

## Limitations

- {words} spoken words. Anything else is transcribed as one of them, as a sung word, or not at
  all.
- Singing: see the last row of the table.
- Synthetic voices only. Human speech, even of these words, was not tested and will work badly.
- English only, always in lower case, with one full stop after each sentence.
- The training sentences are words in random order, so the model has learned no grammar.

## Licence

The weights are released under the MIT licence. Whisper's code and its token list, from which
`tokenizer.json` and `vocabulary.json` were made, are under the MIT licence (OpenAI). espeak-ng
was used as a library; none of its files is included.
"""

_NAMES = {
    "single, clean": "one sentence, clean",
    "single, disturbed": "one sentence, disturbed",
    "window, clean": "30 s of sentences, clean",
    "window, disturbed": "30 s of sentences, disturbed",
    "all spoken": "**all spoken**",
    "sung": "sung, 30 s of vocals",
}


def _table(result: dict[str, Any]) -> str:
    lines = [
        "| held-out | recordings | words | WER, faster-whisper | WER, openai-whisper | start "
        "error |",
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
        ("a median start error of at most 0.25 s", (spoken["start_error_s"] or 9.0) <= 0.25),
        ("no text for at least 95 % of the silent recordings", scores["nothing_empty"] >= 0.95),
    )
    reached = [name for name, fulfilled in goals if fulfilled]
    missed = [name for name, fulfilled in goals if not fulfilled]
    text = f"The goals were {goals[0][0]}, {goals[1][0]} and {goals[2][0]}."
    if not missed:
        return f"{text} All were reached."
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
