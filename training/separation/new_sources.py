"""Test songs written and mixed like the held-out songs, played by sources unknown to the model.

`unseen` songs use only such sources; in `mixed` songs known sources play some of the stems.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.mix import add_room, mix
from training.songs import Song, make_song

from .instruments import perform
from .sources import UNSEEN, Cast, draw, draw_mixed

DURATION_S = 24.0
# Far from the seeds of the held-out songs, so that no song has the notes of one of them.
FIRST_SEED = {"unseen": 1000, "mixed": 2000}


def compose(number: int, kind: str) -> tuple[Song, Cast]:
    """Song `number` of the test set `kind` ("unseen" or "mixed"), and who plays it."""
    seed = FIRST_SEED[kind] + number
    rng = np.random.default_rng([seed, 3])
    cast = draw_mixed(rng) if kind == "mixed" else draw(rng, [UNSEEN] * 4)
    return make_song(seed, held_out=True, duration_s=DURATION_S, palette=cast.palette), cast


def render(number: int, kind: str) -> npt.NDArray[np.int16]:
    """The stems of a song: int16 of shape (4, 2, samples) at RATE_HZ; their sum does not clip."""
    song, cast = compose(number, kind)
    rng = np.random.default_rng([song.seed, 4])
    stems = perform(song, cast, rng)
    # The bass stays dry.
    for stem in (0, 2, 3):
        if stem == 3 or rng.random() < 0.5:
            stems[stem] = add_room(stems[stem], rng)
    return np.round(mix(stems, rng) * 32767).astype(np.int16)


def describe(number: int, kind: str) -> str:
    """Who plays a song."""
    song, cast = compose(number, kind)
    return (
        f"{song.tempo_bpm:.0f} bpm, {cast.kit.name}, bass {song.bass.program} of {cast.bass.name}, "
        f"other {song.programs} of {cast.other.name}, {cast.singer.name}"
    )
