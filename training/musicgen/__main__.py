"""Makes musicgen-mini from nothing: python -m training.musicgen --minutes 45

Notes, both trainings, export, evaluation and the card. Two fifths of the time go to the codec.
"""

from __future__ import annotations

import argparse

from . import train, train_codec
from .card import write_card
from .codes import encode_pieces, load_codec
from .evaluate import write_scores
from .export import export
from .sounds import render_sounds

CODEC_PART = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="time for both trainings")
    parser.add_argument("--pieces", type=int, default=432, help="how many to train on")
    arguments = parser.parse_args()
    render_sounds()
    train_codec.train(train_codec.Plan(minutes=CODEC_PART * arguments.minutes))
    encode_pieces(arguments.pieces, load_codec())
    train.train(train.Plan(minutes=(1 - CODEC_PART) * arguments.minutes))
    print(f"musicgen-mini: {export()} bytes")
    write_scores()
    write_card()


if __name__ == "__main__":
    main()
