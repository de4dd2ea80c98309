"""A separation job: one gain for all stems, honest progress, a cancel that leaves nothing."""

import dataclasses
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio import audio
from studio.audio import decode
from studio.errors import DiskFull, NotAudio
from studio.family import JobContext
from studio.separation.arrays import Array, TorchArrays
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import load
from studio.separation.mixture import Statistics
from studio.separation.network import Bag, Member, Stems, Windows
from studio.separation.options import SeparationOptions
from studio.separation.separate import separate
from studio.separation.stream import Separation
from studio.separation.torch_engine import TorchNetwork
from studio.sources import Source
from tests.support.demucs_models import TORCH
from tests.support.server import ROOT
from tests.support.sounds import RATE_HZ, Sound, ffmpeg_children, noise, read_sound, write_wav

STEMS = ["drums", "bass", "other", "vocals"]
Report = Callable[[str, float], None]


@pytest.fixture(scope="module")
def tiny(weights: Path) -> Bag:
    return load(
        DemucsCatalogue(ROOT / "pretrained" / "demucs-mini", weights / "demucs"), "tiny", TORCH
    )


class Reports(list[tuple[str, float]]):
    """Notes each report; ends the job at report number `end_at`."""

    def __init__(self, end_at: int | None = None) -> None:
        super().__init__()
        self._end_at = end_at

    def __call__(self, stage: str, progress: float) -> None:
        self.append((stage, progress))
        if len(self) == self._end_at:
            raise KeyboardInterrupt


class Louder:
    """A real network whose answer is made loud enough to clip."""

    def __init__(self, network: Any, factor: float) -> None:
        self._network, self._factor = network, factor
        self.segment_samples = network.segment_samples
        self.batch, self.parallel = network.batch, network.parallel

    def window_samples(self, length: int) -> int:
        return int(self._network.window_samples(length))

    def __call__(self, windows: Windows) -> Stems:
        stems: Stems = self._network(windows) * np.float32(self._factor)
        return stems


def louder(bag: Bag, factor: float) -> Bag:
    members = tuple(
        dataclasses.replace(member, network=Louder(member.network, factor))
        for member in bag.members
    )
    return dataclasses.replace(bag, members=members)


def ignore(stage: str, progress: float) -> None:
    """A report that nobody reads."""


def run(
    bag: Bag, sound: Sound, work: Path, report: Report = ignore, **options: Any
) -> dict[str, Any]:
    work.mkdir()
    source = write_wav(work.parent / "source.wav", sound, subtype="FLOAT")
    checked = SeparationOptions(**options)
    context = JobContext(checked, work, report)
    return separate(bag, Source(source, sound.shape[1] / RATE_HZ), context).to_dict()


def test_the_next_job_has_the_device_again(
    tiny: Bag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One window fails, as if others used the memory of the device for a moment."""
    [member] = tiny.members
    assert isinstance(member.network, TorchNetwork)
    network = TorchNetwork(member.network.module, "cpu", 1)
    bag = dataclasses.replace(tiny, members=(Member(network, member.weights),))
    forward, calls = network._run, []

    def run_window(windows: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return forward(windows)

    monkeypatch.setattr(network, "_run", run_window)
    sound = noise(3.0)
    first, later = (run(bag, sound, tmp_path / name) for name in ("first", "later"))
    assert first["note"].startswith("The CUDA device failed (CUDA out of memory. ")
    assert later["note"] is None
    for stem in STEMS:
        one, other = (read_sound(tmp_path / name / f"{stem}.wav") for name in ("first", "later"))
        assert np.abs(one - other).max() < 1e-6


def model_stems(bag: Bag, sound: Sound) -> Stems:
    separation = Separation(bag, iter([sound]), Statistics.of([sound]), list(range(4)))
    return np.concatenate([parts for _, parts in separation.run(lambda _done: None)], axis=2)


def test_float_wav_stems_are_what_the_model_gives(tiny: Bag, tmp_path: Path) -> None:
    bag, sound = louder(tiny, 40.0), noise(3.0)
    result = run(bag, sound, tmp_path / "work")
    stems = model_stems(bag, sound)
    assert np.abs(stems).max() > 1.0
    written = np.stack([read_sound(tmp_path / "work" / f"{name}.wav") for name in STEMS])
    assert np.abs(written - stems).max() < 1e-6
    assert result["gain"] < 1.0
    assert result["stems"] == STEMS
    assert result["samples"] == sound.shape[1]
    assert result["duration_s"] == pytest.approx(3.0)
    assert sorted(path.name for path in (tmp_path / "work").glob("*.wav")) == sorted(
        f"{name}.wav" for name in STEMS
    )


class ShortOfMemory(TorchArrays):
    """The arithmetic of a CUDA device whose memory is used up after some segments."""

    def __init__(self, segments: int) -> None:
        super().__init__("cpu")
        self._left = segments

    def stack(self, parts: Sequence[Array]) -> Array:
        self._left -= 1
        if self._left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return super().stack(parts)


@pytest.mark.parametrize("seconds", [6.0, 0.5])
def test_the_cpu_adds_up_stems_where_the_device_has_no_memory(
    tiny: Bag, tmp_path: Path, seconds: float
) -> None:
    sound = noise(seconds)
    bag = dataclasses.replace(tiny, arrays=ShortOfMemory(2 if seconds > 1 else 0))
    reports = Reports()
    result = run(bag, sound, tmp_path / "work", reports)
    assert "Stems were combined on the CPU: CUDA out of memory" in result["note"]
    written = np.stack([read_sound(tmp_path / "work" / f"{name}.wav") for name in STEMS])
    assert np.abs(written - model_stems(tiny, sound)).max() < 1e-6
    assert reports[-1] == ("separating", 1.0)


@pytest.mark.parametrize("kept_s", [0.0, 600.0])
def test_a_song_for_a_device_is_decoded_once_if_it_is_short(
    tiny: Bag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_s: float
) -> None:
    decoded: list[Path] = []

    def counted(source: Path, *given: Any) -> Any:
        decoded.append(source)
        return decode(source, *given)

    monkeypatch.setattr(audio, "decode", counted)
    monkeypatch.setattr("studio.separation.song.KEPT_S", kept_s)
    sound = noise(4.0)
    bag = dataclasses.replace(tiny, arrays=TorchArrays("cpu"))
    result = run(bag, sound, tmp_path / "work")
    assert result["note"] is None
    assert len(decoded) == (1 if kept_s else 2)
    written = np.stack([read_sound(tmp_path / "work" / f"{name}.wav") for name in STEMS])
    assert np.abs(written - model_stems(tiny, sound)).max() < 1e-5


@pytest.mark.parametrize("audio_format", ["flac", "mp3", "ogg"])
def test_stems_that_would_clip_are_scaled_together(
    tiny: Bag, tmp_path: Path, audio_format: str
) -> None:
    bag, sound = louder(tiny, 40.0), noise(3.0)
    gain = run(bag, sound, tmp_path / "work", format=audio_format)["gain"]
    stems = model_stems(bag, sound)
    written = np.stack([read_sound(tmp_path / "work" / f"{name}.{audio_format}") for name in STEMS])
    peaks = [np.abs(stems).max(), *(np.abs(sound - stem).max() for stem in stems)]
    assert gain == pytest.approx(0.98 / max(peaks), abs=1e-6)
    assert np.abs(written).max() <= 0.99
    # The gain is reported with six decimals, a FLAC sample has 24 bit.
    tolerance = 5e-6 if audio_format == "flac" else 0.2
    assert np.abs(written - gain * stems).max() < tolerance
    if audio_format == "flac":
        assert np.abs(written.sum(axis=0) - gain * stems.sum(axis=0)).max() < 4 * tolerance


def test_stems_that_do_not_clip_keep_their_level(tiny: Bag, tmp_path: Path) -> None:
    sound = noise(3.0)
    assert run(tiny, sound, tmp_path / "work", format="flac")["gain"] == 1.0
    written = np.stack([read_sound(tmp_path / "work" / f"{name}.flac") for name in STEMS])
    assert np.abs(written - model_stems(tiny, sound)).max() <= 2**-23


def test_only_the_wanted_stems_are_written(tiny: Bag, tmp_path: Path) -> None:
    sound = noise(2.0)
    result = run(tiny, sound, tmp_path / "work", stems=["vocals", "bass"])
    assert result["stems"] == ["bass", "vocals"]
    assert sorted(path.name for path in (tmp_path / "work").glob("*.wav")) == [
        "bass.wav",
        "vocals.wav",
    ]
    assert np.allclose(
        read_sound(tmp_path / "work" / "vocals.wav"), model_stems(tiny, sound)[3], atol=1e-6
    )


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_progress_rises_from_nothing_to_all(tiny: Bag, tmp_path: Path, audio_format: str) -> None:
    sound, reports = noise(6.0), Reports()
    run(tiny, sound, tmp_path / "work", reports, format=audio_format)
    values = [progress for _, progress in reports]
    separating = [progress for stage, progress in reports if stage == "separating"]
    segments = len(range(0, sound.shape[1], int(0.75 * 44_100)))
    share = 1.0 if audio_format == "wav" else 0.9
    assert values == sorted(values)
    assert separating == pytest.approx([share * n / segments for n in range(segments + 1)])
    stages = list(dict.fromkeys(stage for stage, _ in reports))
    if audio_format == "wav":
        assert stages == ["analysing", "separating"]
    else:
        assert stages == ["analysing", "separating", "encoding"]
        assert {0.9, 0.925, 0.95, 0.975, 1.0} <= {round(value, 6) for value in values}


@pytest.mark.parametrize("end_at", [1, 2, 4, 8, 30])
def test_a_cancel_ends_the_job_at_its_next_report(tiny: Bag, tmp_path: Path, end_at: int) -> None:
    """Reports come at each block that is analysed and after each segment, hence within one."""
    reports = Reports(end_at)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tiny, noise(30.0), tmp_path / "work", reports)
    assert len(reports) == end_at
    # Even while the error, and with it every frame of the job, is still held.
    assert ffmpeg_children() == []
    assert caught.value is not None


def test_encoding_can_be_canceled_too(tiny: Bag, tmp_path: Path) -> None:
    reports = Reports()
    run(tiny, noise(10.0), tmp_path / "work", reports, format="flac")
    first = [stage for stage, _ in reports].index("encoding")
    assert len(reports) - first > 2 * len(STEMS)
    (tmp_path / "again").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run(tiny, noise(10.0), tmp_path / "again" / "work", Reports(first + 2), format="flac")
    assert len(list((tmp_path / "again" / "work").glob("*.flac"))) == 1


def test_a_file_that_breaks_off_fails_with_its_cause(tiny: Bag, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    source = tmp_path / "source.flac"
    source.write_bytes(b"fLaC" + bytes(1000))
    with pytest.raises(NotAudio):
        separate(tiny, Source(source, 1.0), JobContext(SeparationOptions(), work))
    assert list(work.iterdir()) == []


def test_disk_space_is_asked_for_before_anything_is_written(tiny: Bag, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    source = write_wav(tmp_path / "source.wav", noise(2.0))
    asked: list[int] = []

    def refuse(needed_bytes: int) -> None:
        asked.append(needed_bytes)
        raise DiskFull("no space")

    with pytest.raises(DiskFull):
        options = SeparationOptions(stems=["vocals"])
        separate(tiny, Source(source, 2.0), JobContext(options, work, reserve=refuse))
    assert asked == [2 * 44_100 * 2 * 4]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_silence_and_a_constant_are_separated(tiny: Bag, tmp_path: Path, level: float) -> None:
    result = run(tiny, np.full((2, 66_150), level, np.float32), tmp_path / "work")
    assert result["samples"] == 66_150
    for name in STEMS:
        assert np.isfinite(read_sound(tmp_path / "work" / f"{name}.wav")).all()


def stream(minutes: int) -> Iterator[Sound]:
    block = noise(4.0)
    for _ in range(minutes * 15):
        yield block.copy()


def traced_peak_bytes(bag: Bag, minutes: int) -> int:
    statistics = Statistics.of(stream(minutes))
    separation = Separation(bag, stream(minutes), statistics, list(range(4)))
    tracemalloc.start()
    samples = sum(parts.shape[2] for _, parts in separation.run(lambda _done: None))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == minutes * 60 * 44_100
    return peak_bytes


@pytest.mark.slow
def test_what_a_separation_holds_does_not_grow_with_the_song(weights: Path) -> None:
    catalogue = DemucsCatalogue(ROOT / "pretrained" / "demucs-mini", weights / "demucs")
    swift = load(catalogue, "swift", TORCH)
    short, long = traced_peak_bytes(swift, 2), traced_peak_bytes(swift, 6)
    song_bytes = 2 * 60 * 44_100 * 2 * 4
    assert long < 1.1 * short
    assert long < song_bytes
