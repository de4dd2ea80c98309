"""Makes whisper-mini from nothing: python -m training.whisper --minutes 190

Speech, songs' vocals, training, export, evaluation, the card and the spoken sample. The songs must
be rendered first (`python -m training.render`); without them it works, but learns no singing and
hears no music.
"""

from __future__ import annotations

import argparse

from .card import write_card
from .evaluate import SCORES_FILE, evaluate, write_scores
from .export import export
from .sample import write_sample
from .singing import prepare
from .speech import synthesise
from .train import Plan, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="time for the training")
    parser.add_argument("--utterances", type=int, default=30000)
    parser.add_argument("--songs", type=int, default=200, help="how many rendered songs to use")
    arguments = parser.parse_args()
    synthesise(arguments.utterances, held_out=False)
    synthesise(480, held_out=True)
    prepare(arguments.songs, held_out=False)
    prepare(16, held_out=True)
    state_file = train(Plan(minutes=arguments.minutes))
    print(f"whisper-mini: {export(state_file)} bytes")
    write_scores(evaluate(), SCORES_FILE)
    write_card()
    print(f"spoken sample: {write_sample()} bytes")


if __name__ == "__main__":
    main()
