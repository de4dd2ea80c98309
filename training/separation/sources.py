"""Where the sounds of songs come from, and which of these sources training never uses.

The split was written down before any model was trained on it. Whoever changes it must measure every
model of the card again, and say so in the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts import sounds, voices
from training.palette import HELD_OUT, TRAIN, Palette, Voice


@dataclass(frozen=True)
class Font:
    """A sound font of a package, and the programs that are drum kits in it."""

    name: str
    package: str
    file: str
    kits: tuple[int, ...] = ()

    @property
    def path(self) -> Path:
        return sounds.FOLDER / self.package / self.file


@dataclass(frozen=True)
class Kit:
    """A drum kit: a program of a sound font, or a folder of recordings (`program` is None)."""

    name: str
    path: Path
    program: int | None
    bank: int = 128


@dataclass(frozen=True)
class Singer(Voice):
    """Who sings: a person whose prompts were recorded, or (`language` is empty) espeak-ng."""

    language: str = ""


@dataclass(frozen=True)
class Sources:
    """Everything that plays and sings in the songs of one split."""

    fonts: tuple[Font, ...]
    kits: tuple[Kit, ...]
    singers: tuple[Singer, ...]


FLUID = Font("FluidR3", "fluid-soundfont-gm", "FluidR3_GM.sf2", (0, 8, 16, 24, 25, 32, 40))
# csound's font shares waves with TimGM6mb, so it is not used at all.
# MuseScore's font was made from FluidR3, so both are on the same side.
MUSESCORE = Font(
    "MuseScore General", "musescore-general-soundfont-small", "MuseScore_General_Lite.sf3",
    (0, 8, 16, 24, 25, 32, 40),
)  # fmt: skip
TIM = Font("TimGM6mb", "timgm6mb-soundfont", "TimGM6mb.sf2", (0, 8, 16, 24, 25, 32, 40))
OPL3 = Font("OPL3", "opl3-soundfont", "OPL-3_FM_128M.sf2", (0,))

_HYDROGEN = sounds.FOLDER / "hydrogen-drumkits"
_AVL = sounds.FOLDER / "avldrums.lv2-soundfont"


def _font_kits(*fonts: Font) -> tuple[Kit, ...]:
    return tuple(Kit(f"{font.name} kit {p}", font.path, p) for font in fonts for p in font.kits)


def _recorded(*names: str) -> tuple[Kit, ...]:
    """Kits of Hydrogen."""
    return tuple(Kit(name, _HYDROGEN / name, None) for name in names)


def _espeak(held_out: bool) -> tuple[Singer, ...]:
    singers = (HELD_OUT if held_out else TRAIN).voices
    return tuple(Singer(voice.name, voice.low, voice.high) for voice in singers)


KNOWN = Sources(
    fonts=(FLUID, MUSESCORE),
    kits=(
        *_font_kits(FLUID, MUSESCORE),
        Kit("Black Pearl", _AVL / "Black_Pearl_4_LV2.sf2", 0, bank=0),
        *_recorded(
            "Audiophob",
            "BJA_Pacific",
            "ColomboAcousticDrumkit",
            "HardElectro1",
            "Millo-Drums_v.1",
            "Millo_MultiLayered2",
            "Millo_MultiLayered3",
            "The Black Pearl 1.0",
            "VariBreaks",
            "rumpf_kit_z01_h2",
        ),
    ),
    singers=(
        *_espeak(held_out=False),
        # The Spanish prompts were read by the same person as the English ones.
        Singer("English prompts", 55, 74, "en"),
        Singer("Spanish prompts", 55, 74, "es"),
        Singer("French prompts", 55, 74, "fr"),
    ),
)
UNSEEN = Sources(
    fonts=(TIM, OPL3),
    kits=(
        *_font_kits(TIM, OPL3),
        Kit("Red Zeppelin", _AVL / "Red_Zeppelin_4_LV2.sf2", 0, bank=0),
        *_recorded("ForzeeStereo"),
    ),
    singers=(
        Singer("Italian prompts", 55, 74, "it"),
        Singer("Russian prompts", 55, 74, "ru"),
    ),
)


@dataclass(frozen=True)
class Cast:
    """Who plays and sings one song."""

    kit: Kit
    bass: Font
    other: Font
    singer: Singer

    @property
    def palette(self) -> Palette:
        """For `make_song`: all programs of General MIDI that it uses, and the singer's range."""

        def every(role: str) -> tuple[int, ...]:
            return tuple(sorted({*getattr(TRAIN, role), *getattr(HELD_OUT, role)}))

        roles = {role: every(role) for role in ("bass", "pad", "comp", "arp", "lead")}
        return Palette(drum_kits=(self.kit.program or 0,), voices=(self.singer,), **roles)


def draw(rng: np.random.Generator, sources: Sequence[Sources]) -> Cast:
    """The cast of a song; `sources` are those of the drums, bass, other instruments and singer."""
    drums, bass, other, singer = sources
    return Cast(
        drums.kits[rng.integers(len(drums.kits))],
        bass.fonts[rng.integers(len(bass.fonts))],
        other.fonts[rng.integers(len(other.fonts))],
        singer.singers[rng.integers(len(singer.singers))],
    )


def draw_mixed(rng: np.random.Generator) -> Cast:
    """A cast with both known and unseen sources."""
    order = rng.permutation(4)
    sources = [(KNOWN, UNSEEN)[int(rng.integers(2))] for _ in range(4)]
    sources[order[0]], sources[order[1]] = KNOWN, UNSEEN
    return draw(rng, sources)


def require() -> None:
    """Exit, and say what to run, if sounds or voices are not on disk."""
    missing = sounds.missing(list(sounds.PACKAGES))
    if missing:
        raise SystemExit(f"These sounds are missing: {', '.join(missing)}. Run `make sounds`.")
    if not voices.is_fetched():
        raise SystemExit("The recordings of people are missing. Run `make voices`.")
