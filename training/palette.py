"""Which instruments, drum kits and voices a song may use, for training and for held-out songs.

The two palettes share no bass program, no other program, no drum kit and no voice. Songs of other
sources (`training/separation`) use all programs of the sound font, so only the voices and the notes
of held-out songs are new to the bundled model.
Programs count from 0, as in a MIDI program change message.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """One singer: an espeak-ng voice name, and the MIDI range it sings in."""

    name: str
    low: int
    high: int


@dataclass(frozen=True)
class Palette:
    """The sounds that songs of one split are drawn from."""

    drum_kits: tuple[int, ...]
    bass: tuple[int, ...]
    pad: tuple[int, ...]
    comp: tuple[int, ...]
    arp: tuple[int, ...]
    lead: tuple[int, ...]
    voices: tuple[Voice, ...]


def _voices(names: str, low: int, high: int) -> tuple[Voice, ...]:
    return tuple(Voice(name, low, high) for name in names.split())


TRAIN = Palette(
    drum_kits=(0, 1, 2, 3, 5, 6, 9, 10, 11, 13, 14, 16, 17, 19, 25, 32, 34, 35, 41),
    bass=(32, 33, 34, 36, 38, 87),
    pad=(16, 17, 19, 21, 48, 50, 61, 62, 88, 89, 90, 94),
    comp=(0, 1, 2, 4, 7, 16, 17, 24, 25, 27, 28, 30),
    arp=(0, 4, 6, 8, 9, 11, 12, 24, 25, 27, 45, 46, 104, 108),
    lead=(22, 40, 42, 56, 57, 60, 65, 66, 71, 73, 75, 80, 81, 83, 84),
    voices=(
        *_voices("en-us+m1 en-gb+m3 es+m7 it+m2 pt-br+m5 fr-fr+m1 de+m3 en-us+m8", 45, 64),
        *_voices("en-us+Andy en-gb+David es+antonio en-us+Michael it+marcelo en-us+max", 46, 64),
        *_voices("en-us+f1 en-gb+f2 es+f4 it+f2 pt-br+f1 fr-fr+f4 en-us+f4 de+f2", 55, 74),
        *_voices("en-us+Annie en-gb+linda es+steph it+Andrea en-us+anika fr-fr+belinda", 55, 74),
        *_voices("sv+f1 nl+m2 ro+f4 pl+m7 fi+f2 la+m3", 52, 69),
    ),
)

HELD_OUT = Palette(
    drum_kits=(4, 7, 8, 12, 15, 18, 24, 33, 36, 40, 42),
    bass=(35, 39),
    pad=(18, 20, 49, 51, 63, 91, 95),
    comp=(3, 5, 18, 26, 29),
    arp=(3, 5, 13, 26, 105, 107),
    lead=(41, 58, 59, 64, 68, 72, 74, 82),
    voices=(
        *_voices("en-gb-scotland+m4 es-419+m6 en-us-nyc+robert ca+m4", 46, 64),
        *_voices("en-gb-x-rp+f3 es-419+f5 en-us-nyc+Alicia el+f3", 55, 74),
    ),
)
