"""The command line downloads weights with a bar, or says that it uses the bundled models."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.cli.record import Record
from tests.support.hub import Hub, publish_htdemucs, serving
from tests.support.server import ROOT, until
from tests.support.sounds import noise, write_wav


@pytest.fixture
def hub(tmp_path: Path, weights: Path) -> Iterator[Hub]:
    """A hub with a small network as `htdemucs`."""
    with serving(Hub()) as hub:
        (tmp_path / "published").mkdir()
        publish_htdemucs(hub, weights, tmp_path / "published")
        yield hub


def start(
    folder: Path, *arguments: str, output: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """A command with the default variants and separate caches."""
    write_wav(folder / "song.wav", noise(0.5))
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    own = {
        "MODEL_DIR": str(folder / "own"),
        "HF_HOME": str(folder / "hf"),
        "TORCH_HOME": str(folder / "torch"),
        "DEMUCS_MODEL": "htdemucs",
        "SEPARATION_ENGINE": "torch",
        "WHISPER_RUNTIME": "ctranslate2",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "studio", *arguments],
        cwd=folder,
        env={**inherited, **own},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_network_the_bundled_models_are_used(tmp_path: Path) -> None:
    process = start(tmp_path, "lyrics", "song.wav", "--json", HF_HUB_OFFLINE="1")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    whisper, demucs, done, _ = map(json.loads, output.splitlines())
    for line, name in ((whisper, "base"), (demucs, "htdemucs")):
        assert line["status"] == "note"
        assert line["note"] == (
            f"The bundled variant 'mini' is used, because '{name}' is not on this machine and "
            "cannot be downloaded: no network."
        )
    assert done["variant"] == "mini"
    assert done["result"]["separation"]["variant"] == "mini"


def test_the_bundled_model_does_not_replace_what_another_one_wrote(tmp_path: Path) -> None:
    good = tmp_path / "song.lrc"
    good.write_text("[00:01.00]by another model")
    Record(tmp_path).write(good, good)
    process = start(tmp_path, "lyrics", "song.wav", "--json", HF_HUB_OFFLINE="1")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    *_, failed, _ = map(json.loads, output.splitlines())
    assert failed["code"] == "file_exists"
    assert "'song.lrc' exists, and the bundled variant" in failed["error"]
    assert good.read_text() == "[00:01.00]by another model"


def test_a_variant_that_was_named_is_not_replaced(tmp_path: Path) -> None:
    command = ("separate", "song.wav", "--json", "--model", "htdemucs")
    process = start(tmp_path, *command, HF_HUB_OFFLINE="1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert json.loads(output)["code"] == "weights_missing"


def test_a_default_that_the_hub_does_not_have_is_replaced(tmp_path: Path, hub: Hub) -> None:
    name = "hf://someone/absent"
    command = ("separate", "song.wav", "--stems", "bass", "--json")
    process = start(tmp_path, *command, DEMUCS_MODEL=name, HF_ENDPOINT=hub.url)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    note, done, _ = map(json.loads, output.splitlines())
    assert note["note"].startswith(f"The bundled variant 'mini' is used, because {name!r} is not")
    assert "someone/Demucs-absent has no absent.yaml on the hub" in note["note"]
    assert done["variant"] == "mini"
    process = start(tmp_path, *command, DEMUCS_MODEL=name, HF_HUB_OFFLINE="1")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert json.loads(output.splitlines()[0])["note"].endswith("cannot be downloaded: no network.")


def test_an_interrupted_download_is_resumed_and_shown(tmp_path: Path, hub: Hub) -> None:
    command = ("separate", "song.wav", "--stems", "bass")
    hub.paused.set()
    process = start(tmp_path, *command, HF_ENDPOINT=hub.url)
    until(lambda: any((tmp_path / "hf").rglob("*.incomplete")))
    until(lambda: hub.sent_bytes.get("adefossez/HTDemucs/swift0.safetensors", 0) > 500_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Run the same command again to continue" in errors
    [unfinished] = (tmp_path / "hf").rglob("*.incomplete")
    assert unfinished.stat().st_size > 0
    hub.paused.clear()

    terminal, other_end = pty.openpty()
    process = start(tmp_path, *command, output=other_end, HF_ENDPOINT=hub.url, COLUMNS="200")
    os.close(other_end)
    shown = ""
    while block := _read(terminal):
        shown += block
    assert process.wait(300) == 0, shown
    process.communicate()
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert re.search(r"downloading demucs ━+ ([\d.]+)/\1 MB", shown), shown
    assert "separated/song/bass.wav" in shown
    assert not unfinished.exists()


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65_536).decode()
    except OSError:
        return ""
