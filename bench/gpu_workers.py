"""What `bench.gpu` runs in processes of its own: each function measures one thing.

A worker is given the folder of the benchmark and options; it returns what it found.
"""

import ctypes
import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import material

Result = dict[str, Any]
PROMPT = "slow sad piano, without drums"
LIBRARIES = ("libcublas.so.12", "libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13")
PACKAGES = ("torch", "demucs", "transformers", "faster-whisper", "ctranslate2")
# faster-whisper adds those that begin a text, and CTranslate2 halves the sum.
START_TOKENS = 3
TOGETHER = 4
WINDOWS, WINDOW_S = 8, 29
# So many windows are also decoded one by one.
SINGLE = 4


def environment(_home: Path) -> Result:
    """The card, the versions, and which libraries of CUDA load by their names."""
    import torch

    from bench import measure

    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    card = "no CUDA device"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        card = f"{torch.cuda.get_device_name(0)} with {memory:.0f} GiB, CUDA {torch.version.cuda}"
    found = []
    for name in LIBRARIES:
        try:
            ctypes.CDLL(name)
            found.append(f"`{name}` loads")
        except OSError:
            found.append(f"`{name}` does not load")
    processor = f"{measure.processor()}, {os.cpu_count()} cores"
    return {
        "card": card,
        "machine": f"{processor}, {', '.join(versions)}",
        "libraries": "; ".join(found),
    }


def separation_prepare(home: Path, seconds: float) -> Result:
    material.full_size_weights(home)
    for number in range(TOGETHER):
        material.song(home / f"song{number}.wav", seconds, start_s=number)
    material.song(home / "short.wav", 20.0)
    return {}


def separation_theirs(home: Path, songs: int) -> Result:
    """The command line of demucs; when it loads, and what each song takes, is watched."""
    import sys

    began_s = time.monotonic()
    from demucs import api, separate

    at_s: list[float] = []
    separate_file = api.Separator.separate_audio_file

    def watched(self: Any, file: Path) -> Any:
        at_s.append(time.monotonic())
        return separate_file(self, file)

    api.Separator.separate_audio_file = watched
    command = ["-n", "htdemucs", "-d", "cuda", "--repo", str(home / "demucs")]
    command += ["-o", str(home / "theirs"), *_songs(home, songs)]
    sys.argv = ["demucs.separate", *command]
    separate.main(command)
    at_s.append(time.monotonic())
    return {
        "load_s": at_s[0] - began_s,
        "songs_s": list(np.diff(at_s)),
        "device_bytes": _peak_bytes(),
    }


def separation_ours(home: Path, songs: int) -> Result:
    """The server's engine on the same files; four songs also at once."""
    began_s = time.monotonic()
    bag = _bag(home, "auto", "auto")
    load_s = time.monotonic() - began_s
    songs_s = [_separated_s(bag, Path(song)) for song in _songs(home, songs)]
    found: Result = {"load_s": load_s, "songs_s": songs_s, "note": bag.remark}
    found |= {"engine": bag.engine, "precision": bag.precision, "device_bytes": _peak_bytes()}
    found["batch"] = [member.network.batch for member in bag.members]
    if songs > 1:
        found["together_s"] = _together_s([
            partial(_separated_s, bag, Path(song)) for song in _songs(home, songs)
        ])  # fmt: skip
        found["device_bytes"] = _peak_bytes()
    return found


def separation_parity(home: Path, variant: str) -> Result:
    """The stems on the device against those on the CPU."""
    from studio.audio import read_blocks

    sounds = []
    for engine, device in (("torch", "cpu"), ("auto", "auto")):
        bag = _bag(home, engine, device, variant)
        with tempfile.TemporaryDirectory(dir=home) as work:
            _separated_s(bag, home / "short.wav", Path(work))
            sounds.append([
                np.concatenate(list(read_blocks(Path(work) / f"{stem}.wav")), axis=1)
                for stem in bag.sources
            ])  # fmt: skip
    exact, found = (np.stack(stems) for stems in sounds)
    return {"relative": _relative(found, exact), "largest": float(np.abs(found - exact).max())}


def generation_prepare(home: Path) -> Result:
    material.random_musicgen(home / "musicgen" / "small")
    return {}


def generation_theirs(home: Path, seconds: float, precision: str) -> Result:
    began_s = time.monotonic()
    import torch
    from tokenizers import Tokenizer
    from transformers import MusicgenForConditionalGeneration

    folder = home / "musicgen" / "small"
    number = torch.float16 if precision == "f16" else torch.float32
    model = MusicgenForConditionalGeneration.from_pretrained(str(folder), dtype=number)
    model = model.to("cuda").eval()
    load_s = time.monotonic() - began_s
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(PROMPT).ids
    ids = torch.tensor([tokens], device="cuda")

    def play(frames: int) -> float:
        torch.manual_seed(1)
        began_s = time.monotonic()
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=frames + 3,
            guidance_scale=3.0,
            do_sample=True,
            top_k=250,
        ).cpu()
        return time.monotonic() - began_s

    play(25)
    song_s = play(round(seconds * 50))
    return {"load_s": load_s, "song_s": song_s, "device_bytes": _peak_bytes()}


def generation_ours(home: Path, seconds: float) -> Result:
    began_s = time.monotonic()
    model = _music(home, "auto")
    load_s = time.monotonic() - began_s
    first_s = _played_s(model, 1.0)
    songs_s = [_played_s(model, seconds) for _ in range(3)]
    peak = _peak_bytes()
    together_s = _together_s([lambda: _played_s(model, seconds)] * TOGETHER)
    return {
        "load_s": load_s,
        "first_s": first_s,
        "songs_s": songs_s,
        "together_s": together_s,
        "engine": model.engine,
        "precision": model.precision,
        "note": model.note,
        "device_bytes": peak,
        "device_bytes_together": _peak_bytes(),
    }


def generation_parity(home: Path, steps: int) -> Result:
    """Logits and sound on the device against those on the CPU."""
    logits, sounds = [], []
    for device in ("cpu", "auto"):
        model = _music(home, device, "torch" if device == "cpu" else "auto")
        kind = model.kind
        codes = np.random.default_rng(1).integers(0, kind.vocabulary, (1, kind.codebooks, steps))
        run = model.decoder.begin(model.listener.states(PROMPT, None), 1, guided=True)
        logits.append(np.stack([run(codes[:, :, step : step + 1]) for step in range(steps)]))
        hidden, _ = model.codec.recur(model.codec.embed(codes), None)
        sounds.append(model.codec.synthesise(hidden))
    exact, found = logits
    return {
        "steps": steps,
        "logits": _relative(found, exact),
        "same": float((exact.argmax(-1) == found.argmax(-1)).mean()),
        "codec": _relative(sounds[1], sounds[0]),
    }


def transcription_prepare(home: Path, size: str) -> Result:
    material.random_whisper_ctranslate2(home / size, size)
    return {}


def transcription_theirs(home: Path, size: str, rounds: int, tokens: int) -> Result:
    """faster-whisper as a library."""
    before = _free_bytes()
    began_s = time.monotonic()
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(home / size), device="cuda", compute_type="float16")
    load_s = time.monotonic() - began_s
    windows = _windows()
    settings: dict[str, Any] = {
        "language": "en", "beam_size": 5, "temperature": 0.0,
        "max_new_tokens": 2 * tokens - START_TOKENS,
        "condition_on_previous_text": False, "without_timestamps": False, "vad_filter": False,
    }  # fmt: skip

    def single() -> None:
        for window in windows[:SINGLE]:
            list(model.transcribe(window, **settings)[0])

    def batch() -> None:
        length = WINDOW_S * 16_000
        clips = [
            {"start": n * length / 16_000, "end": (n + 1) * length / 16_000} for n in range(WINDOWS)
        ]
        found, _ = BatchedInferencePipeline(model).transcribe(
            np.concatenate(windows), batch_size=WINDOWS, clip_timestamps=clips, **settings
        )
        list(found)

    return {"precision": "float16", "load_s": load_s, **_timed(single, batch, rounds, before)}


def transcription_ours(home: Path, size: str, rounds: int, tokens: int) -> Result:
    from studio.transcription.engine import DecodeOptions
    from studio.transcription.faster_engine import FasterWhisper

    before = _free_bytes()
    began_s = time.monotonic()
    engine = FasterWhisper(home / size, 0)
    load_s = time.monotonic() - began_s
    windows = _windows()
    options = DecodeOptions(
        "en", word_timestamps=False, beam_size=5, temperatures=(0.0,), max_tokens=tokens
    )

    def single() -> None:
        for window in windows[:SINGLE]:
            list(engine.transcribe([window], options))

    def batch() -> None:
        list(engine.transcribe(windows, options))

    cost = _timed(single, batch, rounds, before)
    return {"precision": engine.precision, "note": engine.note, "load_s": load_s, **cost}


def transcription_parity(home: Path, size: str) -> Result:
    """The encoder's output on the device in float16 against the CPU's in float32."""
    import ctranslate2

    from studio.transcription.cuda import preload_cublas

    preload_cublas()
    mels = material.WHISPER_SIZES[size].mels
    heard = np.random.default_rng(0).normal(size=(1, mels, 3000)).astype(np.float32)
    states = []
    for device, number in (("cpu", "float32"), ("cuda", "float16")):
        model = ctranslate2.models.Whisper(str(home / size), device=device, compute_type=number)
        found = model.encode(ctranslate2.StorageView.from_array(heard), to_cpu=True)
        states.append(np.array(found.to(ctranslate2.DataType.float32)))
    return {"relative": _relative(states[1], states[0])}


def _songs(home: Path, count: int) -> list[str]:
    return [str(home / f"song{number}.wav") for number in range(count)]


def _bag(home: Path, engine: str, device: str, variant: str = "htdemucs") -> Any:
    from studio.inference.engine_settings import EngineSettings
    from studio.separation.catalogue import DemucsCatalogue
    from studio.separation.load import load

    catalogue = DemucsCatalogue(material.ROOT / "pretrained" / "demucs-mini", home / "demucs", home)
    settings = EngineSettings(engine, "auto", 0, home / "graphs", device)
    return load(catalogue, variant, settings)


def _separated_s(bag: Any, song: Path, work: Path | None = None) -> float:
    from studio import audio
    from studio.family import JobContext
    from studio.separation.options import SeparationOptions
    from studio.separation.separate import separate
    from studio.sources import Source

    with tempfile.TemporaryDirectory(dir=song.parent) as folder:
        began_s = time.monotonic()
        context = JobContext(SeparationOptions(), work or Path(folder))
        separate(bag, Source(song, audio.duration_s(song)), context)
        return time.monotonic() - began_s


def _music(home: Path, device: str, engine: str = "auto") -> Any:
    from studio.generation.catalogue import MusicGenCatalogue
    from studio.generation.load import load
    from studio.inference.engine_settings import EngineSettings

    catalogue = MusicGenCatalogue(material.ROOT / "pretrained" / "musicgen-mini", home / "musicgen")
    return load(catalogue, "small", EngineSettings(engine, "f32", 0, home / "graphs", device))


def _played_s(model: Any, seconds: float) -> float:
    from studio.family import JobContext
    from studio.generation.generate import Prompt, generate
    from studio.generation.options import GenerationOptions

    options = GenerationOptions(duration=seconds, seed=1)
    with tempfile.TemporaryDirectory() as work:
        began_s = time.monotonic()
        generate(model, Prompt(PROMPT), JobContext(options, Path(work)))
        return time.monotonic() - began_s


def _windows() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, WINDOW_S * 16_000).astype(np.float32) for _ in range(WINDOWS)]


def _timed(
    single: Callable[[], None], batch: Callable[[], None], rounds: int, free_before: int
) -> Result:
    """Medians of both, four of the second at once, and the device memory that went."""
    costs: dict[str, list[float]] = {"single_s": [], "batch_s": []}
    batch()
    for _ in range(rounds):
        for name, call in (("single_s", single), ("batch_s", batch)):
            began_s = time.monotonic()
            call()
            costs[name].append(time.monotonic() - began_s)
    together_s = _together_s([batch] * TOGETHER)
    found: Result = {name: float(np.median(values)) for name, values in costs.items()}
    return {**found, "together_s": together_s, "device_bytes": free_before - _free_bytes()}


def _together_s(calls: Sequence[Callable[[], object]]) -> float:
    began_s = time.monotonic()
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()
    return time.monotonic() - began_s


def _peak_bytes() -> int:
    """The most device memory that PyTorch held."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


def _free_bytes() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def _relative(found: Any, exact: Any) -> float:
    """How far an array is from the exact one, as a share of it."""
    wide = exact.astype(np.float64)
    return float(np.linalg.norm(found - wide) / np.linalg.norm(wide))


WORKERS: dict[str, Callable[..., Result]] = {
    call.__name__: call
    for call in (
        environment,
        separation_prepare,
        separation_theirs,
        separation_ours,
        separation_parity,
        generation_prepare,
        generation_theirs,
        generation_ours,
        generation_parity,
        transcription_prepare,
        transcription_theirs,
        transcription_ours,
        transcription_parity,
    )
}
