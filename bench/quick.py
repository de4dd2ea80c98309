"""`make bench-quick`: each of the three jobs against its peer, as people use them, in five minutes.

A run begins with the start of a program or server, and ends when its result is a file. The server
thus loads its model, receives an upload, and sends a download. Peers run as their documentation
shows, without this project. Runs take turns; then all is repeated beside a program that keeps one
core busy.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import material, measure, report
from bench.speed import completed
from bench.voices_work import one_recording
from scripts import voices
from studio.transcription.engine import RATE_HZ
from tests.support.server import Server
from tests.support.sounds import decode_all
from tests.support.speech import RECORDING

PACKAGES = ["demucs", "torch", "faster-whisper", "ctranslate2", "transformers", "openvino"]
TITLE = "The three jobs, as people use them"
BUNDLED = material.ROOT / "pretrained"
SONG_S, MUSIC_S, PROMPTS = 18.0, 1.0, 4
PROMPT = "slow sad piano"


@dataclass(frozen=True)
class Job:
    """A job and its peer. `source` is uploaded for `model`, and `tracks` are downloaded.

    `peer` is a command, and `settings` are those of the server.
    """

    name: str
    peer_name: str
    peer: list[str]
    model: str
    source: Path
    options: dict[str, Any]
    tracks: list[str]
    settings: dict[str, object]


def jobs(folder: Path, is_bundled: bool) -> list[Job]:
    """The three jobs, on the bundled models or on those of usual sizes."""
    return [make(folder, is_bundled) for make in (separation, transcription, generation)]


def separation(folder: Path, is_bundled: bool) -> Job:
    song = material.song(folder / "song.wav", SONG_S)
    weights = folder / "weights"
    if is_bundled:
        variant, known = "mini", "bundled weights"
        repository = material.bundled_checkpoint(folder / "mini")
    else:
        variant, known = "htdemucs", "random weights"
        repository = material.full_size_weights(weights) / "demucs"
    peer = [sys.executable, "-m", "demucs.separate", "-n", variant, "-d", "cpu"]
    peer += ["--repo", str(repository), "-o", str(folder / "theirs"), str(song)]
    name = f"separation: {SONG_S:g} s, `{variant}`, {known}"
    settings = {"DEMUCS_MODEL": variant, "MODEL_DIR": weights}
    return Job(name, "`demucs.separate`", peer, "demucs", song, {}, material.SOURCES, settings)


def transcription(folder: Path, is_bundled: bool) -> Job:
    weights = folder / "weights"
    if is_bundled or not voices.is_fetched():
        variant, spoken = "mini", RECORDING
        directory = BUNDLED / "whisper-mini" / "ctranslate2"
    else:
        variant, spoken = "base", folder / "speech.wav"
        directory = weights / "whisper" / variant
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.symlink_to(voices.weights())
        prompts = voices.prompts("en", PROMPTS)
        one_recording([decode_all(prompt.path, RATE_HZ, 1)[0] for prompt in prompts], spoken)
    seconds = decode_all(spoken, RATE_HZ, 1).shape[1] / RATE_HZ
    peer = _peer(_transcribe, directory, spoken, folder / "theirs.txt")
    name = f"speech to text: {seconds:.0f} s, `{variant}`, beam 5, word times"
    settings = {"WHISPER_MODEL": variant, "MODEL_DIR": weights}
    return Job(name, "faster-whisper", peer, "whisper", spoken, {}, ["transcription"], settings)


def generation(folder: Path, is_bundled: bool) -> Job:
    weights = folder / "weights"
    if is_bundled:
        variant, known, directory = "mini", "bundled weights", BUNDLED / "musicgen-mini"
    else:
        variant, known = "small", "random weights"
        directory = material.random_musicgen(weights / "musicgen" / variant)
    prompt = folder / "prompt.txt"
    prompt.write_text(PROMPT)
    peer = _peer(_generate, directory, MUSIC_S, folder / "theirs.wav")
    name = f"music: {MUSIC_S:g} s, `{variant}`, {known}"
    settings = {"MUSICGEN_MODEL": variant, "MODEL_DIR": weights}
    options = {"duration": MUSIC_S}
    return Job(name, "transformers", peer, "musicgen", prompt, options, ["music"], settings)


def _peer(run: Callable[..., None], *given: object) -> list[str]:
    """The command that runs a peer in a process of its own."""
    return [sys.executable, "-m", "bench.quick", "--peer", run.__name__, *map(str, given)]


def _transcribe(weights: str, recording: str, text: str) -> None:
    """faster-whisper, as its documentation shows."""
    from faster_whisper import WhisperModel

    model = WhisperModel(weights, device="cpu", compute_type="int8")
    segments, _ = model.transcribe(recording, beam_size=5, word_timestamps=True)
    lines = [f"{word.start:.2f} {word.word}" for one in segments for word in one.words or ()]
    Path(text).write_text("\n".join(lines), "utf-8")


def _generate(weights: str, seconds: str, music: str) -> None:
    """transformers, as the card of MusicGen shows, with a tokenizer read from one file."""
    import soundfile
    import torch
    from tokenizers import Tokenizer
    from transformers import MusicgenForConditionalGeneration

    model = MusicgenForConditionalGeneration.from_pretrained(weights)
    ids = torch.tensor([Tokenizer.from_file(f"{weights}/tokenizer.json").encode(PROMPT).ids])
    rate_hz = model.config.audio_encoder.sampling_rate
    frames = round(float(seconds) * model.config.audio_encoder.frame_rate)
    sound = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=frames + model.config.decoder.num_codebooks - 1,
        do_sample=True,
        guidance_scale=3,
    )
    soundfile.write(music, sound[0, 0].numpy(), rate_hz)


PEERS = {run.__name__: run for run in (_transcribe, _generate)}


def theirs_s(job: Job, folder: Path) -> float:
    """Seconds of the peer."""
    return measure.run(job.peer, folder / "peer.log").wall_s


def ours_s(job: Job, folder: Path) -> float:
    """Seconds of this server."""
    began_s = time.monotonic()
    with running(folder, job.settings) as server:
        run_job(job, server)
        return time.monotonic() - began_s


def start_s(folder: Path) -> float:
    """Seconds until a server that has been started answers."""
    began_s = time.monotonic()
    with running(folder, {}):
        return time.monotonic() - began_s


@contextmanager
def running(folder: Path, settings: dict[str, object]) -> Iterator[Server]:
    """A server with a folder of its own."""
    server = Server(Path(tempfile.mkdtemp(prefix="server-", dir=folder)), **settings).start()
    try:
        yield server
    finally:
        server.stop()


def run_job(job: Job, server: Server) -> None:
    """Upload the source, wait for the job, and download its tracks into the server's folder."""
    file_id = server.upload(job.source)
    server.process(file_id, job.model, **job.options).raise_for_status()
    completed(server.wait(file_id))
    for track in job.tracks:
        answer = server.get(f"/download/{file_id}/{track}")
        answer.raise_for_status()
        (server.folder / track).write_bytes(answer.content)


def peak_bytes(all_jobs: list[Job], folder: Path) -> int:
    """Peak memory of one server that does all jobs, one after the other."""
    settings = {key: value for job in all_jobs for key, value in job.settings.items()}
    with running(folder, settings) as server:
        for job in all_jobs:
            run_job(job, server)
        return measure.peak_bytes(psutil.Process(server.pid).children()[0].pid)


@contextmanager
def one_core_busy() -> Iterator[None]:
    """A program that computes all the time."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def rounds(all_jobs: list[Job], folder: Path, count: int) -> dict[str, list[tuple[float, float]]]:
    """For each job, the seconds of its peer and of this server in each round."""
    seconds: dict[str, list[tuple[float, float]]] = {job.name: [] for job in all_jobs}
    for _ in range(count):
        for job in all_jobs:
            theirs, ours = theirs_s(job, folder), ours_s(job, folder)
            print(
                f"{job.name}: {job.peer_name} {theirs:.1f} s, this server {ours:.1f} s", flush=True
            )
            seconds[job.name].append((theirs, ours))
    return seconds


def table(all_jobs: list[Job], folder: Path, count: int) -> list[str]:
    first_s = {}
    for job in all_jobs:
        first_s[job.name] = ours_s(job, folder)
        print(f"{job.name}: the first time {first_s[job.name]:.1f} s", flush=True)
    lines = [
        "Wall time from the start of the program or server to the result as a file, the median of "
        f"the rounds ({count}), in which peers and server take turns. Only the first time does the "
        "server convert the network. In the last three columns, another program keeps one core "
        "busy.",
        "",
        "| | this server, first time | peer | its time | this server | ratio "
        "| its time, busy | this server | ratio |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    idle = rounds(all_jobs, folder, count)
    with one_core_busy():
        busy = rounds(all_jobs, folder, count)
    for job in all_jobs:
        cells = " | ".join(map(_cells, (idle[job.name], busy[job.name])))
        first = f"{first_s[job.name]:.1f} s"
        lines.append(f"| {job.name} | {first} | {job.peer_name} | {cells} |")
    starting_s = statistics.median(start_s(folder) for _ in range(3))
    peak_mb = peak_bytes(all_jobs, folder) / 1e6
    return [
        *lines,
        "",
        f"Each time of this server includes its start, which takes {starting_s:.1f} s. One server "
        f"that does the three jobs, one after the other, takes up to {peak_mb:,.0f} MB.",
    ]


def _cells(pairs: list[tuple[float, float]]) -> str:
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(left / right for left, right in pairs)
    return f"{theirs:.1f} s | {ours:.1f} s | {ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bundled", action="store_true", help="the bundled models, not usual ones")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument("--peer", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        name, *given = options.peer
        PEERS[name](*given)
        return
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
        lines += table(jobs(folder, options.bundled), folder, options.rounds)
    print("\n".join([f"## {TITLE}", "", *lines]))
    print(f"\nAll in {time.monotonic() - began_s:.0f} s.")
    if options.write:
        report.write("quick", TITLE, lines)


if __name__ == "__main__":
    main()
