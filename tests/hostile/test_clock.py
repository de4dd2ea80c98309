"""A clock that is set, by a person or a bad time server: nobody is blocked, nothing is lost."""

import time
from pathlib import Path
from typing import Any

import pytest

from studio.jobs import migration
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.housekeeping import HOUR_S, TRUSTED_AFTER_S
from studio.jobs.pauses import MAX_PAUSE_S, Pauses
from studio.jobs.quota import Quota
from studio.jobs.store import JobStore
from studio.jobs.usage import Usage
from studio.web.rates import Rate
from tests.support.housekeeping import RETENTION_H, House
from tests.support.jobs import request
from tests.support.storage import disk_storage


class Clocks(House):
    """A house whose clock can be set apart from the time that passes."""

    def __init__(self, folder: Path) -> None:
        self.steady = 1000.0
        super().__init__(folder)
        self.keeper._steady = lambda: self.steady
        self.keeper._offset_s = self.now - self.steady

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds


@pytest.mark.parametrize("jump_h", [48.0, -48.0])
def test_a_clock_that_is_set_removes_nothing(tmp_path: Path, jump_h: float) -> None:
    house = Clocks(tmp_path)
    upload = house.upload()
    house.now += jump_h * HOUR_S
    for _ in range(20):
        house.keeper.sweep()
        house.passes(600)
    assert house.storage.has(upload.file_id)
    # It is set right again.
    house.now -= jump_h * HOUR_S
    house.keeper.sweep()
    assert house.storage.has(upload.file_id) == (RETENTION_H * HOUR_S > 20 * 600)


def test_a_clock_that_goes_on_is_believed(tmp_path: Path) -> None:
    house = Clocks(tmp_path)
    upload = house.upload()
    house.now += 48 * HOUR_S
    house.keeper.sweep()
    house.passes(TRUSTED_AFTER_S)
    house.keeper.sweep()
    assert not house.storage.has(upload.file_id)


def test_uploads_on_their_way_stay_when_the_clock_is_set(tmp_path: Path) -> None:
    house = Clocks(tmp_path)
    incoming = house.storage.receive()
    incoming.write(b"sound")
    house.now += 48 * HOUR_S
    house.keeper.sweep()
    assert incoming.path.exists()
    house.storage.discard(incoming)


def test_a_small_correction_changes_nothing(tmp_path: Path) -> None:
    house = Clocks(tmp_path)
    upload = house.upload()
    for _ in range(20):
        house.now += 5.0
        house.passes(RETENTION_H * HOUR_S / 10)
        house.keeper.sweep()
    assert not house.storage.has(upload.file_id)


def test_rates_do_not_look_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = [0.0]
    rate = Rate("2/minute", lambda: steady[0])
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert [rate.take("ann") for _ in range(3)] == [0.0, 0.0, 60.0]
    monkeypatch.setattr("time.time", lambda: 1e9 - 3600)
    assert rate.take("bob") == 0.0
    steady[0] = 59.0
    assert rate.take("ann") == 1.0
    steady[0] = 60.0
    assert rate.take("ann") == 0.0


def test_rates_forget_clients_that_are_gone() -> None:
    steady = [0.0]
    rate = Rate("2/minute", lambda: steady[0])
    for number in range(1000):
        rate.take(f"address:{number}")
    steady[0] = 121.0
    rate.take("ann")
    assert list(rate._moments) == ["ann"]


def test_a_host_is_not_paused_for_longer_than_the_longest_pause() -> None:
    pauses = Pauses()
    pauses.failed("host", 10_000.0)
    assert pauses.until_s("host", 10_000.0) == 10_005.0
    assert pauses.until_s("host", 10_000.0 - 2 * MAX_PAUSE_S) == 0.0


def test_a_clock_that_is_set_while_a_job_runs_costs_no_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    store, usage = JobStore(engine), Usage(engine)
    store.open()
    later = time.time() + 10 * HOUR_S

    def set_clock(*_: Any) -> dict[str, Any]:
        monkeypatch.setattr("time.time", lambda: later)
        return {"duration_s": 60.0}

    quota = Quota(disk_storage(tmp_path / "uploads", tmp_path / "outputs"), usage, 0, 10)
    executor = Executor(store, {"demucs": set_clock}, lambda _: None, on_end=quota.charge)
    store.add(request(), client="ann")
    job = store.claim()
    assert job is not None
    executor.run(executor.attempt(job))
    [total] = store.totals()
    for worked_s in (usage.worked_s("ann"), total.worked_s):
        assert 0 < worked_s < HOUR_S
    engine.dispose()


def test_work_of_the_future_does_not_count(tmp_path: Path) -> None:
    now = [1_000_000.0]
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    migration.upgrade(engine)
    usage = Usage(engine, lambda: now[0])
    usage.add("ann", 60.0)
    now[0] -= 2 * HOUR_S
    assert usage.worked_s("ann") == 0.0
    engine.dispose()
