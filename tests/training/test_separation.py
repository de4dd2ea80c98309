"""Songs and scores of the separation model: what training may use, and how models are measured."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from tests.support.server import ROOT
from training import card, evaluate_demucs
from training.evaluate_demucs import SETS, SongSet
from training.mix import RATE_HZ
from training.separation import effects, make, new_sources, second_set
from training.separation.drumkits import play_kit
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
    evaluate_demucs.run(model, ["second"], count=1)
    shutil.rmtree(songs)
    result = evaluate_demucs.run(model, ["second"])
    assert rendered == [0, 1]
    scores = result["sets"]["second"]
    assert [song["song"] for song in scores["songs"]] == ["0", "1"]
    assert set(scores["median"]) == {"drums", "bass", "other"}, "silent stems have no SDR"
    assert scores["mixture"]["drums"] == pytest.approx(-3.0, abs=0.2)
    assert result["checks"]["silence_peak"] < 1e-4
    assert result["checks"]["instrumental_vocals_db"] < 0


def test_the_card_is_the_one_that_is_generated() -> None:
    assert (ROOT / "pretrained/demucs-mini/README.md").read_text("utf-8") == card.card_text()


def test_effects_keep_shape_level_and_silence() -> None:
    rng = np.random.default_rng(0)
    stem = rng.normal(0.0, 0.1, (2, RATE_HZ)).astype(np.float32)
    for _ in range(6):
        treated = effects.treat(stem, rng)
        assert treated.shape == stem.shape
        assert np.sqrt((treated**2).mean()) == pytest.approx(0.1, rel=0.05)
    assert not effects.treat(np.zeros_like(stem), rng).any()


def test_the_bus_does_not_clip() -> None:
    rng = np.random.default_rng(0)
    stems = rng.normal(0.0, 0.3, (4, 2, RATE_HZ)).astype(np.float32)
    for _ in range(4):
        mastered = effects.master(stems, rng)
        assert np.abs(mastered.sum(0)).max() < 0.9
        assert mastered.shape == stems.shape
