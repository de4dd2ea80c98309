"""`bench.gpu` without a GPU: its arguments, what it installs, and the report of made-up results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import gpu, report
from bench.gpu_bench import TOTAL_S, Bench, PartFailed, Result
from bench.gpu_parts import PARTS

SPEECH = {
    "precision": "float16",
    "load_s": 1.0,
    "single_s": 0.5,
    "batch_s": 2.0,
    "together_s": 8.0,
    "device_bytes": 3e9,
}
SEPARATION = {
    "wall_s": 8.0,
    "load_s": 2.0,
    "songs_s": [4.0, 3.0, 3.0, 3.0],
    "device_bytes": 1e9,
}
MUSIC = {"load_s": 9.0, "song_s": 20.0, "device_bytes": 2e9}
FOUND: dict[str, Result] = {
    "environment": {"card": "Card X with 80 GiB", "machine": "a machine", "libraries": "none"},
    "separation_theirs": SEPARATION,
    "separation_ours": {
        **SEPARATION,
        "songs_s": [2.0, 1.5, 1.5, 1.5],
        "wall_s": 4.0,
        "together_s": 6.5,
        "precision": "f16",
    },
    "separation_parity": {"relative": 1e-3, "largest": 1e-4},
    "generation_theirs": MUSIC,
    "generation_ours": {
        **MUSIC,
        "precision": "f16",
        "songs_s": [3.0, 3.2, 3.1],
        "together_s": 7.0,
        "device_bytes_together": 3e9,
    },
    "generation_parity": {"steps": 50, "logits": 1e-3, "same": 0.99, "codec": 1e-4},
    "transcription_theirs": SPEECH,
    "transcription_ours": {**SPEECH, "batch_s": 1.0, "note": None},
    "transcription_parity": {"relative": 1e-3},
    "separation_full": {"cases": [{"left_mib": 600, "full_s": 2.0, "relative": 1e-3, "note": "x"}]},
    "generation_full": {"cases": [{"left_mib": 20, "full_s": 2.0, "relative": 1e-3, "note": "x"}]},
    "transcription_full": {"cases": [{"left_mib": 10, "full_s": 2.0, "note": "x"}]},
}


class MadeUp(Bench):
    """Gives made-up results; a worker without any fails."""

    def __init__(self, found: dict[str, Result], folder: Path) -> None:
        super().__init__(folder, {}, rounds=3, music_s=30.0, began_s=0.0)
        self.found = found
        self.called: list[str] = []

    def call(self, worker: str, limit_s: float, **given: Any) -> Result:
        assert limit_s > 0
        self.called.append(worker)
        if worker.endswith("_prepare"):
            return {}
        if worker not in self.found:
            raise PartFailed(f"{worker} broke")
        self.results.setdefault(worker, []).append({"given": given, **self.found[worker]})
        return self.found[worker]

    def at_once(self, limit_s: float, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[Result]:
        return [self.call(worker, limit_s, **given) for worker, given in calls]


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "benchmarks.md"
    path.write_text("# Benchmarks\n\n## Other (a processor)\n\nText.\n", "utf-8")
    monkeypatch.setattr(report, "REPORT", path)
    return path


def test_the_report_of_an_earlier_run_is_written(tmp_path: Path, document: Path) -> None:
    bench = MadeUp(FOUND, tmp_path)
    lines = list(gpu._lines(bench, list(PARTS), ["soxr==1.1.0"], stands_in=False))
    gpu._keep(tmp_path / "out", lines, bench.results)
    assert json.loads((tmp_path / "out" / "gpu.json").read_text())["environment"]
    gpu.main(["--from", str(tmp_path / "out"), "--rounds", "2"])
    text = document.read_text("utf-8")
    assert "## CUDA (Card X)" in text
    assert "`.venv/bin/python -m bench.gpu --rounds 2 --write`" in text
    assert "## Other (a processor)" in text
    for title, _ in PARTS.values():
        assert f"### {title}" in text
    for row in (
        "Not installed: soxr==1.1.0.",
        "| this server, f16 | 4.0 s | 2.0 s | 2.00 s | 1.50 s | 6.5 s | 1.0 GB |",
        "| times as fast | 2.00 | | 2.00 | 2.00 | 2.00 | |",
        "| large-v3 | times as fast | | 1.00 | 2.00 | 1.00 | |",
        "| speech, 8 windows | 10 MiB | 2.0 s |  | x |",
    ):
        assert row in text
    assert "Not measured" not in text
    assert "Not prepared" not in text


def test_a_part_that_fails_loses_none_of_the_others(tmp_path: Path) -> None:
    lost = ("separation_ours", "transcription_theirs")
    found = {name: result for name, result in FOUND.items() if name not in lost}
    text = "\n".join(gpu._lines(MadeUp(found, tmp_path), list(PARTS), [], stands_in=False))
    assert "Not measured: separation_ours broke." in text
    assert "faster-whisper, base: transcription_theirs broke." in text
    assert "| base | this server, float16 |" in text
    assert "| base | times as fast |" not in text
    assert "Four jobs at once" in text


def test_the_programs_that_are_compared_take_turns(tmp_path: Path) -> None:
    for part in ("separation", "transcription"):
        bench = MadeUp(FOUND, tmp_path)
        list(gpu._lines(bench, [part], [], stands_in=False))
        compared = [name for name in bench.called if name.endswith(("_theirs", "_ours"))]
        assert compared[:6] == [f"{part}_theirs", f"{part}_ours"] * 3


def test_a_bare_python_gets_the_versions_of_the_server() -> None:
    needed = gpu.needed_by(["transcription"], cublas_13=False)
    assert next(iter(needed)) == "torch"
    for module in ("torch", "ctranslate2", "faster_whisper", gpu.CUBLAS):
        assert "==" in needed[module]
    assert gpu.CUBLAS not in gpu.needed_by(["transcription"], cublas_13=True)
    assert "demucs" not in needed
    assert gpu.needed_by(["memory"], cublas_13=False)["demucs"].startswith("demucs==")
    # The parent of a module may be missing, too.
    assert not gpu.is_installed("no_such_parent.module")


def test_the_installation_counts_for_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over when the installation ends, so nothing is measured."""
    clock = [1000.0]

    def install(_: dict[str, str]) -> list[str]:
        clock[0] += TOTAL_S
        return []

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(gpu, "install", install)
    with pytest.raises(PartFailed, match="the time was over"):
        gpu.main(["--only", "memory", "--out", str(tmp_path)])
