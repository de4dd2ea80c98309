"""A speaker for the benchmarks of live transcription: speaks in real time, notes what comes."""

import difflib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import numpy as np
import socketio

from bench.material import ROOT
from scripts.scores import words_of
from studio.transcription.engine import RATE_HZ, Speech
from tests.support.sounds import decode_all

NAMESPACE = "/transcribe"
SPOKEN = ROOT / "samples" / "speech"
CHUNK_S = 0.1
PAUSE_S = 0.7
BEFORE_S, AFTER_S = 0.3, 0.4
FINISHED_WITHIN_S = 60


@dataclass(frozen=True)
class Said:
    """An utterance: its words, and the second at which each ends."""

    words: list[tuple[str, float]]
    start_s: float

    @property
    def end_s(self) -> float:
        return self.words[-1][1]


@dataclass
class Speaker:
    """One client: what it says, and what came back when (seconds since its first sample)."""

    sound: Speech
    utterances: list[Said]
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    lagged_s: float = 0.0
    finished: dict[str, Any] | None = None

    def speak(self, url: str, at_once: bool = False) -> None:
        """Say everything, in real time or in one piece, and wait for `finished`."""
        client = socketio.Client(reconnection=False)
        lock, done, began_s = Lock(), Event(), 0.0

        def note(data: dict[str, Any]) -> None:
            with lock:
                self.events.append((time.monotonic() - began_s, data))

        def lag(data: dict[str, Any]) -> None:
            self.lagged_s = max(self.lagged_s, data["seconds"])

        def end(data: dict[str, Any]) -> None:
            self.finished = data
            done.set()

        client.on("transcription", note, namespace=NAMESPACE)
        client.on("lagging", lag, namespace=NAMESPACE)
        client.on("finished", end, namespace=NAMESPACE)
        client.connect(url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=30)
        pcm = (np.clip(self.sound, -1, 1) * 32767).astype("<i2")
        size = len(pcm) if at_once else round(CHUNK_S * RATE_HZ)
        began_s = time.monotonic()
        for start in range(0, len(pcm), size):
            part = pcm[start : start + size]
            if not at_once:
                # A microphone has a chunk once all of it was said.
                due_s = began_s + (start + len(part)) / RATE_HZ
                time.sleep(max(0.0, due_s - time.monotonic()))
            payload = {"data": part.tobytes(), "mimeType": "audio/pcm"}
            client.emit("audio", {"payload": payload}, namespace=NAMESPACE)
        client.emit("finish", namespace=NAMESPACE)
        done.wait(FINISHED_WITHIN_S)
        client.disconnect()

    @property
    def true_text(self) -> str:
        return " ".join(word for one in self.utterances for word, _ in one.words)

    @property
    def text(self) -> str:
        """The finals in order, which is also what `finished` tells."""
        finals = [data["transcription"] for _, data in self.events if data["is_final"]]
        return " ".join(text for text in finals if text)

    def _events_of(self, said: Said) -> list[tuple[float, dict[str, Any]]]:
        """The events of the segments that overlap an utterance in time."""
        own = {
            data["segment"]
            for _, data in self.events
            if data["is_final"] and data["start"] < said.end_s and data["end"] > said.start_s
        }
        return [(at_s, data) for at_s, data in self.events if data["segment"] in own]

    def word_latencies_s(self) -> list[float]:
        """For each word that some text of its utterance has: from its end to the first of them.

        A word that the model guesses before its end counts as 0.
        """
        found = []
        for said in self.utterances:
            seen: Counter[str] = Counter()
            told = [
                (at_s, Counter(words_of(data["transcription"])))
                for at_s, data in self._events_of(said)
            ]
            for word, end_s in said.words:
                seen[word] += 1
                arrivals = [at_s for at_s, words in told if words[word] >= seen[word]]
                found += [max(0.0, min(arrivals) - end_s)] if arrivals else []
        return found

    def final_latencies_s(self) -> list[float]:
        """For each utterance: from its end to the last of its finals; infinite if none came."""
        found = []
        for said in self.utterances:
            finals = [at_s for at_s, data in self._events_of(said) if data["is_final"]]
            found.append(max(finals) - said.end_s if finals else float("inf"))
        return found


def lost_and_doubled(expected: str, found: str) -> tuple[int, int]:
    """How many words of a text another one lacks, and how many it has beyond them."""
    wanted, got = words_of(expected), words_of(found)
    lost = more = 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, wanted, got, False).get_opcodes():
        if kind != "equal":
            lost += max(0, (b - a) - (d - c))
            more += max(0, (d - c) - (b - a))
    return lost, more


def speakers(count: int, rounds: int) -> list[Speaker]:
    """Speakers of the bundled recording, each beginning at another sentence; the sound of each
    ends with its last word, so that `finish` comes right after it."""
    truth = json.loads((SPOKEN / "spoken.json").read_text("utf-8"))
    sound = decode_all(SPOKEN / "spoken.flac", RATE_HZ, 1)[0]
    return [_speaker(sound, truth["sentences"], number, rounds) for number in range(count)]


def _speaker(
    sound: Speech, sentences: Sequence[dict[str, Any]], number: int, rounds: int
) -> Speaker:
    """One who begins at sentence `number`, and has pauses of a length of its own."""
    pause = np.zeros(round((PAUSE_S + 0.1 * (number % 3)) * RATE_HZ), np.float32)
    parts: list[Speech] = []
    utterances: list[Said] = []
    at = 0
    count = len(sentences) * rounds
    for place in range(count):
        words = sentences[(number + place) % len(sentences)]["words"]
        start = max(0, round((words[0]["start_s"] - BEFORE_S) * RATE_HZ))
        after_s = AFTER_S if place < count - 1 else 0.0
        piece = sound[start : round((words[-1]["end_s"] + after_s) * RATE_HZ)]
        shift_s = (at - start) / RATE_HZ
        utterances.append(
            Said(
                [(words_of(word["word"])[0], word["end_s"] + shift_s) for word in words],
                words[0]["start_s"] + shift_s,
            )
        )
        parts += [piece, pause] if after_s else [piece]
        at += len(piece) + len(pause)
    return Speaker(np.concatenate(parts), utterances)
