"""Music of any length: windows join unheard, progress counts steps, cancel is quick."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.family import JobContext
from studio.generation import chroma
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.generate import ENCODING_SHARE, Prompt, generate
from studio.generation.load import load
from studio.generation.model import Listener, MusicModel, States
from studio.generation.options import GenerationOptions
from studio.generation.windows import plan
from studio.inference.engine_settings import EngineSettings
from studio.sources import Source
from tests.support.music import make_music_model
from tests.support.sounds import Sound, noise, read_sound, write_wav

PROMPT = Prompt("slow piano")
WINDOW_S = 3


class Ended(Exception):
    """What a report raises to end a job."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> MusicModel:
    return brief(tmp_path_factory.mktemp("windows"), EngineSettings("openvino", "f32", 1, graphs))


def brief(folder: Path, settings: EngineSettings, is_melody: bool = False) -> MusicModel:
    """A model that oversees 3 s: each further window is given 1.2 s and adds 1.8 s."""
    made = make_music_model(folder / "musicgen" / "brief", is_melody=is_melody)
    generation = made / "generation_config.json"
    generation.write_text(json.dumps({**json.loads(generation.read_text()), "max_length": 153}))
    return load(MusicGenCatalogue(folder / "none", folder / "musicgen"), "brief", settings)


def music(
    model: MusicModel, work: Path, reports: list[tuple[str, float]], **options: Any
) -> tuple[Sound, dict[str, Any]]:
    wanted = GenerationOptions(**{"seed": 1, **options})
    context = JobContext(wanted, work, lambda *report: reports.append(report))
    result = generate(model, PROMPT, context).to_dict()
    return read_sound(work / "music.wav"), result


def test_a_window_is_what_the_model_oversees(model: MusicModel) -> None:
    assert model.spec.window_frames == WINDOW_S * 50
    windows = plan(model.spec, 400)
    assert [(w.start, w.kept, w.frames) for w in windows] == [
        (0, 0, 150), (90, 60, 90), (180, 60, 90), (270, 60, 70),
    ]  # fmt: skip


def test_progress_is_exact(model: MusicModel, tmp_path: Path) -> None:
    reports: list[tuple[str, float]] = []
    _, result = music(model, tmp_path, reports, duration=8.0, format="flac")
    assert result["steps"] == 400 + 4 * 3
    progress = [share for stage, share in reports if stage == "generating"]
    steps = result["steps"]
    assert progress == [(1 - ENCODING_SHARE) * (step / steps) for step in range(steps + 1)]
    assert reports[-1] == ("encoding", 1.0)
    stages = list(dict.fromkeys(stage for stage, _ in reports))
    assert stages == ["listening", "generating", "encoding"]


def test_windows_join_without_a_click(model: MusicModel, tmp_path: Path) -> None:
    """Where a window begins the sound does not jump more than it does elsewhere."""
    sound, _ = music(model, tmp_path, [], duration=8.0)
    assert sound.shape == (1, 8 * 32_000)
    jumps = np.abs(np.diff(sound[0]))
    usual = np.quantile(jumps, 0.999)
    for frame in (150, 240, 330):
        border = frame * 640
        assert jumps[border - 640 : border + 640].max() <= 2 * usual


def test_a_window_goes_on_from_the_one_before(model: MusicModel, tmp_path: Path) -> None:
    """The music of a longer piece begins with that of a shorter one, beyond the first window."""
    for name in ("short", "long"):
        (tmp_path / name).mkdir()
    short, _ = music(model, tmp_path / "short", [], duration=4.0)
    long, _ = music(model, tmp_path / "long", [], duration=6.0)
    # The codec looks a few frames ahead, and differently where its input ends.
    same = short.shape[1] - 8 * 640
    assert np.abs(short[:, :same] - long[:, :same]).max() < 1e-5
    assert not np.allclose(long[:, :32_000], long[:, 3 * 32_000 : 4 * 32_000], atol=1e-3)


def test_a_job_ends_within_a_step(model: MusicModel, tmp_path: Path) -> None:
    seen: list[float] = []

    def report(stage: str, progress: float) -> None:
        if stage == "generating":
            seen.append(progress)
            if len(seen) == 40:
                raise Ended

    options = GenerationOptions(seed=1, duration=8.0)
    with pytest.raises(Ended):
        generate(model, PROMPT, JobContext(options, tmp_path, report))
    assert len(seen) == 40


def test_the_disk_is_asked_before_anything_is_written(model: MusicModel, tmp_path: Path) -> None:
    asked: list[int] = []

    def reserve(size: int) -> None:
        asked.append(size)
        raise Ended

    options = GenerationOptions(seed=1, duration=300.0, variations=4)
    with pytest.raises(Ended):
        generate(model, PROMPT, JobContext(options, tmp_path, reserve=reserve))
    assert asked == [300 * 32_000 * 4 * 4]
    assert list(tmp_path.iterdir()) == []


class Noting:
    """A listener that notes the melodies it encodes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.takes_melody = listener.takes_melody
        self.melodies: list[Sound | None] = []

    def unknown_share(self, prompt: str) -> float:
        return self._listener.unknown_share(prompt)

    def states(self, prompt: str, melody: Sound | None) -> States:
        self.melodies.append(melody)
        return self._listener.states(prompt, melody)


def test_a_melody_is_followed_from_the_start_of_a_continued_track(tmp_path: Path) -> None:
    model = brief(tmp_path, EngineSettings("torch", "f32", 1, tmp_path), is_melody=True)
    listener = Noting(model.listener)
    pitches = np.random.default_rng(0).normal(0, 0.1, (1, 7 * chroma.RATE_HZ)).astype(np.float32)
    tune = write_wav(tmp_path / "tune.wav", pitches, chroma.RATE_HZ)
    song = write_wav(tmp_path / "song.wav", noise(5.0, channels=1, rate_hz=32_000), 32_000)
    prompt = Prompt("slow piano", Source(song, 5.0), Source(tune, 7.0))
    context = JobContext(GenerationOptions(seed=1, duration=2.0), tmp_path)
    generate(replace(model, listener=listener), prompt, context)
    # The first window is given the last 1.2 s of the song, and the second one begins 1.8 s later.
    whole, *windows = listener.melodies
    assert whole is not None and len(windows) == 2
    for melody, start_s in zip(windows, (3.8, 5.6), strict=True):
        assert melody is not None
        assert np.array_equal(melody, chroma.from_second(whole, start_s))
