"""`python -m bench.live`: live transcription with several speakers in real time, over real sockets.

Every speaker is a client of the official Python package that sends the bundled recording in real
time, each beginning at another sentence, to a server behind gunicorn. Latency is the time from the
end of a word (of an utterance) to the arrival of the first text that has it (of its final text).
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
import socketio

from bench import material, measure
from bench.material import ROOT
from scripts.scores import word_errors, words_of
from studio.transcription.engine import RATE_HZ, DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from tests.support import Server, decode_all

REPORT = ROOT / "docs" / "benchmarks-live.md"
PACKAGES = ["flask-socketio", "python-socketio", "gunicorn", "faster-whisper", "ctranslate2"]
NAMESPACE = "/transcribe"
SPOKEN = ROOT / "samples" / "speech"
MINI = ROOT / "pretrained" / "whisper-mini"
CHUNK_S = 0.1
SAME_WORD_S = 0.5
SEPARATED_S = 3600.0
SPEAKERS_BESIDE = 4
ENGINES = {"bundled mini": "app:create_app()", "as slow as base": "bench.slow_app:slow_app()"}


@dataclass
class Speaker:
    """One client: what it says, and what came back when (seconds since its first sample)."""

    sound: Any
    words: list[tuple[str, float]]
    utterance_ends_s: list[float]
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    finished: dict[str, Any] | None = None

    def speak(self, url: str) -> None:
        client = socketio.Client(reconnection=False)
        lock, began_s = Lock(), 0.0

        def note(data: dict[str, Any]) -> None:
            with lock:
                self.events.append((time.monotonic() - began_s, data))

        def end(data: dict[str, Any]) -> None:
            self.finished = data

        client.on("transcription", note, namespace=NAMESPACE)
        client.on("finished", end, namespace=NAMESPACE)
        client.connect(url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=30)
        size = round(CHUNK_S * RATE_HZ)
        pcm = (np.clip(self.sound, -1, 1) * 32767).astype("<i2")
        began_s = time.monotonic()
        for number, start in enumerate(range(0, len(pcm), size)):
            time.sleep(max(0.0, began_s + (number + 1) * CHUNK_S - time.monotonic()))
            payload = {"data": pcm[start : start + size].tobytes(), "mimeType": "audio/pcm"}
            client.emit("audio", {"payload": payload}, namespace=NAMESPACE)
        client.emit("finish", namespace=NAMESPACE)
        ends_s = time.monotonic() + 60
        while self.finished is None and time.monotonic() < ends_s:
            time.sleep(0.05)
        client.disconnect()

    def word_latencies_s(self) -> list[float]:
        """For each word that was understood: until the first text that has it."""
        found = []
        for text, end_s in self.words:
            arrivals = [
                at_s
                for at_s, data in self.events
                for word in data.get("words", ())
                if words_of(word["text"]) == [text] and abs(word["end"] - end_s) < SAME_WORD_S
            ]
            found += [min(arrivals) - end_s] if arrivals else []
        return found

    def final_latencies_s(self) -> list[float]:
        """For each utterance: until the final text that ends nearest to it."""
        finals = [(at_s, data) for at_s, data in self.events if data["is_final"]]
        found = []
        for end_s in self.utterance_ends_s:
            near = [at_s for at_s, data in finals if abs(data["end"] - end_s) < 1.0]
            found += [near[0] - end_s] if near else []
        return found

    @property
    def true_text(self) -> str:
        return " ".join(text for text, _ in self.words)


def speakers(count: int, rounds: int) -> list[Speaker]:
    """Speakers of the bundled recording, each beginning at another sentence."""
    truth = json.loads((SPOKEN / "spoken.json").read_text("utf-8"))
    sound = decode_all(SPOKEN / "spoken.flac", RATE_HZ, 1)[0]
    sentences = truth["sentences"] * (rounds + 1)
    pieces = []
    for sentence in truth["sentences"]:
        start = max(0, round((sentence["words"][0]["start_s"] - 0.3) * RATE_HZ))
        end = round((sentence["words"][-1]["end_s"] + 0.4) * RATE_HZ)
        pieces.append((start, sound[start:end]))
    made = []
    for number in range(count):
        parts, words, ends, at = [], [], [], 0
        for place in range(len(truth["sentences"]) * rounds):
            which = (number + place) % len(pieces)
            start, piece = pieces[which]
            gap = np.zeros(round((0.7 + 0.1 * (number % 3)) * RATE_HZ), np.float32)
            for word in sentences[which]["words"]:
                words.append((words_of(word["word"])[0], word["end_s"] + (at - start) / RATE_HZ))
            ends.append(words[-1][1])
            parts += [piece, gap]
            at += len(piece) + len(gap)
        made.append(Speaker(np.concatenate(parts), words, ends))
    return made


def measure_one(
    application: str, count: int, rounds: int, whole_errors: float, separating: bool = False
) -> str:
    """One row of the table: `count` speakers at once, if asked next to a separation."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        server = Server(Path(name), WHISPER_MODEL="mini", LIVE_SESSIONS=count)
        server.start(application=application)
        try:
            warm = speakers(1, 1)[0]
            warm.sound = warm.sound[: 4 * RATE_HZ]
            warm.speak(server.url)
            if separating:
                song = material.song(Path(name) / "song.mp3", SEPARATED_S)
                assert server.process(server.upload(song)).status_code == 202
            group = speakers(count, rounds)
            threads = [Thread(target=one.speak, args=(server.url,)) for one in group]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            server.stop()
    words_s = [latency for one in group for latency in one.word_latencies_s()]
    finals_s = [latency for one in group for latency in one.final_latencies_s()]
    counts = [word_errors(one.true_text, (one.finished or {"text": ""})["text"]) for one in group]
    errors = 100 * sum(wrong for wrong, _ in counts) / sum(words for _, words in counts)
    beside = ", and a separation" if separating else ""
    return (
        f"| {count}{beside} | {np.median(words_s):.2f} s | {np.percentile(finals_s, 95):.2f} s | "
        f"{errors:.1f} % | {errors - whole_errors:+.1f} points |"
    )


def whole_file_errors(rounds: int) -> float:
    """Word error rate, in percent, of the same speech decoded at once."""
    one = speakers(1, rounds)[0]
    engine = FasterWhisper(MINI / "ctranslate2", 0)
    (segments,) = engine.transcribe([one.sound], DecodeOptions("en"))
    wrong, words = word_errors(one.true_text, " ".join(segment.text for segment in segments))
    return 100 * wrong / words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how often the recording is said")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--write", action="store_true", help=f"write docs/{REPORT.name}")
    options = parser.parse_args()
    lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
    whole = whole_file_errors(options.rounds)
    for name, application in ENGINES.items():
        lines += [
            f"Engine: {name}.",
            "",
            "| clients | end of a word to its first text, median | end of an utterance to its "
            "final, 95th percentile | words wrong | against the whole file at once |",
            "|---:|---:|---:|---:|---:|",
            *(measure_one(application, count, options.rounds, whole) for count in options.clients),
            measure_one(application, SPEAKERS_BESIDE, options.rounds, whole, separating=True),
            "",
        ]
    print("\n".join(lines), flush=True)
    if options.write:
        made_by = "Made by `.venv/bin/python -m bench.live --write`."
        REPORT.write_text(
            "\n".join(["# Benchmarks of live transcription", "", made_by, "", *lines])
        )


if __name__ == "__main__":
    main()
