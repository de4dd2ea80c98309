"""Renders training songs from many sources, with effects, into a folder of bounded size.

    python -m training.separation.make --count 400 --max-gb 8

It needs what `make sounds` and `make voices` fetch. Songs that are on disk are kept, so it can be
stopped and continued. Training mixes stems of different songs (`training/dataset.py`).
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from training.mix import mix
from training.render import DATA, render_to_disk
from training.songs import Song, make_song

from .effects import master, treat
from .instruments import perform
from .sources import KNOWN, Cast, draw, require

SONGS = DATA / "separation" / "train"
DURATION_S = 24.0


def compose(seed: int) -> tuple[Song, Cast]:
    """The training song of a seed, and who plays it: known sources only."""
    cast = draw(np.random.default_rng([seed, 5]), [KNOWN] * 4)
    return make_song(seed, held_out=False, duration_s=DURATION_S, palette=cast.palette), cast


def render(seed: int) -> npt.NDArray[np.int16]:
    """The stems of a training song: int16 of shape (4, 2, samples) at RATE_HZ."""
    song, cast = compose(seed)
    rng = np.random.default_rng([seed, 6])
    mixed = mix([treat(stem, rng) for stem in perform(song, cast, rng)], rng)
    # Few records have the same balance.
    balance = 10 ** (rng.normal(0.0, 2.5, (4, 1, 1)) / 20)
    mastered = master((mixed * balance).astype(np.float32), rng)
    return np.round(mastered * 32767).astype(np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed, for several runs at once"
    )
    parser.add_argument(
        "--max-gb", type=float, default=8.0, help="stop when the folder is as large"
    )
    arguments = parser.parse_args()
    require()
    for seed in range(arguments.first, arguments.first + arguments.count):
        size_gb = sum(path.stat().st_size for path in SONGS.glob("*.npy")) / 1e9
        if size_gb >= arguments.max_gb:
            raise SystemExit(f"{SONGS} has {size_gb:.1f} GB, and --max-gb is {arguments.max_gb}.")
        print(f"rendered {render_to_disk(seed, SONGS, render).name}", flush=True)


if __name__ == "__main__":
    main()
