"""Makes musicgen-mini from nothing: python -m training.musicgen --minutes 15

Notes, codec, training, export, evaluation and the card.
"""

from __future__ import annotations

import argparse

from . import train
from .card import write_card
from .codec import fit_codec, load_codec
from .codes import encode_pieces
from .evaluate import write_scores
from .export import export
from .sounds import render_sounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="time for the training")
    parser.add_argument("--pieces", type=int, default=324, help="how many to train on")
    arguments = parser.parse_args()
    render_sounds()
    fit_codec()
    encode_pieces(arguments.pieces, load_codec())
    train.train(train.Plan(minutes=arguments.minutes))
    print(f"musicgen-mini: {export()} bytes")
    write_scores()
    write_card()


if __name__ == "__main__":
    main()
