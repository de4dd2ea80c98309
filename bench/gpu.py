"""`python -m bench.gpu`: the three models on a CUDA device against the programs they replace.

For a machine with a GPU, PyTorch for it, and nothing else: what is missing is installed with pip,
from wherever pip is configured to look. Each part has a time limit of its own, so that one that
fails loses none of the others; all together take eight minutes at most.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from math import log10
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOTAL_S = 480.0
INSTALL_S = 150.0
SONG_S = 240.0
# Import name and requirement of what the parts need besides PyTorch.
COMMON = {
    "numpy": "numpy",
    "scipy": "scipy",
    "safetensors": "safetensors",
    "yaml": "pyyaml",
    "psutil": "psutil",
    "requests": "requests",
    "pydantic": "pydantic",
    "sqlalchemy": "sqlalchemy",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "imageio_ffmpeg": "imageio-ffmpeg",
}
NEEDED = {
    "separation": {"demucs": "demucs==4.1.0"},
    "generation": {"transformers": "transformers"},
    "transcription": {
        "ctranslate2": "ctranslate2==4.8.5",
        "faster_whisper": "faster-whisper==1.2.1",
    },
}
NEEDED["memory"] = {**NEEDED["separation"], **NEEDED["generation"], **NEEDED["transcription"]}
GB = 1e9
# Where faster-whisper as a library finds cuBLAS; this server must find it by itself.
LIBRARIES_OF_THEIRS = "BENCH_LIBRARIES_OF_THEIRS"

Result = dict[str, Any]


class PartFailed(Exception):
    """A part of the measurement did not come to its end; the text says why."""


class Bench:
    """Runs workers, each in a process of its own, until the time is over."""

    def __init__(
        self, folder: Path, environment: dict[str, str], rounds: int, music_s: float
    ) -> None:
        self.folder = folder
        self.rounds = rounds
        self.music_s = music_s
        self.results: dict[str, list[Result]] = {}
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._ends_s = time.monotonic() + TOTAL_S

    def prepare(self, worker: str, limit_s: float, **given: Any) -> None:
        """Make what workers need, unless another part has made it."""
        if given not in [result["given"] for result in self.results.get(worker, [])]:
            self.call(worker, limit_s, **given)

    def call(self, worker: str, limit_s: float, **given: Any) -> Result:
        """What a worker found; `wall_s` is what its whole process took."""
        limit_s = min(limit_s, self._ends_s - time.monotonic())
        if limit_s <= 0:
            raise PartFailed("the time was over")
        log = self.folder / f"{worker}.log"
        environment = {**self._environment}
        if worker == "transcription_theirs" and (libraries := environment.get(LIBRARIES_OF_THEIRS)):
            before = environment.get("LD_LIBRARY_PATH", "")
            environment["LD_LIBRARY_PATH"] = f"{libraries}:{before}"
        command = [sys.executable, "-m", "bench.gpu", "--folder", str(self.folder)]
        command += ["--worker", worker, json.dumps(given)]
        began_s = time.monotonic()
        with open(log, "wb") as output:
            try:
                done = subprocess.run(
                    command,
                    stdout=output,
                    stderr=output,
                    cwd=ROOT,
                    env=environment,
                    timeout=limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise PartFailed(f"{worker} took longer than {limit_s:.0f} s") from None
        wall_s = time.monotonic() - began_s
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        if done.returncode:
            print("\n".join(lines[-25:]), flush=True)
            raise PartFailed(f"{worker}: {lines[-1] if lines else done.returncode}")
        found: Result = {**json.loads(lines[-1]), "wall_s": wall_s}
        self.results.setdefault(worker, []).append({"given": given, **found})
        print(f"{worker} {given}: {json.dumps(found)}", flush=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="some of the parts")
    parser.add_argument("--out", type=Path, help="folder for gpu.md and gpu.json")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; medians are reported")
    parser.add_argument("--music", type=float, default=30.0, help="seconds of music")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument(
        "--cublas-13",
        action="store_true",
        help="where cuBLAS 12 is missing, give CTranslate2 that of CUDA 13 under its name, in the "
        "place of the wheel nvidia-cublas-cu12; for the measurement only",
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        # What it needs may have to be installed first.
        from bench import gpu_memory, gpu_workers

        workers = gpu_workers.WORKERS | gpu_memory.WORKERS
        name, given = options.worker
        print("\n" + json.dumps(workers[name](options.folder, **json.loads(given))))
        return
    names = options.only or list(PARTS)
    missing = install(names)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environment = stand_in_for_cublas_12(folder) if options.cublas_13 else {}
        bench = Bench(folder, environment, options.rounds, options.music)
        lines = [*_parts(bench, names, missing, bool(environment))]
    text = "\n".join(lines)
    print(text, flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.md").write_text(text, "utf-8")
        (options.out / "gpu.json").write_text(json.dumps(bench.results, indent=1), "utf-8")
    if options.write:
        from bench import report

        card = bench.results["environment"][0]["card"]
        report.write("gpu", "CUDA", lines, card, " ".join(sys.argv[1:]))


def _parts(bench: Bench, names: list[str], missing: list[str], renamed: bool) -> Iterator[str]:
    """The lines of the report, part by part."""
    machine = bench.call("environment", 60)
    yield f"Machine: {machine['card']}, {machine['machine']}."
    yield f"Libraries: {machine['libraries']}."
    if renamed:
        yield (
            "CTranslate2 was given the cuBLAS of CUDA 13 under the name `libcublas.so.12`, for "
            "this measurement only: in the place of the wheel `nvidia-cublas-cu12`, from where "
            "this server loads it, and on `LD_LIBRARY_PATH` for faster-whisper."
        )
    if missing:
        yield f"Not installed: {', '.join(missing)}."
    for name in names:
        title, part = PARTS[name]
        yield ""
        yield f"## {title}"
        yield ""
        try:
            yield from part(bench)
        except PartFailed as error:
            yield f"Not measured: {error}."


def install(names: list[str]) -> list[str]:
    """Install what the parts lack; what could not be installed."""
    needed = {**COMMON}
    for name in names:
        needed |= NEEDED[name]
    ends_s = time.monotonic() + INSTALL_S
    for module, requirement in needed.items():
        if find_spec(module) is not None:
            continue
        print(f"installing {requirement}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--retries", "0", requirement]
        try:
            subprocess.run(command, timeout=ends_s - time.monotonic(), check=True)
        except (subprocess.SubprocessError, OSError) as error:
            # pip finds no index, most likely, and would look for it in vain each time.
            print(f"{requirement} cannot be installed: {error}", flush=True)
            break
    return [name for module, name in needed.items() if find_spec(module) is None]


def stand_in_for_cublas_12(folder: Path) -> dict[str, str]:
    """An environment in which the cuBLAS of CUDA 13 lies where a wheel has that of CUDA 12.

    Programs look for a library by the name that is written in it, so the copies have the other one.
    """
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    found = {path.name: path for root in roots for path in Path(root).rglob("libcublas*.so.13")}
    if "libcublas.so.13" not in found:
        return {}
    package = folder / "site" / "nvidia"
    libraries = package / "cublas" / "lib"
    libraries.mkdir(parents=True)
    # Other packages of the name go on being found behind it.
    (package / "__init__.py").write_text(
        "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n", "utf-8"
    )
    for name, path in found.items():
        data = path.read_bytes().replace(name.encode(), name.replace(".13", ".12").encode())
        (libraries / name.replace(".13", ".12")).write_bytes(data)
    paths = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{folder / 'site'}:{paths}", LIBRARIES_OF_THEIRS: str(libraries)}


def separation(bench: Bench) -> Iterator[str]:
    bench.prepare("separation_prepare", 60, seconds=SONG_S)
    rounds: dict[str, list[Result]] = {"separation_theirs": [], "separation_ours": []}
    for _ in range(bench.rounds):
        for worker, costs in rounds.items():
            costs.append(bench.call(worker, 60, songs=1))
    theirs = bench.call("separation_theirs", 90, songs=4)
    ours = bench.call("separation_ours", 90, songs=4)
    whole = [median(cost["wall_s"] for cost in costs) for costs in rounds.values()]
    yield (
        f"htdemucs of full size, random weights; a song of {SONG_S:.0f} s as WAV. The command line "
        "of demucs writes 16-bit files, this server 32-bit ones. `Process`: a process that "
        f"separates one song, from its start to its end, median of {bench.rounds} that take turns. "
        "`Further songs`: the median of what each took after the first, in one process. `4 songs`: "
        "one after the other by demucs, at once here; neither counts loading."
    )
    yield ""
    yield "| | process | load | first song | further songs | 4 songs | device memory |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    rows = [
        ("`python -m demucs.separate -d cuda`, f32", whole[0], theirs, sum(theirs["songs_s"])),
        (f"this server, {ours['precision']}", whole[1], ours, ours["together_s"]),
    ]
    for name, wall_s, cost, four_s in rows:
        yield (
            f"| {name} | {wall_s:.1f} s | {cost['load_s']:.1f} s | {cost['songs_s'][0]:.2f} s | "
            f"{median(cost['songs_s'][1:]):.2f} s | {four_s:.1f} s | {_gb(cost)} |"
        )
    ratios = [
        whole[0] / whole[1],
        theirs["songs_s"][0] / ours["songs_s"][0],
        median(theirs["songs_s"][1:]) / median(ours["songs_s"][1:]),
        rows[0][3] / rows[1][3],
    ]
    yield (
        f"| times as fast | {ratios[0]:.2f} | | {ratios[1]:.2f} | {ratios[2]:.2f} | "
        f"{ratios[3]:.2f} | |"
    )
    yield ""
    yield "Against its own result on the CPU in f32, 20 s (full scale is 1):"
    yield ""
    yield "| weights | relative error | below the stems | largest difference |"
    yield "|---|---:|---:|---:|"
    for variant, weights in (("htdemucs", "random, full size"), ("mini", "bundled, trained")):
        parity = bench.call("separation_parity", 90, variant=variant)
        error = parity["relative"]
        yield (
            f"| {weights} | {error:.1e} | {-20 * log10(max(error, 1e-12)):.1f} dB | "
            f"{parity['largest']:.1e} |"
        )


def generation(bench: Bench) -> Iterator[str]:
    bench.prepare("generation_prepare", 90)
    ours = bench.call("generation_ours", 120, seconds=bench.music_s)
    rows = [(f"this server, {ours['precision']}", ours, median(ours["songs_s"]))]
    steps = round(bench.music_s * 50) + 3
    # In half precision it takes so long that a third must do.
    for precision, share in (("f16", 3), ("f32", 1)):
        theirs = bench.call(
            "generation_theirs", 110, seconds=bench.music_s / share, precision=precision
        )
        step_s = theirs["song_s"] / (round(bench.music_s / share * 50) + 3)
        rows.append((f"`generate` of transformers, {precision}", theirs, step_s * steps))
    yield (
        f"MusicGen of small size, random weights; {bench.music_s:.0f} s of music with guidance and "
        f"sampling, {steps} steps and the codec. Here the median of {len(ours['songs_s'])} runs, "
        "of transformers one run after a short first one, in half precision of a third of the "
        "length, from which the whole is reckoned."
    )
    yield ""
    yield "| | load | music | a step | device memory | times as fast as f16 | as f32 |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, cost, wall_s in rows:
        yield (
            f"| {name} | {cost['load_s']:.1f} s | {wall_s:.1f} s | "
            f"{1000 * wall_s / steps:.2f} ms | {_gb(cost)} | {rows[1][2] / wall_s:.2f} | "
            f"{rows[2][2] / wall_s:.2f} |"
        )
    yield ""
    yield (
        f"Four such jobs at once here: {ours['together_s']:.1f} s, "
        f"{4 * rows[0][2] / ours['together_s']:.2f} times as fast as one after the other, with "
        f"{ours['device_bytes_together'] / GB:.1f} GB of device memory."
    )
    parity = bench.call("generation_parity", 90, steps=50)
    yield ""
    yield (
        f"Against its own result on the CPU in f32, {parity['steps']} steps on the same "
        f"codes: relative error of the logits {parity['logits']:.1e}, the likeliest code the same "
        f"in {parity['same']:.1%}; of the codec's sound {parity['codec']:.1e}."
    )


def transcription(bench: Bench) -> Iterator[str]:
    yield (
        "Random weights with the vocabulary of the bundled model; 8 windows of 29 s, 50 tokens "
        "each, beam 5, without word times. `One by one`: each window by itself; `8 together`: "
        "`BatchedInferencePipeline` of faster-whisper, and `batch_size` 8 here. Medians of "
        f"{bench.rounds}."
    )
    yield ""
    yield "| size | | load | one by one | 8 together | 4 jobs at once | device memory |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    notes: list[str] = []
    for size in ("base", "large-v3"):
        bench.prepare("transcription_prepare", 60, size=size)
        costs = {}
        for name, worker in (
            ("faster-whisper", "transcription_theirs"),
            ("this server", "transcription_ours"),
        ):
            try:
                cost = costs[name] = bench.call(worker, 75, size=size, rounds=bench.rounds)
            except PartFailed as error:
                notes.append(f"{name}, {size}: {error}.")
                continue
            notes += [f"This server, {size}: {cost['note']}"] if cost.get("note") else []
            yield (
                f"| {size} | {name}, {cost['precision']} | {cost['load_s']:.1f} s | "
                f"{cost['single_s']:.2f} s | {cost['batch_s']:.2f} s | "
                f"{cost['together_s']:.2f} s | {_gb(cost)} |"
            )
        if len(costs) == 2:
            ratios = [
                f"{costs['faster-whisper'][key] / costs['this server'][key]:.2f}"
                for key in ("single_s", "batch_s", "together_s")
            ]
            yield f"| {size} | times as fast | | {' | '.join(ratios)} | |"
        try:
            parity = bench.call("transcription_parity", 60, size=size)
            notes.append(
                f"{size}: relative error of the encoder on the device in float16 against the CPU "
                f"in float32 {parity['relative']:.1e}."
            )
        except PartFailed as error:
            notes.append(f"{size}: parity not measured: {error}.")
    yield ""
    yield from notes


def memory(bench: Bench) -> Iterator[str]:
    bench.prepare("separation_prepare", 60, seconds=SONG_S)
    bench.prepare("generation_prepare", 90)
    bench.prepare("transcription_prepare", 60, size="base")
    yield (
        "A tensor takes all of the card's memory but so much, once the model is loaded. Errors are "
        "against the same work with enough memory."
    )
    yield ""
    yield "| | memory left | time | relative error | note of the result |"
    yield "|---|---:|---:|---:|---|"
    for title, worker, sizes_mb, given in (
        ("separation of 20 s", "separation_full", (1500, 100), {}),
        ("codec, 10 s of music", "generation_full", (20,), {}),
        ("speech, 8 windows", "transcription_full", (150, 10), {"size": "base"}),
    ):
        for free_mb in sizes_mb:
            cost = bench.call(worker, 75, free_mb=free_mb, **given)
            error = f"{cost['relative']:.1e}" if "relative" in cost else ""
            yield (
                f"| {title} | {free_mb} MiB | {cost['full_s']:.1f} s | {error} | {cost['note']} |"
            )


def _gb(cost: Result) -> str:
    return f"{cost['device_bytes'] / GB:.1f} GB"


PARTS: dict[str, tuple[str, Callable[[Bench], Iterator[str]]]] = {
    "separation": ("Separation", separation),
    "generation": ("Music", generation),
    "transcription": ("Speech to text", transcription),
    "memory": ("Too little memory", memory),
}


if __name__ == "__main__":
    main()
