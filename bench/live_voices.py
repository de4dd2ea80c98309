"""`python -m bench.live_voices`: live transcription of recordings of people, on released weights.

As `bench.live`, but the speakers are recordings that `make voices` fetches, and the model is
`base`. The time of each word is the one that the same model finds in the whole recording.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import measure, report
from bench.live import HEAD, PACKAGES, References, Row, speak_together
from bench.speaker import Said, Speaker
from bench.voices_score import normaliser
from bench.voices_work import GRAPHS
from scripts import voices
from scripts.scores import words_of
from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.transcript import Segment
from tests.support.server import Server
from tests.support.sounds import decode_all

PAUSE_S = 0.9
NOTES = """Columns as in `Live transcription`. Words wrong are counted by Whisper's own normaliser
against the texts that were read. An utterance is a recording; several finals may belong to one."""


@dataclass
class Person(Speaker):
    """Reads texts aloud, one after the other."""

    texts: tuple[str, ...] = ()

    @property
    def true_text(self) -> str:
        return " ".join(self.texts)


@dataclass(frozen=True)
class Reading:
    """A recording, its text, and its words as the model hears them in the whole recording."""

    text: str
    sound: Speech
    segments: list[Segment]


def readings(engine: FasterWhisper, count: int) -> list[Reading]:
    found = []
    for prompt in voices.prompts("en", count):
        sound = decode_all(prompt.path, RATE_HZ, 1)[0]
        (segments,) = engine.transcribe([sound], DecodeOptions("en"))
        if any(words_of(word.text) for segment in segments for word in segment.words):
            found.append(Reading(prompt.text, sound, segments))
    return found


def people(recordings: list[Reading], count: int) -> list[Speaker]:
    """Speakers of all recordings, each beginning with another one."""
    speakers: list[Speaker] = []
    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    for number in range(count):
        order = _from(recordings, number)
        utterances, parts, at_s = [], [], 0.0
        for one in order:
            words = [word for segment in one.segments for word in segment.words]
            ends = [(key, at_s + word.end_s) for word in words for key in words_of(word.text)]
            utterances.append(Said(ends, at_s + words[0].start_s))
            parts += [one.sound, pause]
            at_s += (len(one.sound) + len(pause)) / RATE_HZ
        texts = tuple(one.text for one in order)
        speakers.append(Person(np.concatenate(parts[:-1]), utterances, texts=texts))
    return speakers


def _from(recordings: list[Reading], number: int) -> list[Reading]:
    """All recordings, beginning with that one."""
    first = number % len(recordings)
    return recordings[first:] + recordings[:first]


def references(server: Server, recordings: list[Reading], group: list[Speaker]) -> References:
    whole = [
        " ".join(segment.text for one in _from(recordings, number) for segment in one.segments)
        for number in range(len(group))
    ]
    for one in group:
        one.speak(server.url, at_once=True)
    return References([one.text for one in group], whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=12, help="recordings that each speaker reads")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    if not voices.is_fetched():
        raise SystemExit(f"bench.live_voices {voices.MISSING}.")
    lines = [f"Machine: {measure.machine(PACKAGES)}.", "", NOTES, "", *HEAD]
    recordings = readings(FasterWhisper(voices.weights(), 0, "auto", GRAPHS), options.count)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        weights = Path(name) / "weights" / "whisper"
        weights.mkdir(parents=True)
        (weights / "base").symlink_to(voices.weights())
        clients = max(options.clients)
        server = Server(
            Path(name), WHISPER_MODEL="base", LIVE_SESSIONS=clients, LIVE_CHUNK_BYTES=1 << 24
        ).start()
        try:
            known = references(server, recordings, people(recordings, clients))
            for count in options.clients:
                group = people(recordings, count)
                row = Row(str(count), group, known, normaliser("en"))
                lines.append(speak_together(server, row).table_row())
                print(lines[-1], flush=True)
        finally:
            server.stop()
    print("\n".join(lines))
    if options.write:
        report.write("live_voices", "Live transcription: recordings of people", lines)


if __name__ == "__main__":
    main()
