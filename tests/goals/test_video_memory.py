"""Peak memory of a video grows only with its index, which is small."""

import pytest

from bench.players import measured

SHORT_S, LONG_S = 180, 1200
# ffmpeg keeps some 80 bytes for each frame of picture and sound, to write the index of the file.
INDEX_BYTES_PER_S = 6_000
# How many frames wait between threads of ffmpeg depends on how busy the machine is.
WAITING_BYTES = 16e6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_song() -> None:
    short, long = (measured("video, 320x180", seconds) for seconds in (SHORT_S, LONG_S))
    index_bytes = INDEX_BYTES_PER_S * (LONG_S - SHORT_S)
    message = f"{short}, {long}"
    assert long["own_bytes"] < 1.1 * short["own_bytes"], message
    assert long["ffmpeg_bytes"] < 1.1 * short["ffmpeg_bytes"] + WAITING_BYTES + index_bytes, message
