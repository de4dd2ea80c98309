"""`python -m bench.generation`: music against transformers' own `generate`, in one run.

Both run the same weights of small size (random: speed and memory do not depend on them), with
guidance and sampling, each in a process of its own that loads its model before the clock starts.
Then the price of less precision: how often the likeliest codes are those of f32, and how far the
distributions of the next codes lie apart, for random weights and for the bundled model.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import bound, measure, report
from bench.material import ROOT, random_musicgen
from studio.family import JobContext
from studio.generation import parts
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.generate import Prompt, generate
from studio.generation.load import load
from studio.generation.model import Logits, MusicModel
from studio.generation.openvino import conversion
from studio.generation.options import GenerationOptions
from studio.generation.shape import shape_of
from studio.inference.engine_settings import EngineSettings

PACKAGES = ["torch", "transformers", "openvino"]
MINI = ROOT / "pretrained" / "musicgen-mini"
THEIRS = "transformers"
PROMPT = "slow sad piano, without drums"
ENGINES = {
    "this server, PyTorch": ("torch", "f32"),
    "this server, OpenVINO f32": ("openvino", "f32"),
    "this server, OpenVINO bf16": ("openvino", "bf16"),
    "this server, OpenVINO int8 (the default)": ("openvino", "int8"),
    "this server, OpenVINO int4": ("openvino", "int4"),
}
PRECISIONS = ("f32", "bf16", "int8", "int4")
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the music")
    parser.add_argument("--steps", type=int, default=200, help="steps of the second part")
    parser.add_argument("--only", choices=["speed", "price"], help="one part")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        models = Path(name)
        random_musicgen(models / "musicgen" / "small")
        lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
        print(lines[0], flush=True)
        if options.only in (None, "speed"):
            lines += [*against_transformers(models, options.seconds), ""]
        if options.only in (None, "price"):
            lines += [*price(models, options.steps), ""]
        print("\n".join(lines[1:]), flush=True)
    if options.write:
        report.write("generation", "Music", lines)


def against_transformers(models: Path, seconds: float) -> list[str]:
    """Wall time and memory of the same length of music."""
    steps = round(seconds * 50) + 3
    lines = [
        f"## {seconds:g} s of music with the small size",
        "",
        f"{steps} steps with guidance, including the codec. The graphs had been converted "
        "beforehand.",
        "",
        "| | wall time | per step | music per second | peak memory | speed-up |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    theirs_s, peak_mb = _worker(models, THEIRS, "f32", seconds)
    name = "`generate` of transformers, f32, eager"
    lines.append(
        _row(name, theirs_s, steps=steps, seconds=seconds, peak_mb=peak_mb, theirs_s=theirs_s)
    )
    for name, (engine, precision) in ENGINES.items():
        if engine == "openvino":
            _worker(models, engine, precision, 1.0)
        wall_s, peak_mb = _worker(models, engine, precision, seconds)
        lines.append(
            _row(name, wall_s, steps=steps, seconds=seconds, peak_mb=peak_mb, theirs_s=theirs_s)
        )
    return [*lines, "", _bound(models)]


def _bound(models: Path) -> str:
    """The lower bound on the time of a step with weights of 8 bits."""
    folder = models / "musicgen" / "small"
    config = parts.read_config(folder)
    shape = shape_of(config, parts.read_codec_spec(folder, config))
    graph = models / "graphs" / conversion.key(folder, shape, 8) / "decoder.bin"
    weights = graph.stat().st_size
    rate = bound.bytes_per_second()
    return (
        f"Each step reads all weights of the decoder, {weights / 1e6:,.0f} MB in 8 bits. OpenVINO "
        f"multiplies matrices of 8 bits with two rows at {rate / 1e9:.1f} GB/s on this machine, so "
        f"a step takes at least {1e3 * weights / rate:.1f} ms."
    )


def _row(
    name: str, wall_s: float, *, steps: int, seconds: float, peak_mb: float, theirs_s: float
) -> str:
    return (
        f"| {name} | {wall_s:.1f} s | {1000 * wall_s / steps:.0f} ms | {seconds / wall_s:.2f} s | "
        f"{peak_mb:,.0f} MB | {theirs_s / wall_s:.2f} |"
    )


def _worker(models: Path, engine: str, precision: str, seconds: float) -> tuple[float, float]:
    """Seconds and peak megabytes of one run in a process of its own."""
    log = models / "worker.log"
    command = [sys.executable, "-m", "bench.generation", "--worker"]
    cost = measure.run([*command, str(models), engine, precision, str(seconds)], log)
    output = json.loads(log.read_text().splitlines()[-1])
    return float(output["wall_s"]), cost.peak_bytes / 1e6


def _work(models: str, engine: str, precision: str, seconds: str) -> None:
    """One measured run; its seconds as the last line of the output."""
    folder = Path(models)
    wall_s = (
        _theirs(folder, float(seconds))
        if engine == THEIRS
        else _ours(folder, engine, precision, float(seconds))
    )
    print(json.dumps({"wall_s": wall_s}))


def _theirs(models: Path, seconds: float) -> float:
    import torch
    from tokenizers import Tokenizer
    from transformers import MusicgenForConditionalGeneration

    folder = models / "musicgen" / "small"
    model = MusicgenForConditionalGeneration.from_pretrained(
        str(folder), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode(PROMPT).ids])
    torch.manual_seed(SEED)
    began_s = time.monotonic()
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=round(seconds * 50) + 3,
        guidance_scale=3.0,
        do_sample=True,
        top_k=250,
    )
    return time.monotonic() - began_s


def _ours(models: Path, engine: str, precision: str, seconds: float) -> float:
    model = _loaded(models, "small", engine, precision)
    options = GenerationOptions(duration=seconds, seed=SEED)
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        began_s = time.monotonic()
        generate(model, Prompt(PROMPT), JobContext(options, Path(work)))
        return time.monotonic() - began_s


def _loaded(models: Path, name: str, engine: str, precision: str) -> MusicModel:
    catalogue = MusicGenCatalogue(MINI, models / "musicgen")
    return load(catalogue, name, EngineSettings(engine, precision, 0, models / "graphs"))


def price(models: Path, steps: int) -> list[str]:
    """Agreement with PyTorch in f32, step by step on the same codes."""
    lines = [
        "## The cost of lower precision",
        "",
        f"{steps} steps on the same codes with a guidance scale of 3: how often the most likely "
        "code is the same as in PyTorch with f32, and the mean Kullback-Leibler divergence from "
        "its distribution.",
        "",
        "| model | precision | same most likely code | divergence |",
        "|---|---|---:|---:|",
    ]
    names = {"small": "random weights, small size"}
    names |= {"mini": "bundled mini"} if (MINI / "config.json").is_file() else {}
    for name, title in names.items():
        exact = _scores(_loaded(models, name, "torch", "f32"), steps)
        for precision in PRECISIONS:
            found = _scores(_loaded(models, name, "openvino", precision), steps)
            same, divergence = _compare(exact, found)
            lines.append(f"| {title} | {precision} | {same:.2%} | {divergence:.1e} |")
    return lines


def _scores(model: MusicModel, steps: int) -> Logits:
    """Guided logits (steps, codebooks, vocabulary) behind codes drawn by chance."""
    spec = model.spec
    shape = (1, spec.codebooks, steps)
    codes = np.random.default_rng(SEED).integers(0, spec.vocabulary, shape)
    run = model.decoder.begin(model.listener.states(PROMPT, None), 1, guided=True)
    scores = []
    for step in range(steps):
        conditional, unconditional = run(codes[:, :, step : step + 1])
        scores.append(unconditional + 3.0 * (conditional - unconditional))
    return np.stack(scores)


def _compare(exact: Logits, found: Logits) -> tuple[float, float]:
    """Share of equal likeliest codes, and mean divergence in nats."""
    same = float((exact.argmax(-1) == found.argmax(-1)).mean())
    true, other = (_log_probabilities(scores) for scores in (exact, found))
    return same, float((np.exp(true) * (true - other)).sum(-1).mean())


def _log_probabilities(scores: Any) -> Any:
    scores = scores.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


if __name__ == "__main__":
    main()
