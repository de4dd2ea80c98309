"""`python -m bench.live_long`: hours of live sound, sent faster than it is spoken.

An hour of the bundled recording with silence in between, sent at 8 times its speed, must leave the
server's memory where it was after five minutes. Ten minutes of silence, of noise and of music, sent
as fast as the server takes them, must give no text. Where `waiting_s` says that much sound waits,
the sender waits too.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from bench import measure, report
from bench.live import PACKAGES
from bench.material import ROOT
from bench.speaker import SPOKEN
from studio.transcription.engine import RATE_HZ, Speech
from tests.support.live_client import Client, chunk, finals, pcm
from tests.support.server import Server
from tests.support.sounds import decode_all

SPEED = 8
CHUNK_S = 1.0
PAUSE_S = 20.0
MAX_WAITING_S = 20.0
SETTLED_AFTER_S = 300


def hour_of_speech(seconds: float) -> Speech:
    """The bundled recording again and again, with pauses in between; float32 at 16 kHz."""
    spoken = decode_all(SPOKEN / "spoken.flac", RATE_HZ, 1)[0]
    once = np.concatenate([spoken, np.zeros(round(PAUSE_S * RATE_HZ), np.float32)])
    return np.resize(once, round(seconds * RATE_HZ))


def nothing_to_say(seconds: float) -> dict[str, Speech]:
    """Silence, noise, and the bundled song without its singer; float32 at 16 kHz."""
    samples = round(seconds * RATE_HZ)
    noise = np.random.default_rng(0).normal(0, 0.05, samples).astype(np.float32)
    stems = [
        decode_all(ROOT / "samples" / "song" / f"{stem}.flac", RATE_HZ, 1)[0]
        for stem in ("drums", "bass", "other")
    ]
    return {
        "silence": np.zeros(samples, np.float32),
        "noise": noise,
        "music": np.resize(np.sum(stems, axis=0, dtype=np.float32), samples),
    }


def send(client: Client, sound: Speech, server: Server, speed: float) -> dict[int, int]:
    """Send a sound in order, at most at `speed` times its own; the server's resident bytes after
    each minute of it, and at its end."""
    process, began_s = psutil.Process(server.pid), time.monotonic()
    resident: dict[int, int] = {}
    size = round(CHUNK_S * RATE_HZ)
    for place in range(0, len(sound), size):
        at_s = place / RATE_HZ
        time.sleep(max(0.0, began_s + at_s / speed - time.monotonic()))
        told = client.call("audio", chunk(pcm(sound[place : place + size])))
        while told["waiting_s"] > MAX_WAITING_S:
            time.sleep(0.5)
            told = client.call("keepalive")
        if at_s % 60 == 0:
            resident[round(at_s)] = _resident_bytes(process)
    resident[round(len(sound) / RATE_HZ)] = _resident_bytes(process)
    return resident


def _resident_bytes(process: psutil.Process) -> int:
    """Of a process and its children."""
    family = (process, *process.children(recursive=True))
    return sum(int(one.memory_info().rss) for one in family)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech-s", type=float, default=3600)
    parser.add_argument("--nothing-s", type=float, default=600)
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        server = Server(Path(name), WHISPER_MODEL="mini").start()
        try:
            lines += speech(server, options.speech_s)
            for kind, sound in nothing_to_say(options.nothing_s).items():
                lines.append(nothing(server, kind, sound))
        finally:
            server.stop()
    print("\n".join(lines), flush=True)
    if options.write:
        report.write("live_long", "Long live sessions", lines)


def speech(server: Server, seconds: float) -> list[str]:
    """Memory over one long session."""
    with Client(server) as client:
        client.greeting()
        began_s = time.monotonic()
        resident = send(client, hour_of_speech(seconds), server, SPEED)
        finished = client.finish()[-1][1]
        took_s = time.monotonic() - began_s
    said = json.loads((SPOKEN / "spoken.json").read_text("utf-8"))["text"].split()
    once_s = decode_all(SPOKEN / "spoken.flac", RATE_HZ, 1).shape[1] / RATE_HZ + PAUSE_S
    settled = resident[min(SETTLED_AFTER_S, max(resident))]
    end = resident[max(resident)]
    return [
        f"{seconds / 60:.0f} minutes of speech and silence, sent in {took_s / 60:.1f} minutes "
        f"({seconds / took_s:.1f} times real time; requested: {SPEED}). Recognised: "
        f"{len(finished['text'].split())} words; spoken: about "
        f"{seconds / once_s * len(said):.0f}.",
        "",
        "| memory after 5 minutes | memory at the end | ratio (goal: at most 1.05) |",
        "|---:|---:|---:|",
        f"| {settled / 1e6:,.0f} MB | {end / 1e6:,.0f} MB | {end / settled:.3f} |",
        "",
    ]


def nothing(server: Server, kind: str, sound: Speech) -> str:
    """What a session writes where nobody speaks."""
    with Client(server) as client:
        client.greeting()
        send(client, sound, server, math.inf)
        events = client.finish()
    texts = [data["transcription"] for data in finals(events)]
    return f"{len(sound) / RATE_HZ / 60:.0f} minutes of {kind}: {' '.join(texts) or 'no text'}.\n"


if __name__ == "__main__":
    main()
