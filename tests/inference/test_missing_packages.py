"""The error for a missing or damaged package names it, and does not blame the weights."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from studio.errors import DiskFull, ModelUnusable
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.load import load as load_music
from studio.inference.engine_settings import EngineSettings
from studio.inference.variants import load_errors, package_failure
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import INSTALL_DEMUCS
from studio.separation.load import load as load_demucs
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.load import load as load_whisper
from tests.support.server import ROOT

MINI = ROOT / "pretrained"


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings("torch", "f32", 0, tmp_path, "cpu")


def test_demucs_is_installed_with_the_command_in_the_error_and_in_the_document(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: EngineSettings
) -> None:
    monkeypatch.setitem(sys.modules, "demucs", None)
    catalogue = DemucsCatalogue(MINI / "demucs-mini", tmp_path, tmp_path)
    # The Python of this process, because another `pip` installs into another environment.
    command = f"{sys.executable} -m pip install {INSTALL_DEMUCS}"
    with pytest.raises(ModelUnusable, match=re.escape(f"run `{command}`.")):
        load_demucs(catalogue, "mini", settings)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = INSTALL_DEMUCS.rpartition(" ")[2]
    assert any(one.startswith(f"{pinned};") for one in project["dependencies"])
    page = (ROOT / "docs" / "installing.md").read_text("utf-8")
    assert f"-m pip install {INSTALL_DEMUCS}\n" in page


def test_a_missing_package_of_separation_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: EngineSettings
) -> None:
    monkeypatch.setitem(sys.modules, "demucs.hf", None)
    catalogue = DemucsCatalogue(MINI / "demucs-mini", tmp_path, tmp_path)
    with pytest.raises(ModelUnusable, match=r"a package is missing.*demucs\.hf"):
        load_demucs(catalogue, "mini", settings)


def test_a_missing_package_of_transcription_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: EngineSettings
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    catalogue = WhisperCatalogue(MINI / "whisper-mini", tmp_path, tmp_path, FASTER_WHISPER)
    with pytest.raises(ModelUnusable, match=r"a package is missing.*ctranslate2"):
        load_whisper(catalogue, "mini", settings)


def test_a_missing_package_of_generation_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: EngineSettings
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    catalogue = MusicGenCatalogue(MINI / "musicgen-mini", tmp_path)
    with pytest.raises(ModelUnusable, match=r"a package is missing.*torch"):
        load_music(catalogue, "mini", settings)


def test_libraries_and_weights_are_distinguished() -> None:
    library = OSError("libcudart.so.13: cannot open shared object file: No such file")
    assert "libcudart.so.13" in (package_failure("base", library) or "")
    assert package_failure("base", OSError("model.bin: the file is too short")) is None


def test_weights_are_blamed_for_errors_without_a_remedy_of_their_own() -> None:
    blamed = r"weights of 'base' cannot be loaded: ValueError: cut off\. Replace it\."
    with pytest.raises(ModelUnusable, match=blamed), load_errors("base", "Replace it."):
        raise ValueError("cut off")
    with pytest.raises(DiskFull, match="free some space"), load_errors("base", "Replace it."):
        raise DiskFull("The disk is full: free some space.")
