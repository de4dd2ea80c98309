"""Sound in pieces, as sessions receive it, and what becomes of it."""

import numpy as np

from studio.transcription.engine import Speech
from studio.transcription.live.receive import Receiver

FRAGMENTS = ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "200000"]


def pieces(data: bytes, *sizes: int) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    found: list[bytes] = []
    start = 0
    while start < len(data):
        size = sizes[len(found) % len(sizes)]
        found.append(data[start : start + size])
        start += size
    return found


def heard(one: Receiver, data: list[bytes]) -> Speech:
    try:
        return np.concatenate([*(one.feed(piece) for piece in data), one.finish()])
    finally:
        one.close()
