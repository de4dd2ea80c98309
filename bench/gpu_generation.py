"""Workers of `bench.gpu` for music generation."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import material
from bench.gpu_measure import TOGETHER, Result, at_once_s, peak_bytes, relative

PROMPT = "slow sad piano, without drums"


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
    return {"load_s": load_s, "song_s": song_s, "device_bytes": peak_bytes()}


def generation_ours(home: Path, seconds: float) -> Result:
    began_s = time.monotonic()
    model = music(home, "auto")
    load_s = time.monotonic() - began_s
    first_s = _played_s(model, 1.0)
    songs_s = [_played_s(model, seconds) for _ in range(3)]
    peak = peak_bytes()
    together_s = at_once_s([lambda: _played_s(model, seconds)] * TOGETHER)
    return {
        "load_s": load_s,
        "first_s": first_s,
        "songs_s": songs_s,
        "together_s": together_s,
        "engine": model.engine,
        "precision": model.precision,
        "note": model.note,
        "device_bytes": peak,
        "device_bytes_together": peak_bytes(),
    }


def generation_parity(home: Path, steps: int) -> Result:
    """Logits and sound on the device against those on the CPU."""
    logits, sounds = [], []
    for device in ("cpu", "auto"):
        model = music(home, device, "torch" if device == "cpu" else "auto")
        spec = model.spec
        codes = np.random.default_rng(1).integers(0, spec.vocabulary, (1, spec.codebooks, steps))
        run = model.decoder.begin(model.listener.states(PROMPT, None), 1, guided=True)
        logits.append(np.stack([run(codes[:, :, step : step + 1]) for step in range(steps)]))
        hidden, _ = model.codec.recur(model.codec.embed(codes), None)
        sounds.append(model.codec.synthesise(hidden))
    exact, found = logits
    return {
        "steps": steps,
        "logits": relative(found, exact),
        "same": float((exact.argmax(-1) == found.argmax(-1)).mean()),
        "codec": relative(sounds[1], sounds[0]),
    }


def music(home: Path, device: str, engine: str = "auto") -> Any:
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
