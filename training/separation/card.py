"""Writes the model card, `pretrained/demucs-mini/README.md`, from the files beside the model."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from demucs.hf import load_safetensors_model

from training.songs import BASS_RANGE, OTHER_RANGE

from .evaluate import CHECK_SONGS, MUSIC_PIECES, OFFSET, SCORES_FILE, SETS, table
from .network import (
    CARD_FOLDER,
    KWARGS,
    MODEL_FILE,
    SEGMENT_S,
    TRAINING_FILE,
    parameter_count,
)
from .sources import KNOWN, UNSEEN, Sources

_TEXT = """\
# demucs-mini

A small [HTDemucs](https://github.com/adefossez/demucs) that separates music into drums, bass, other
and vocals. It is bundled so that the server can separate songs without a download: for first runs,
tests and development. **It is not meant for music production.** It was trained on sound fonts, drum
kits, computed synthesizers and speech moved onto melodies. On real recordings, the published models
(`htdemucs`, `htdemucs_ft`, ...), which were trained on hundreds of hours of multitrack recordings,
are far better.

## Architecture

`demucs.htdemucs.HTDemucs`, 44.1 kHz stereo, segments of {segment} s, {parameters:.2f} million
parameters, stored as float16 ({size_mb:.1f} MB) in the format that
`demucs.hf.load_safetensors_model` reads. Arguments that differ from the defaults of the class:

```json
{kwargs}
```

## Training

The scripts in [`training/`](../../training/README.md) made all songs, from sounds that packages
carry. No released songs and no other models were used.

- Songs: {songs} of 24 s, written by a seeded generator (chords, bass lines, drum patterns,
  melodies; tempo 70 to 180; 4/4 and 3/4). The bass plays MIDI notes {bass_low} to {bass_high}; the
  other instruments start at {other_low}, and three in ten parts are an octave lower.
- {known}
- Synthesizers with random settings play 30% of the drums, 60% of the basses and 25% of the other
  parts. The singers are espeak-ng and people whose telephone prompts are moved onto the melody with
  the WORLD vocoder; some prompts stay as they were spoken. Stems are stored in Opus.
- Steps: {steps}, with {examples:,} segments of {segment} s in all. In six of ten segments, every
  stem comes from another song. Each stem gets its own speed, equaliser, room, compression,
  saturation, width and place, and is sometimes silent; mixtures get compression and clipping
  ([`remix.py`](../../training/separation/remix.py)).
{time}
- Loss: the error amplitude of each item and source, relative to the mixture. Adam, warm-up and
  cosine decay, bfloat16 autocast. The weights are a moving average.

## Results

SDR in dB, `10 log10(sum(s^2) / sum((s - estimate)^2))` over the whole song and both channels, as
printed by `python -m training.separation.evaluate`. `sdr.json` lists every song. The songs are
normalised first, as the server and the Demucs command line do.

{table}
{unmeasured}
The test sets, from the most to the least similar to the training songs:

- *Held-out programs*: same composer and mixer as the training songs, other melodies and voices.
  The first model was trained on one sound font without these programs and kits; since then,
  training uses all programs of that font.
- *Unseen sources*: same composer and mixer, but every sound comes from a source that is reserved
  for tests ([`sources.py`](../../training/separation/sources.py)):
  {unseen}.
- *Known and unseen sources*: a source of either kind plays each stem.
- *Second maker*: a composer and mixer that share no code with the first
  ([`second_set.py`](../../training/separation/second_set.py)). Three sound fonts, two recorded drum
  kits, a computed drum machine, and the speech of four people, tuned to the key.
{checks}
The last three sets were made after the first model was trained and before this one was, and have
not changed since. No training uses the reserved sources, but the sounds of the computed basses, the
equalisers of the basses and the weight of their error were chosen after looking at errors on the
unseen sources, and two trials were discarded by their scores there. Two of the second maker's three
fonts, one of its two recorded kits and two of its four people are known to the model; its composer
and mixer are not.

The first model had 2.4 million parameters and was trained on one sound font. It reached (drums,
bass, other, vocals) 8.2, 7.3, 6.6 and 7.5 dB on the held-out programs; 4.9, 1.2, 4.3 and 5.9 dB on
the first four songs of unseen sources; and 2.4, 2.3, 1.8 and 4.6 dB on the first seven of the
second maker. In the recorded music, its vocals stem was at -13.0 dB. The weights cannot be
reproduced exactly, because training ends after a given time.

## Limitations

- It was trained on synthetic music only; expect audible bleeding on real songs.
- In mono songs, the stem "other" is poor (2.4 dB instead of 9.1 dB on the sample song), because
  the network also uses the stereo position of the accompaniment.
- The bass is the weakest stem: instruments that play below the usual range tend to end up in it.
- Sustained solo wind or string instruments end up partly in the vocals.
- Sung vocals contain nothing above 11 kHz and spoken ones nothing above 8 kHz in the training data.
- Choirs, live rooms and vinyl noise do not occur in the training data.

## Licence

The weights are released under the MIT licence. Sounds, recordings and programs that training used
come from packages ([`sounds.py`](../../scripts/sounds.py), [`voices.py`](../../scripts/voices.py));
none of their files is included.
"""
_CHECKS = """\
In {songs} songs of the second maker without their vocals, the vocals stem is at
{instrumental_vocals_db} dB relative to the mixture (median). If the mixture has a constant offset
of {offset}, a stem adds at most {added_offset_db} dBFS to its share of it. Silence gives samples
of at most {silence_peak:.1g}. In {pieces} pieces of instrumental music from a game, which were
recorded or produced by people, the vocals stem is at {music_vocals_db} dB.
"""


def card_text() -> str:
    """The card, from `training.json`, `sdr.json` and the model file."""
    facts = json.loads(TRAINING_FILE.read_text())
    result = json.loads(SCORES_FILE.read_text())
    return _TEXT.format(
        segment=SEGMENT_S,
        parameters=parameter_count(load_safetensors_model(MODEL_FILE)) / 1e6,
        size_mb=MODEL_FILE.stat().st_size / 1e6,
        kwargs=json.dumps(KWARGS, indent=2),
        bass_low=BASS_RANGE[0],
        bass_high=BASS_RANGE[1],
        other_low=OTHER_RANGE[0],
        table=table(result),
        unmeasured=_unmeasured(result),
        unseen=_names(UNSEEN),
        known=_known(),
        checks=_checks(result["checks"]),
        time=_time(facts["minutes"], facts["remarks"]),
        **facts,
    )


def write_card() -> None:
    """Write the card beside the model."""
    (CARD_FOLDER / "README.md").write_text(card_text())


def _names(sources: Sources) -> str:
    """The fonts, recorded kits and singers of a split, to continue a list item on a new line."""
    kits = [kit for kit in sources.kits if not any(kit.path == font.path for font in sources.fonts)]
    names = [
        *(f"sound font {font.name}" for font in sources.fonts),
        *(f"drum kit {kit.name}" for kit in kits),
        *(f"voice of the {singer.name}" for singer in sources.singers),
    ]
    return "\n".join(
        textwrap.wrap(", ".join(names), 98, initial_indent="  ", subsequent_indent="  ")
    ).lstrip()


def _known() -> str:
    """What training uses, as a list item."""
    fonts = "sound fonts " + " and ".join(font.name for font in KNOWN.fonts)
    recorded = sum(kit.program is None for kit in KNOWN.kits)
    people = sum(bool(singer.language) for singer in KNOWN.singers)
    text = f"Sources: {fonts}; {recorded} recorded drum kits; prompts in {people} languages."
    return textwrap.fill(text, 98, subsequent_indent="  ")


def _unmeasured(result: dict[str, Any]) -> str:
    """A paragraph on the songs that were not measured; empty if all were."""
    rest = []
    for name, test_set in SETS.items():
        left = test_set.count - len(result["sets"].get(name, {}).get("songs", []))
        if left:
            rest.append(f"{left} of {test_set.count} songs of *{test_set.title}*")
    text = textwrap.fill(f"Not measured yet: {', '.join(rest)}.", 100)
    return f"\n{text}\n" if rest else ""


def _checks(checks: dict[str, float]) -> str:
    """A paragraph on what should not come out of a separation; empty if it was not measured."""
    if not checks:
        return ""
    text = _CHECKS.format(**checks, songs=CHECK_SONGS, pieces=MUSIC_PIECES, offset=OFFSET)
    return "\n" + textwrap.fill(text, 100) + "\n"


def _time(minutes: float, remarks: list[str]) -> str:
    """The training time and the remarks on it, as a list item."""
    text = " ".join([f"- Time: {minutes:.0f} minutes.", *remarks])
    return textwrap.fill(text, 100, subsequent_indent="  ")


if __name__ == "__main__":
    write_card()
