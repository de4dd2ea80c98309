"""`make demo` works: it separates, transcribes, makes music, and says how well."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from config import Config
from scripts.demo import settings_of
from tests.support.server import ROOT
from tests.support.sounds import SONG, read_sound

STEMS = ("drums", "bass", "other", "vocals")


# Settings of a server for the internet, or of one of several machines.
ELSEWHERE = {
    "ROLE": "web",
    "DATABASE_URL": "postgresql+psycopg://studio@127.0.0.1:9/studio",
    "STORAGE_URL": "s3://bucket/prefix",
    "RATE_STORAGE": "redis://127.0.0.1:9",
    "RATE_LIMIT": "1/minute",
    "ALLOWED_EXTENSIONS": "mp3",
    "MAX_CONTENT_LENGTH": "1000",
    "API_KEYS": "0123456789abcdef",
    "WEBHOOK_URL": "https://127.0.0.1:9/",
    "WEBHOOK_SECRET": "whsec_" + "A" * 32,
}


def test_the_server_of_the_demo_has_only_the_models_in_common_with_the_settings(
    tmp_path: Path,
) -> None:
    own = settings_of(8000, str(tmp_path), is_offline=True)
    models = {"DEVICE": "cpu", "MODEL_DIR": str(tmp_path)}
    config = Config.load({**ELSEWHERE, **models, **own}, None)
    assert Config.load({**ELSEWHERE, **models}, None).ROLE == "web", "they can be used"
    assert config == replace(
        Config(),
        DEVICE="cpu",
        MODEL_DIR=str(tmp_path),
        HOST="127.0.0.1",
        PORT=8000,
        UPLOAD_FOLDER=f"{tmp_path}/uploads",
        OUTPUT_FOLDER=f"{tmp_path}/outputs",
        DEMUCS_MODEL="mini",
        WHISPER_MODEL="mini",
    )
    assert own["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in settings_of(8000, str(tmp_path), is_offline=False)


def test_a_setting_that_cannot_be_used_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--real"],
        cwd=ROOT,
        env={**os.environ, "DEVICE": "toaster"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("DEVICE='toaster' cannot be used: ")
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
def test_demo_ends_well_and_shows_what_came_out(tmp_path: Path, graphs: Path) -> None:
    (tmp_path / ".graphs").symlink_to(graphs)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo"],
        cwd=ROOT,
        env={**os.environ, **ELSEWHERE, "MODEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("start server", "upload", "separate", "real-time factor", "make run", "http"):
        assert words in done.stdout
    for stem in STEMS:
        row = re.search(rf"^{stem} +(-?[\d.]+) dB +(-?[\d.]+) dB$", done.stdout, re.M)
        assert row, done.stdout
        assert float(row[1]) > float(row[2]) + 3
        separated = read_sound(ROOT / "outputs" / "demo" / f"{stem}.wav")
        assert separated.shape == read_sound(SONG / "mixture.flac").shape
    wrong = re.search(r"^(\d+) of (\d+) words wrong$", done.stdout, re.M)
    assert wrong, done.stdout
    assert int(wrong[1]) <= 0.15 * int(wrong[2])
    assert re.search(r"^make music +[\d.]+ s  5\.0 s of music", done.stdout, re.M), done.stdout
    music = read_sound(ROOT / "outputs" / "demo" / "music.wav")
    assert music.shape == (1, 5 * 32_000)
    assert abs(music).max() > 0.05


def test_the_real_demo_needs_no_network(tmp_path: Path) -> None:
    """Without one it says what is used instead, before anything else."""
    code = "from scripts.demo import fetch_real; print(fetch_real())"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "TORCH_HOME": str(tmp_path), "MODEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "('mini', 'mini')\n", done.stderr
    lines = done.stderr.splitlines()
    assert ["'htdemucs' is not" in lines[0], "'base' is not" in lines[1]] == [True, True]


def test_the_song_is_small_and_its_stems_add_up() -> None:
    files = [SONG / f"{name}.flac" for name in ("mixture", *STEMS)]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    mixture = read_sound(files[0])
    stems = sum(read_sound(path) for path in files[1:])
    assert abs(mixture - stems).max() < 2e-4
