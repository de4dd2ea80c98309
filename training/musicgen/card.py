"""Writes the model card, `pretrained/musicgen-mini/README.md`, from the files beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import evaluate
from .codec import CODEBOOKS, CODES, CONFIG
from .codes import load_codes
from .export import CARD_FOLDER, TRAINING_FILE
from .network import DECODER_CONFIG, GENERATION_CONFIG, TEXT_CONFIG, build_model
from .prompts import DRUMS, FAMILIES, MOODS, REGISTERS, TEMPOS, split_combinations, vocabulary

GOAL = 0.8

_TEXT = """\
# musicgen-mini

A very small [MusicGen](https://github.com/facebookresearch/audiocraft) that knows {words} words.
It is bundled so that the server can generate music without a download: for first runs, tests and
development. **It generates exercises, not music.** It was trained only on notes and chords on an
even beat, played by a General MIDI soundfont. For anything worth listening to, use the published
models (`small`, `medium`, `large`, ...), which were trained on thousands of hours of recordings.

A prompt may contain

| what | words |
|---|---|
| instrument | {families} |
| tempo | {tempos} |
| mood | {moods} |
| drums | {drums} |
| register | {registers} |

for example `a slow piano tune in a minor key, low register, with drums`. Attributes that are left
out are chosen at random. All unknown words are treated alike.

## Architecture

`transformers.MusicgenForConditionalGeneration`, as written by `save_pretrained`, float32,
{megabytes:.1f} MB; {parameters:.2f} million parameters:

| class | size | parameters |
|---|---|---|
| `T5EncoderModel` | {text_layers} layers, width {text_width} | {text_parameters:.2f} M |
| `EncodecModel` | 32 kHz mono, {codebooks} codebooks of {codes} | {codec_parameters:.2f} M |
| `MusicgenForCausalLM` | {layers} layers, width {width} | {decoder_parameters:.2f} M |

The codec has 50 frames per second and {filters} filters; the decoder has {heads} heads.

## Training

The scripts in [`training/musicgen/`](../../training/README.md#musicgen-mini) created everything;
no recordings and no other models were used.

- Pieces: broken chords, one note per beat, with the chords I, IV and V in C major or C minor.
  With drums, kick and snare alternate and a hi-hat plays on every beat. A beat lasts 1.0 s
  (slow), 0.6 s (medium) or 0.38 s (fast). Registers span one octave from C2, C4 or C6. Each note
  was rendered once with the FluidR3 General MIDI soundfont, and begins exactly on a frame of the
  codec.
- {train_combinations} of the {all_combinations} combinations are used for training,
  {held_out} are held out. All single values, and the sounds of all notes, occur in training.
- Codec: computed, not trained by gradient descent. With biases that keep every ELU linear, its
  convolutions form an MDCT with 640 coefficients. A principal component analysis of the training
  pieces reduces them to {components} components. The codebooks are computed by k-means, each on the
  residual of the previous one.
- Decoder and text encoder, trained together: {steps:,} steps on {pieces:,} excerpts of {rendered}
  pieces of 10 s, in {minutes:.0f} minutes. One prompt in ten is masked. Muon and AdamW, bfloat16
  autocast; the weights are a moving average.
- The CPU cores were shared with other work.

## Results

As printed by `python -m training.musicgen.evaluate` and stored in `scores.json`: {prompts}
prompts, two wordings of each held-out combination, {duration_s} s each, with the settings in
`generation_config.json` (sampling, temperature 1, guidance {guidance:g}). The guidance was
selected from four settings on 24 of the combinations; at 3, the value of the published models,
the model loses the beat more often. Only the audio is measured:

- tempo: the first high peak of the autocorrelation of the onsets, assigned to one of three
  classes;
- drums: the level of noise between 6 and 14 kHz, above or below {noise_db:.1f} dB relative to
  the whole signal;
- register: the lowest steady partial stronger than {partial_db:.1f} dB relative to the
  strongest one.

Both thresholds were set on rendered training pieces. The columns on the right show the accuracy
of the measurements themselves: on rendered pieces of the same combinations, and on the same
pieces after encoding and decoding with this codec.

{table}

{goals} Mood and instrument were not measured.

## Limitations

- It knows only the words above. Other words are ignored or have unpredictable effects.
- It was trained on excerpts of up to 10 s. After that, it keeps the beat less well.
- The codec was made for these few sounds, with an error {left_db:.0f} dB below them. Other audio
  that is given as a beginning is distorted. Samples beyond full scale are compressed.

## Licence

The weights are released under the MIT licence. The FluidR3 GM soundfont (Frank Wen, MIT licence)
was used to render the notes.
"""


def _table(scores: dict[str, Any]) -> str:
    lines = [
        "| attribute | generated | rendered | encoded and decoded |",
        "|---|---:|---:|---:|",
    ]
    for name, share in scores["generated"].items():
        attribute = " " not in name
        label = f"**{name}**" if attribute else name.replace("True", "on").replace("False", "off")
        others = [f"{scores[kind][name]:.0%}" for kind in ("rendered", "through_codec")]
        shown = f"**{share:.0%}**" if attribute else f"{share:.0%}"
        lines.append(f"| {label} | {shown} | {others[0]} | {others[1]} |")
    return "\n".join(lines)


def _goals(scores: dict[str, Any]) -> str:
    missed = [
        name for name, share in scores["generated"].items() if " " not in name and share < GOAL
    ]
    goal = f"The goal was {GOAL:.0%} for tempo, drums and register each."
    return f"{goal} **Missed: {', '.join(missed)}.**" if missed else f"{goal} It was reached."


def _wordings(group: Mapping[Any, tuple[str, ...]]) -> str:
    return "; ".join(" or ".join(words) for words in group.values())


def write_card() -> None:
    """Write the card from `training.json`, `scores.json` and the model files."""
    scores = json.loads(evaluate.SCORES_FILE.read_text())
    split = split_combinations()
    model = build_model()

    def millions(part: Any) -> float:
        return float(sum(parameter.numel() for parameter in part.parameters())) / 1e6

    text = _TEXT.format(
        words=len(vocabulary()),
        families=", ".join(FAMILIES),
        tempos=_wordings(TEMPOS),
        moods=_wordings(MOODS),
        drums=_wordings(DRUMS),
        registers=_wordings(REGISTERS),
        megabytes=sum(path.stat().st_size for path in CARD_FOLDER.iterdir()) / 1e6,
        parameters=millions(model),
        text_layers=TEXT_CONFIG.num_layers,
        text_width=TEXT_CONFIG.d_model,
        text_parameters=millions(model.text_encoder),
        codebooks=CODEBOOKS,
        codes=CODES,
        filters=CONFIG.num_filters,
        codec_parameters=millions(model.audio_encoder),
        layers=DECODER_CONFIG.num_hidden_layers,
        width=DECODER_CONFIG.hidden_size,
        heads=DECODER_CONFIG.num_attention_heads,
        decoder_parameters=millions(model.decoder),
        train_combinations=len(split.train),
        held_out=len(split.held_out),
        all_combinations=len(split.train) + len(split.held_out),
        components=CONFIG.hidden_size,
        rendered=len(load_codes()[0]),
        prompts=scores["prompts"],
        guidance=GENERATION_CONFIG.guidance_scale,
        duration_s=scores["duration_s"],
        table=_table(scores),
        goals=_goals(scores),
        left_db=-scores["codec_error_db"],
        **scores["thresholds"],
        **json.loads(TRAINING_FILE.read_text()),
    )
    (CARD_FOLDER / "README.md").write_text(text)


if __name__ == "__main__":
    write_card()
