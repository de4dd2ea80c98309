"""Fixtures: small real models, sound files, and one server that most tests share."""

import gc
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from scripts import voices
from scripts.services import nginx, postgres
from studio.transcription.engine import RATE_HZ
from studio.web.pages import SOCKETIO_CLIENT
from tests.support import sandbox
from tests.support.browser import BINARY as CHROMIUM
from tests.support.browser import DESKTOP, chromium, new_context
from tests.support.demucs_models import make_tiny_weights
from tests.support.forks import Forks
from tests.support.hearing import silence
from tests.support.music import make_music_model
from tests.support.page import heard
from tests.support.problems import without_network
from tests.support.proxy import Proxy, make_certificate
from tests.support.server import LAUNCHER, ROOT, Server
from tests.support.sounds import noise, write_wav
from tests.support.speech import Spoken, spoken

# Threads of PyTorch that wait for each other sleep: the cores are shared with other workers.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "browser": (
        lambda: CHROMIUM is not None and SOCKETIO_CLIENT.is_file(),
        "Chromium or the JavaScript packages are missing; .ci/run and `make page` install them",
    ),
    "postgres": (
        lambda: postgres.find_binaries() is not None and find_spec("procrastinate") is not None,
        "PostgreSQL or the extra `scale` is missing; .ci/run and `make setup` install them",
    ),
    "redis": (
        lambda: shutil.which("redis-server") is not None and find_spec("redis") is not None,
        "Redis or the extra `scale` is missing; .ci/run and `make setup` install them",
    ),
    "nginx": (lambda: nginx.BINARY is not None, "nginx is not installed; .ci/run installs it"),
    "root": (sandbox.is_possible, "folders cannot be mounted here; run as root"),
    "voices": (voices.is_fetched, voices.MISSING),
}
"""What tests with a marker need, and why they are skipped without it."""


LONGEST = (
    "cli/",
    "generation/",
    "goals/",
    "hostile/test_walker.py",
    "jobs/",
    "separation/",
    "server/",
    "test_imports.py",
    "transcription/",
    "web/",
)
"""Files and folders that take longest. They start first, so that all workers end together."""

TOGETHER: tuple[str | tuple[str, ...], ...] = (
    "tests/deploy/test_install",
    "tests/deploy/test_proxy",
    ("tests/generation/test_errors.py", "tests/generation/test_job.py"),
    "tests/web/compat/openai/",
    "tests/web/studio/",
)
"""What the paths of tests begin with that share what is slow to make. A worker runs each group."""


class ByFileOrServer(LoadFileScheduling):  # type: ignore[misc]
    """Gives the tests of a file to one worker, and so those of a group in `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        groups = (str(one) for one in TOGETHER if nodeid.startswith(one))
        return str(next(groups, super()._split_scope(nodeid)))


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """The slow tests of a package would keep one worker busy when the others have ended."""
    is_quick = "not slow" in config.getoption("markexpr")
    if is_quick and config.getoption("dist") == "loadfile":
        return ByFileOrServer(config, log)
    return None


def pytest_configure() -> None:
    """Nothing that a person has set decides what tests find."""
    if (ROOT / ".env").exists():
        raise pytest.UsageError(
            f"{ROOT / '.env'} exists, and the servers of the tests would read it. Move it away."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.removeprefix("tests/").startswith(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is loaded and collected, which stays until the end, out of garbage collections."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (is_met, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not is_met():
            pytest.skip(reason)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    """A MODEL_DIR with tiny bags of random weights, and the graphs of this run."""
    folder = make_tiny_weights(tmp_path_factory.mktemp("model_dir") / "weights")
    (folder / ".graphs").symlink_to(graphs)
    return folder


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where converted networks are kept, for all tests of this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The folder of all workers.
        folder = folder.parent
    (folder / "graphs").mkdir(exist_ok=True)
    return folder / "graphs"


@pytest.fixture(scope="session", autouse=True)
def shared_by_servers(graphs: Path) -> Iterator[None]:
    """Converted networks, and the imports of the program. At the end no server is left."""
    Server.graphs, Server.forks = graphs, Forks(ROOT)
    yield
    Server.wait_for_stopped()
    Server.forks.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A running server, shared, so tests clean up or ignore.

    Its variant `tiny` runs on PyTorch: slow enough to be seen, waited for and canceled.
    """
    server = Server(
        tmp_path_factory.mktemp("server"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
    )
    server.start()
    yield server
    server.stop_later()


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, shared, that separates and understands with the bundled models."""
    server = Server(tmp_path_factory.mktemp("speaker"), WHISPER_MODEL="mini").start()
    yield server
    server.stop_later()


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A running server whose default variant of Whisper is the bundled one."""
    server = Server(
        tmp_path_factory.mktemp("live"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
    )
    server.start()
    yield server
    server.stop_later()


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A running server, shared, with tiny random MusicGens, that reaches no network."""
    folder = tmp_path_factory.mktemp("player")
    models = folder / "weights" / "musicgen"
    make_music_model(models / "tiny")
    make_music_model(models / "tune", is_melody=True)
    make_music_model(models / "wide", channels=2)
    (folder / "weights" / "demucs").symlink_to(weights / "demucs")
    server = Server(
        folder,
        MUSICGEN_MODEL="tiny",
        MUSICGEN_ENGINE="torch",
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        TORCH_THREADS=1,
        **without_network(folder),
    )
    server.start()
    yield server
    server.stop_later()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """A running PostgreSQL, shared; tests make databases of their own in it."""
    server = postgres.Postgres().start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def short_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of stereo sound, 16-bit WAV."""
    return write_wav(tmp_path_factory.mktemp("sound") / "short.wav", noise(3.0))


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server started by production.py, shared."""
    server = Server(
        tmp_path_factory.mktemp("production"),
        SECRET_KEY="0123456789abcdef0123456789abcdef",
        TRUSTED_PROXIES=1,
        ALLOWED_HOSTS="studio.test",
        MODEL_DIR=weights,
        DEMUCS_MODEL="tiny",
        SEPARATION_ENGINE="torch",
        WHISPER_MODEL="mini",
    )
    server.start(command=LAUNCHER)
    assert server.until_loaded().json()["ready"]
    yield server
    server.stop_later()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback and `studio.test`, its key beside it."""
    return make_certificate(tmp_path_factory.mktemp("certificate") / "made", "studio.test")


@pytest.fixture(scope="session")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, production: Server, certificate: Path
) -> Iterator[Proxy]:
    """nginx before the production server."""
    folder = tmp_path_factory.mktemp("proxy") / "nginx"
    proxy = Proxy(folder, certificate, f"127.0.0.1:{production.port}").start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def recording() -> Spoken:
    return spoken()


@pytest.fixture(scope="session")
def microphone(recording: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser hears: a part of the recording, a little silence before and after."""
    sound = np.concatenate([silence(1), heard(recording)[0], silence(2)])
    return write_wav(tmp_path_factory.mktemp("sound") / "microphone.wav", sound[None], RATE_HZ)


@pytest.fixture(scope="module", name="chromium")
def _chromium(microphone: Path) -> Iterator[Browser]:
    with chromium(microphone) as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty page of a browser without a history."""
    with new_context(chromium, viewport=DESKTOP, locale="en-GB") as context:
        yield context.new_page()
