"""Songs and scores of the separation model: what training may use, and how models are measured."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from tests.support.server import ROOT
from training.mix import RATE_HZ
from training.separation import card, evaluate, make, new_sources, packed, second_set, synths
from training.separation.drumkits import play_kit
from training.separation.evaluate import SETS, SongSet
from training.separation.remix import Remixer, Songs
from training.separation.sources import KNOWN, UNSEEN, Cast, draw_mixed
from training.songs import Note


def unseen_parts(cast: Cast) -> list[bool]:
    return [
        cast.kit in UNSEEN.kits,
        cast.bass in UNSEEN.fonts,
        cast.other in UNSEEN.fonts,
        cast.singer in UNSEEN.singers,
    ]


def test_no_file_and_no_person_is_on_both_sides() -> None:
    def files(sources: object) -> set[object]:
        assert sources in (KNOWN, UNSEEN)
        side = KNOWN if sources is KNOWN else UNSEEN
        return {
            *(font.path for font in side.fonts),
            *(kit.path for kit in side.kits),
            *(singer.language or singer.name for singer in side.singers),
        }

    assert not files(KNOWN) & files(UNSEEN)


def test_training_songs_never_use_what_is_held_out() -> None:
    for seed in range(40):
        song, cast = make.compose(seed)
        assert not any(unseen_parts(cast))
        assert song.melody.voice == cast.singer


def test_the_test_sets_use_what_they_say() -> None:
    for number in range(SETS["unseen"].count):
        assert all(unseen_parts(new_sources.compose(number, "unseen")[1]))
    rng = np.random.default_rng(0)
    for _ in range(100):
        parts = unseen_parts(draw_mixed(rng))
        assert any(parts)
        assert not all(parts)


def test_a_seed_always_gives_the_same_song() -> None:
    assert new_sources.compose(3, "unseen") == new_sources.compose(3, "unseen")
    assert second_set.write(3) == second_set.write(3)
    assert second_set.write(3) != second_set.write(4)


def test_the_second_maker_shares_no_code() -> None:
    lines = Path(second_set.__file__).read_text("utf-8").splitlines()
    imports = [line for line in lines if line.split()[:1] in (["import"], ["from"])]
    assert not [line for line in imports if "training" in line or " ." in line]


def test_a_recorded_kit_plays_hits_in_time_and_chokes_hats(tmp_path: Path) -> None:
    for name, rate_hz in (("kick", 22050), ("hat", RATE_HZ)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(rate_hz, 0.5), rate_hz, "FLOAT")
    (tmp_path / "drumkit.xml").write_text(
        "<drumkit_info><instrumentList>"
        "<instrument><name>Kick 1</name><filename>kick.wav</filename></instrument>"
        "<instrument><name>Closed HH</name><layer><filename>hat.wav</filename></layer></instrument>"
        "</instrumentList></drumkit_info>"
    )
    kick = play_kit(tmp_path, [Note(0.5, 0.1, 36, 127), Note(0.1, 0.1, 61, 127)], 2.0)
    assert kick.shape == (2, 2 * RATE_HZ)
    assert not kick[:, : RATE_HZ // 2 - 100].any()
    assert kick[0, RATE_HZ] == pytest.approx(0.5, abs=0.02)
    hats = play_kit(tmp_path, [Note(0.0, 0.1, 42, 127), Note(0.5, 0.1, 42, 127)], 2.0)
    assert hats[0, RATE_HZ // 4] == pytest.approx(0.5)
    assert hats[0, RATE_HZ] == pytest.approx(0.5), "the first hit goes on under the second"


def short_song(seed: int) -> npt.NDArray[np.int16]:
    """Two seconds of noise in three stems, and silent vocals."""
    rng = np.random.default_rng(seed)
    stems = rng.normal(0.0, 2000.0, (4, 2, 2 * RATE_HZ))
    stems[3] = 0.0
    return stems.astype(np.int16)


@pytest.mark.slow
def test_songs_are_measured_once_with_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def render(seed: int) -> npt.NDArray[np.int16]:
        rendered.append(seed)
        return short_song(seed)

    songs = tmp_path / "songs"
    monkeypatch.setitem(SETS, "second", SongSet("noise", 2, songs, render, str))
    model = tmp_path / "model.safetensors"
    shutil.copy(ROOT / "pretrained" / "demucs-mini" / "model.safetensors", model)
    music = tmp_path / "music.ogg"
    noise = np.random.default_rng(0).normal(0.0, 0.1, 31 * 8000)
    soundfile.write(music, noise, 8000, format="OGG", subtype="VORBIS")
    evaluate.run(model, ["second"], [music], count=1)
    shutil.rmtree(songs)
    result = evaluate.run(model, ["second"], [music])
    assert rendered == [0, 1]
    scores = result["sets"]["second"]
    assert [song["song"] for song in scores["songs"]] == ["0", "1"]
    assert set(scores["median"]) == {"drums", "bass", "other"}, "silent stems have no SDR"
    assert scores["mixture"]["drums"] == pytest.approx(-3.0, abs=0.2)
    assert result["checks"]["silence_peak"] < 1e-4
    assert result["checks"]["instrumental_vocals_db"] < 0
    assert result["checks"]["music_vocals_db"] < 0


def test_the_card_is_the_one_that_is_generated() -> None:
    assert (ROOT / "pretrained/demucs-mini/README.md").read_text("utf-8") == card.card_text()


def test_a_packed_song_keeps_length_and_sound(tmp_path: Path) -> None:
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tones = [np.sin(2 * np.pi * hertz * times_s) for hertz in (200, 60, 440, 900)]
    stems = (np.repeat(np.stack(tones)[:, None], 2, 1) * 8000).astype(np.int16)
    packed.write(stems, tmp_path / "song.zip")
    audio = packed.read(tmp_path / "song.zip").astype(np.float64)
    assert audio.shape == (sum(packed.CHANNELS), stems.shape[-1])
    for channel, stem in ((0, 0), (2, 1), (3, 2), (5, 3)):
        error = audio[channel, RATE_HZ // 2 :] - stems[stem, 0, RATE_HZ // 2 :]
        assert np.sqrt((error**2).mean()) < 600


SHORT = 2000


def remixer() -> Remixer:
    rng = np.random.default_rng(0)
    audio = [
        rng.normal(0.0, 2000.0, (sum(packed.CHANNELS), RATE_HZ)).astype(np.int16) for _ in range(3)
    ]
    return Remixer(Songs(audio, "cpu"), SHORT, seed=1)


@pytest.mark.slow
def test_remixed_stems_are_finite_do_not_clip_and_are_sometimes_silent() -> None:
    stems = remixer().batch(60)
    assert stems.shape == (60, 4, 2, SHORT)
    assert torch.isfinite(stems).all()
    peaks = stems.sum(1).abs().amax((1, 2))
    assert (peaks <= 1.001).all()
    assert (peaks > 0.1).all()
    silent = (stems.abs().amax((2, 3)) == 0).float().mean()
    assert 0.05 < silent < 0.15


def test_a_seed_gives_the_same_batches() -> None:
    assert torch.equal(remixer().batch(2), remixer().batch(2))


def test_a_song_is_cut_at_a_speed() -> None:
    times_s = np.arange(4 * RATE_HZ) / RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * 300 * times_s)).astype(np.int16)
    songs = Songs([np.stack([tone] * sum(packed.CHANNELS))], "cpu")
    place = torch.full((1, 4), 100.0)
    slow = songs.cut(torch.zeros(1, 4).long(), place, torch.full((1, 4), 0.5), RATE_HZ)
    spectrum = torch.fft.rfft(slow[0, 0, 0]).abs()
    assert int(spectrum.argmax()) == 150
    same = songs.cut(torch.zeros(1, 4).long(), place, torch.ones(1, 4), RATE_HZ)
    assert torch.allclose(same[0, 2, 1] * 32768, torch.from_numpy(tone[100:][:RATE_HZ]).float())


def test_synthesizers_play_what_is_written() -> None:
    rng = np.random.default_rng(0)
    note = Note(0.5, 1.0, 57, 100)
    for _ in range(8):
        sound = synths.play([[note]], [synths.draw_patch(rng, bass=True)], 2.0)
        assert sound.shape == (2, 2 * RATE_HZ)
        assert not sound[:, : RATE_HZ // 2 - 1].any()
        assert np.abs(sound[:, RATE_HZ // 2 :]).max() > 1e-3
        assert np.isfinite(sound).all()
    drums = synths.play_drums([Note(0.1, 0.1, pitch, 90) for pitch in range(35, 60)], 1.0, rng)
    assert drums.any()
    assert np.isfinite(drums).all()


def test_a_lossy_coder_keeps_the_level() -> None:
    rng = np.random.default_rng(0)
    times_s = np.arange(RATE_HZ) / RATE_HZ
    stem = np.stack([0.1 * np.sin(2 * np.pi * 500 * times_s)] * 2).astype(np.float32)
    for _ in range(4):
        coded = make.code(stem, rng)
        assert coded.shape == stem.shape
        assert np.sqrt((coded**2).mean()) == pytest.approx(0.0707, rel=0.1)
