"""The notes of UltraStar files have the pitches that are sung."""

import numpy as np

from studio.transcription.engine import RATE_HZ
from studio.transcription.karaoke import to_ultrastar
from studio.transcription.pitches import PitchFinder, with_pitches
from studio.transcription.transcript import Segment, Transcript, Word
from tests.support.sounds import SONG, decode_all
from tests.support.subtitles import read_ultrastar
from tests.support.tunes import melody

# Played this much faster, the song is 40 cents higher.
FASTER = 2 ** (0.4 / 12)


def test_notes_have_the_pitches_of_the_melody_in_the_tuning_of_the_singer() -> None:
    sung = [
        (note.start_s / FASTER, (note.start_s + note.duration_s) / FASTER, note.pitch)
        for note in melody()
    ]
    vocals = decode_all(SONG / "vocals.flac", round(RATE_HZ / FASTER), 1)[0]
    finder = PitchFinder()
    for block in np.array_split(vocals, 20):
        finder.add(block)
    finder.add(np.zeros(2 * RATE_HZ, np.float32))
    words = [Word(" la", start_s, end_s, 1.0) for start_s, end_s, _ in sung]
    words.append(Word(" hush", 18.5, 19.5, 1.0))
    transcript = Transcript("en", 1.0, 20.0, (Segment(0.0, 20.0, "", tuple(words)),))
    _, lines = read_ultrastar(to_ultrastar(with_pitches(transcript, finder.finish())))
    found = [note.pitch for line in lines for note in line]
    assert found == [*(pitch for *_, pitch in sung), None]
