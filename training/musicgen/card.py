"""Writes the model card, `pretrained/musicgen-mini/README.md`, from the files next to the model."""

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

A very small [MusicGen](https://github.com/facebookresearch/audiocraft) that knows {words} words. It
is here so that the server makes music out of the box: for the first run, for tests and for
development, with no download. **It makes exercises, not music.** It has only ever heard notes and
chords on an even beat, played by a General MIDI soundfont. For anything to listen to use the
published models (`small`, `medium`, `large`, ...), trained on thousands of hours of recordings.

A prompt may ask for

| what | words |
|---|---|
| instrument | {families} |
| tempo | {tempos} |
| mood | {moods} |
| drums | {drums} |
| register | {registers} |

for example `a slow piano tune in a minor key, low register, with drums`. Things that are left out
are drawn; words that it does not know are all the same to it.

## The network

`transformers.MusicgenForConditionalGeneration`, as `save_pretrained` writes it, float32,
{megabytes:.1f} MB; {parameters:.2f} million parameters:

| class | size | parameters |
|---|---|---|
| `T5EncoderModel` | {text_layers} layers, width {text_width} | {text_parameters:.2f} M |
| `EncodecModel` | 32 kHz mono, {codebooks} codebooks of {codes} | {codec_parameters:.2f} M |
| `MusicgenForCausalLM` | {layers} layers, width {width} | {decoder_parameters:.2f} M |

The codec writes 50 frames a second and has {filters} filters; the decoder has {heads} heads.

## How it was made

Everything is made by the scripts in [`training/musicgen/`](../../training/README.md#musicgen-mini);
no recording and no other model was used.

- Pieces: broken chords, one note on every beat, I, IV and V in C major or C minor; if there are
  drums, kick and snare in turn and a hi-hat on every beat. A beat is 1.0 s (slow), 0.6 s (medium)
  or 0.38 s (fast); registers are one octave from C2, C4 or C6. Each note was rendered once with the
  FluidR3 General MIDI soundfont, and begins exactly on a frame of the codec.
- {train_combinations} of the {all_combinations} combinations are trained on, {held_out} are held
  out. All single values and the sounds of all notes occur in training.
- Codec: computed, not trained by gradients. With biases that keep every ELU linear, its
  convolutions are an MDCT of 640 coefficients, of which the {components} principal components over
  the training pieces are kept; the codebooks are k-means of these, each one of what is left over by
  the one before.
- Decoder and text encoder, together: {steps:,} steps with {pieces:,} stretches of {rendered}
  pieces of 10 s, in {minutes:.0f} minutes. One prompt in ten is masked. Muon and AdamW, bfloat16
  autocast; the weights are a moving average.
- On CPU cores that had other work too.

## Does it listen?

Printed by `python -m training.musicgen.evaluate` and stored in `scores.json`: {prompts} prompts,
two wordings of each combination that was held out, {duration_s} s each, with the settings in
`generation_config.json` (sampling, temperature 1, guidance {guidance:g}). That guidance was chosen
among four settings on 24 of the combinations; at 3, as the published models have it, the model
loses the beat more often. Only the sound is measured:

- tempo: the first high peak of the autocorrelation of the onsets, sorted into the three classes;
- drums: the level of noise between 6 and 14 kHz, over or under {noise_db:.1f} dB of all sound;
- register: the lowest steady partial stronger than {partial_db:.1f} dB of the strongest one.

Both thresholds were set on rendered training pieces. How right the measures are themselves is in
the columns to the right: rendered pieces of the same combinations, as they are, and after encoding
and decoding by this codec.

{table}

{goals} Mood and instrument were not measured.

## Limits

- It knows the words above. Anything else is ignored or leads anywhere.
- It was trained on stretches of up to 10 s. What comes later keeps the beat less well.
- The codec was made for these few sounds, with an error {left_db:.0f} dB below them; other sounds,
  given to continue from, come out mangled. Samples beyond full scale are compressed.

## Licence

The weights are released under the MIT licence. The soundfont FluidR3 GM (Frank Wen, MIT licence)
was used to render the notes.
"""


def _table(scores: dict[str, Any]) -> str:
    lines = [
        "| followed | generated | rendered | through the codec |",
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
    return f"{goal} **Missed: {', '.join(missed)}.**" if missed else f"{goal} It is reached."


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
