"""Peak memory of a video does not grow with the length of its song."""

import pytest

from bench.players import measured

WAITING_BYTES = 16e6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_song() -> None:
    short, long = (measured("video, 320x180", seconds) for seconds in (180, 3600))
    for who in ("own_bytes", "ffmpeg_bytes"):
        # How many frames wait between threads of ffmpeg depends on how busy the machine is.
        assert long[who] < 1.1 * short[who] + WAITING_BYTES, f"{who}: {short}, {long}"
