"""Rates that several servers count together in a real Redis."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.services.children import free_port, is_open, kill, spawn, stop, wait_until_ready
from studio.web import rates
from studio.web.rates import SharedRate
from tests.support.server import CLOSED_PORT, WAIT_S, Server

pytestmark = pytest.mark.redis
MAX_COUNT = 20


class Redis:
    """A server that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None
        command = [binary, "--port", f"{self.port}", "--bind", "127.0.0.1", "--save", ""]
        log = self._folder / "redis.log"
        self._process = spawn(command, log, cwd=self._folder)
        wait_until_ready("Redis", self._process, log, lambda: is_open(self.port))

    def stop(self) -> None:
        stop(self._process)

    def kill(self) -> None:
        kill(self._process)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, Redis may take long to answer."""
    monkeypatch.setattr(rates, "REDIS_TIMEOUT_S", WAIT_S)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield redis
    redis.stop()


def test_two_servers_count_together(redis: Redis) -> None:
    one, two = (SharedRate("together", "3/hour", redis.url) for _ in range(2))
    assert [one.take("ann"), two.take("ann"), one.take("ann")] == [0.0, 0.0, 0.0]
    assert 3000 < two.take("ann") <= 3600
    assert one.take("bob") == 0.0
    assert SharedRate("other", "3/hour", redis.url).take("ann") == 0.0


def test_without_redis_each_server_counts_alone(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "REDIS_AGAIN_S", 0.0)
    rate = SharedRate("alone", "2/hour", redis.url)
    assert rate.take("ann") == 0.0
    redis.stop()
    assert [rate.take("ann"), rate.take("ann")] == [0.0, 0.0]
    assert rate.take("ann") > 3000
    redis.start()
    assert rate.take("ann") == 0.0


@pytest.mark.slow
def test_clients_notice_nothing_of_the_death_of_redis(redis: Redis, tmp_path: Path) -> None:
    """It is killed while requests are counted. Later the servers count together again."""
    servers: list[Server] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        limits = {"RATE_LIMIT": f"{MAX_COUNT}/hour", "RATE_STORAGE": redis.url}
        server = Server(tmp_path / name, **limits)
        servers.append(server.start(application="tests.support.unhurried:create_app()"))

    def ask(number: int) -> int:
        return servers[number % 2].get("/models").status_code

    try:
        with ThreadPoolExecutor(4) as clients:
            before = list(clients.map(ask, range(MAX_COUNT // 2)))
            during = clients.map(ask, range(4 * MAX_COUNT))
            redis.kill()
            # From now on each server counts alone, and begins anew.
            after = clients.map(ask, range(4 * MAX_COUNT))
            answered = Counter([*before, *during, *after])
            redis.start()
            time.sleep(rates.REDIS_AGAIN_S)
            # Redis kept nothing, so the clients may ask as often as at first.
            together = Counter(clients.map(ask, range(2 * MAX_COUNT)))
    finally:
        for server in servers:
            server.stop()
    assert answered.keys() == {200, 429}
    assert len(before) + 2 * MAX_COUNT <= answered[200] <= 3 * MAX_COUNT
    assert together == {200: MAX_COUNT, 429: MAX_COUNT}


def test_a_server_starts_without_redis_and_limits_requests(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{CLOSED_PORT}"
    server = Server(tmp_path, RATE_LIMIT="3/hour", RATE_STORAGE=url).start()
    try:
        answers = [server.get("/models").status_code for _ in range(5)]
        assert answers == [200] * 3 + [429] * 2
    finally:
        server.stop_later()
