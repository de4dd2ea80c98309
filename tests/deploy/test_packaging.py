"""The package: one list of dependencies, one version, and a server that runs from anywhere."""

import os
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.requirements import contents
from scripts.services.children import free_port
from studio import __version__
from studio.__main__ import serve
from tests.support.server import ROOT, Server
from tests.support.speech import RECORDING

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
INSTALL_TIMEOUT_S = 120


@pytest.mark.parametrize(
    "name",
    [
        "requirements-prod.txt",
        "requirements.txt",
        "requirements-gpu.txt",
        "requirements-scale.txt",
        "requirements-mcp.txt",
        "requirements-dev.txt",
    ],
)
def test_requirements_files_match_pyproject(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == contents()[name]


def test_every_dependency_is_pinned() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PYPROJECT["project"]["dependencies"], *(one for e in extras for one in e)]:
        pinned = re.fullmatch(
            r"[\w.-]+(\[[\w,]+\])?==[\w.]+(; .+)?|audio-studio\[(?:demo|mcp|scale)\]", requirement
        )
        assert pinned, requirement


def test_the_documents_install_the_pinned_versions() -> None:
    page = (ROOT / "docs" / "installing.md").read_text("utf-8")
    named = set(re.findall(r"pip install .*?([\w-]+==[\d.]+)", page))
    assert {one.partition("==")[0] for one in named} == {"torch", "demucs"}
    pins = {one.partition(";")[0] for one in PYPROJECT["project"]["dependencies"]}
    assert named <= pins


def test_what_is_installed_comes_from_this_folder() -> None:
    """No index has the project: a package of its name there would be that of somebody else."""
    folders = (ROOT, ROOT / "docs", ROOT / "scripts", *(ROOT / "studio").rglob("*/"))
    files = [file for kind in ("*.py", "*.md") for one in folders for file in one.glob(kind)]
    for file in files:
        # A sentence may consist of several strings.
        text = re.sub(r"[\s'\"]+", " ", file.read_text("utf-8"))
        assert "pip install audio-studio" not in text, file
        for name in re.findall(r" -r (requirements[\w-]*\.txt)", text):
            assert (ROOT / name).is_file(), f"{file}: {name}"


def test_the_build_backend_is_the_one_that_developers_install() -> None:
    (backend,) = PYPROJECT["build-system"]["requires"]
    assert backend in PYPROJECT["project"]["optional-dependencies"]["dev"]


def test_the_version_is_the_one_in_the_changelog_and_the_api(server: Server) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert next(heading for heading in headings if heading != "Unreleased") == __version__
    assert server.get("/openapi.json").json()["info"]["version"] == __version__


def test_windows_has_no_production_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn cannot be imported there."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="does not run on Windows"):
        serve()


def files_in(folder: Path) -> set[Path]:
    return {
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pth")
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the package; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True, with_pip=False)
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *options, str(ROOT)], check=True, timeout=INSTALL_TIMEOUT_S)
    return folder


@pytest.fixture
def running(installed: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address and the folder of the installed server, started in that empty folder."""
    folder, port = tmp_path / "empty", free_port()
    folder.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PORT": str(port),
        "DEMUCS_MODEL": "mini",
        "WHISPER_MODEL": "mini",
    }
    # In the folder, as a user would write it.
    (folder / ".env").write_text("SECRET_KEY=0123456789abcdef0123456789abcdef\n")
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(
            [installed / "bin" / "audio-studio", "serve"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}", folder
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, (tmp_path / "server.log").read_text()[-3000:]


def until_ready(url: str) -> dict[str, Any]:
    """The answer of /ready once all models are loaded."""
    ends_s = time.monotonic() + 180
    while True:
        try:
            answer: dict[str, Any] = requests.get(f"{url}/ready", timeout=30).json()
            if answer["ready"]:
                return answer
        except requests.ConnectionError:
            answer = {}
        assert time.monotonic() < ends_s, answer
        time.sleep(0.2)


@pytest.mark.slow
def test_an_installed_server_serves_from_an_empty_folder(
    installed: Path, running: tuple[str, Path]
) -> None:
    url, folder = running
    site = next(installed.glob("lib/python3*/site-packages"))
    before = files_in(site)
    assert not (site / "pretrained").exists()
    assert until_ready(url)["models"] == {"demucs/mini": "ready", "whisper/mini": "ready"}
    for page in ("/docs", "/websocket-test.html"):
        assert requests.get(url + page, timeout=30).status_code == 200
    models = requests.get(f"{url}/models", timeout=30).json()["models"]
    for name in ("demucs", "whisper", "musicgen", "analysis"):
        assert models[name]["variants"]["mini"]["weights"] == "bundled"
    with open(RECORDING, "rb") as recording:
        upload = requests.post(f"{url}/upload", files={"file": recording}, timeout=60)
    file_id = upload.json()["file_id"]
    assert requests.post(f"{url}/process/whisper/{file_id}", timeout=60).status_code == 202
    status = requests.get(f"{url}/status/{file_id}?wait=60", timeout=90).json()
    assert status["status"] == "completed", status
    assert {path.name for path in folder.iterdir()} == {".env", "uploads", "outputs", "weights"}
    assert (folder / "uploads" / file_id).is_dir()
    assert files_in(site) == before
