"""A clock that stands still while a voice rests."""

import numpy as np

from studio.transcription.alignment.onsets import FRAME_S, Levels, is_voiced


class VoiceTime:
    """Converts times in a recording to seconds of voice, and back.

    `levels` are those of a voice without accompaniment. Without them, rests are not known, and both
    times are the same.
    """

    def __init__(self, levels: Levels | None, duration_s: float) -> None:
        self.duration_s = duration_s
        # The frames with voice up to the end of each frame.
        self._clock = None if levels is None else np.cumsum(is_voiced(levels), dtype=np.int32)

    def voice_s(self, start_s: float, end_s: float) -> float:
        """The seconds of voice in a part of the recording."""
        if self._clock is None:
            return max(0.0, end_s - start_s)
        return max(0, self._at(end_s) - self._at(start_s)) * FRAME_S

    def after(self, start_s: float, voice_s: float) -> float:
        """The time at which `voice_s` seconds of voice have passed since `start_s`."""
        if self._clock is None:
            return start_s + voice_s
        frame = np.searchsorted(self._clock, self._at(start_s) + round(voice_s / FRAME_S), "right")
        return max(start_s, int(frame) * FRAME_S)

    def _at(self, time_s: float) -> int:
        assert self._clock is not None
        frame = min(int(time_s / FRAME_S), len(self._clock)) - 1
        return int(self._clock[frame]) if frame >= 0 else 0
