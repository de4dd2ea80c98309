"""`python -m bench.gpu`: the three models on a CUDA device against the programs they replace.

For a machine with a GPU and a Python with pip: what is missing is installed from wherever pip is
configured to look. Each part has a time limit of its own, so that one that fails loses none of the
others; all together, with the installation, take eight minutes at most.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.gpu_bench import THEIR_LIBRARIES, Bench, PartFailed, Result
from bench.gpu_parts import PARTS, PREPARATION
from scripts.install.wanted import name_of, requirements

# PyTorch and the libraries of CUDA are 3 GB.
INSTALL_S = 240.0
ROUNDS = 3
MUSIC_S = 30.0
# Import name and package of what all parts need.
COMMON = {
    "torch": "torch",
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
CUBLAS = "nvidia.cublas"
NEEDED = {
    "separation": {"demucs": "demucs"},
    "generation": {"transformers": "transformers"},
    "transcription": {
        "ctranslate2": "ctranslate2",
        "faster_whisper": "faster-whisper",
        CUBLAS: "nvidia-cublas-cu12",
    },
}
NEEDED["memory"] = {**NEEDED["separation"], **NEEDED["generation"], **NEEDED["transcription"]}


def main(arguments: Sequence[str] | None = None) -> None:
    began_s = time.monotonic()
    options = parse(arguments)
    if options.worker:
        # What it needs may have to be installed first.
        from bench.gpu_workers import WORKERS

        name, given = options.worker
        print("\n" + json.dumps(WORKERS[name](options.folder, **json.loads(given))))
        return
    if options.source:
        lines = (options.source / "gpu.md").read_text("utf-8").splitlines()
        results = json.loads((options.source / "gpu.json").read_text("utf-8"))
        write(lines, results, options)
        return
    names = options.only or list(PARTS)
    missing = install(needed_by(names, options.cublas_13))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environment = stand_in_for_cublas_12(folder) if options.cublas_13 else {}
        bench = Bench(folder, environment, options.rounds, options.music, began_s)
        lines = []
        for line in _lines(bench, names, missing, bool(environment)):
            lines.append(line)
            if options.out:
                # What was found stays if the machine is taken away.
                _keep(options.out, lines, bench.results)
    print("\n".join(lines), flush=True)
    if options.write:
        write(lines, bench.results, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="some of the parts")
    parser.add_argument("--out", type=Path, help="folder for gpu.md and gpu.json")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds; medians are reported")
    parser.add_argument("--music", type=float, default=MUSIC_S, help="seconds of music")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument(
        "--from", type=Path, dest="source", help="write what an earlier run left in its --out"
    )
    parser.add_argument(
        "--cublas-13",
        action="store_true",
        help="where cuBLAS 12 is missing, give CTranslate2 that of CUDA 13 under its name, in the "
        "place of the wheel nvidia-cublas-cu12; for the measurement only",
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _keep(folder: Path, lines: list[str], results: dict[str, list[Result]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.md").write_text("\n".join(lines), "utf-8")
    (folder / "gpu.json").write_text(json.dumps(results, indent=1), "utf-8")


def write(lines: list[str], results: dict[str, list[Result]], options: argparse.Namespace) -> None:
    """Write the section; it names the options that shape the figures."""
    from bench import report

    shown = ["--cublas-13"] if options.cublas_13 else []
    shown += [f"--only {' '.join(options.only)}"] if options.only else []
    shown += [f"--rounds {options.rounds}"] if options.rounds != ROUNDS else []
    shown += [f"--music {options.music:g}"] if options.music != MUSIC_S else []
    card = results["environment"][0]["card"].partition(" with ")[0]
    report.write("gpu", "CUDA", lines, card, " ".join([*shown, "--write"]))


def _lines(bench: Bench, names: list[str], missing: list[str], stands_in: bool) -> Iterator[str]:
    """The lines of the report, part by part."""
    machine = bench.call("environment", 60)
    yield f"Machine: {machine['card']}, {machine['machine']}."
    yield f"Libraries: {machine['libraries']}."
    if stands_in:
        yield (
            "For this measurement only, the cuBLAS of CUDA 13 stands in for `libcublas.so.12`: in "
            "the place of the wheel `nvidia-cublas-cu12`, from where this server loads it, and on "
            "`LD_LIBRARY_PATH` for faster-whisper."
        )
    if missing:
        yield f"Not installed: {', '.join(missing)}."
    preparation: list[tuple[str, dict[str, Any]]] = []
    for name in names:
        preparation += [one for one in PREPARATION[name] if one not in preparation]
    try:
        bench.at_once(90, preparation)
    except PartFailed as error:
        yield f"Not prepared: {error}."
    for name in names:
        title, part = PARTS[name]
        yield ""
        yield f"## {title}"
        yield ""
        try:
            yield from part(bench)
        except PartFailed as error:
            yield ""
            yield f"Not measured: {error}."


def needed_by(names: Sequence[str], cublas_13: bool) -> dict[str, str]:
    """Import name and requirement of what the parts need, in the versions that the server pins."""
    needed = {**COMMON}
    for name in names:
        needed |= NEEDED[name]
    if cublas_13:
        needed.pop(CUBLAS, None)
    lines = requirements("requirements-gpu.txt") + requirements("requirements.txt")
    pins = {name_of(line): line.partition(";")[0].strip() for line in lines}
    return {module: pins.get(name, name) for module, name in needed.items()}


def install(needed: dict[str, str]) -> list[str]:
    """Install what is missing, within INSTALL_S; what could not be installed."""
    ends_s = time.monotonic() + INSTALL_S
    for module, requirement in needed.items():
        if is_installed(module):
            continue
        print(f"installing {requirement}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--retries", "0", requirement]
        try:
            subprocess.run(command, timeout=ends_s - time.monotonic(), check=True)
        except (subprocess.SubprocessError, OSError) as error:
            # pip finds no index, most likely, and would look for it in vain each time.
            print(f"{requirement} cannot be installed: {error}", flush=True)
            break
    invalidate_caches()
    return [name for module, name in needed.items() if not is_installed(module)]


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        # Its parent is missing.
        return False


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
    return {"PYTHONPATH": f"{folder / 'site'}:{paths}", THEIR_LIBRARIES: str(libraries)}


if __name__ == "__main__":
    main()
