"""Pieces as codes: what the decoder is trained on.

Run it as `python -m training.musicgen.codes --count 324` after that of the codec.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from transformers import EncodecModel

from studio.audio.replacing import replacing

from ..render import DATA
from .codec import load_codec
from .pieces import write_piece
from .prompts import Combination, split_combinations
from .sounds import Player

CODES_FILE = DATA / "musicgen" / "codes.npz"
PIECE_FRAMES = 500
_BATCH = 8

Codes = npt.NDArray[np.uint8]


def encode_pieces(count: int, codec: EncodecModel) -> None:
    """Write `count` training pieces as codes; combinations take turns."""
    combinations = split_combinations().train
    numbers = [number % len(combinations) for number in range(count)]
    codes = np.concatenate(list(_encoded(numbers, combinations, codec)))
    with replacing(CODES_FILE) as new, new.open("wb") as file:
        np.savez(file, allow_pickle=False, codes=codes, combinations=np.array(numbers))


def _encoded(
    numbers: list[int], combinations: tuple[Combination, ...], codec: EncodecModel
) -> Iterator[Codes]:
    player, rng = Player(), np.random.default_rng(1)
    for start in range(0, len(numbers), _BATCH):
        sounds = [
            player.perform(write_piece(combinations[number], rng, PIECE_FRAMES))
            for number in numbers[start : start + _BATCH]
        ]
        with torch.no_grad():
            codes = codec.encode(torch.from_numpy(np.stack(sounds))[:, None]).audio_codes[0]
        yield codes.numpy().astype(np.uint8)


def load_codes() -> tuple[Codes, list[Combination]]:
    """Codes of shape (pieces, codebooks, PIECE_FRAMES), and what each piece is."""
    combinations = split_combinations().train
    with np.load(CODES_FILE) as stored:
        return stored["codes"], [combinations[number] for number in stored["combinations"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    encode_pieces(parser.parse_args().count, load_codec())


if __name__ == "__main__":
    main()
