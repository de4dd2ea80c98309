"""Makes the bundled model from nothing: render, train, export, evaluate, card, sample song.

Run it as `python -m training.demucs --minutes 80 --songs 200`.
"""

from __future__ import annotations

import argparse

from . import card, evaluate_demucs, sample
from .export_demucs import export
from .model import MODEL_FILE
from .render import render_songs
from .train_demucs import Plan, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=80.0, help="time for training")
    parser.add_argument("--songs", type=int, default=200, help="how many songs to train on")
    arguments = parser.parse_args()
    render_songs(arguments.songs, held_out=False)
    state = train(Plan(minutes=arguments.minutes))
    export(state, MODEL_FILE)
    evaluate_demucs.run(MODEL_FILE, list(evaluate_demucs.SETS))
    card.write_card()
    sample.write_sample()


if __name__ == "__main__":
    main()
