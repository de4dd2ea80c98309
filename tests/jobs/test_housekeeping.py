"""What is old is removed, and nothing else is; the test turns the clock."""

import os
import shutil
import threading
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from studio.jobs.housekeeping import HOUR_S
from studio.jobs.job import Request, State
from studio.storage.uploads import Upload
from tests.support.housekeeping import RETENTION_H, House
from tests.support.server import Server, until


def temporary(house: House, content: bytes = b"sound") -> Upload:
    incoming = house.storage.receive()
    incoming.write(content)
    return house.storage.accept(incoming, "talk.wav", "wav", None, temporary_id="a" * 32)


@pytest.mark.parametrize("retention_h", [0.0, RETENTION_H])
def test_a_temporary_upload_goes_an_hour_after_its_last_use(
    tmp_path: Path, retention_h: float
) -> None:
    house = House(tmp_path, retention_h)
    kept, upload = house.upload(), temporary(house)
    assert temporary(house, b"more") == upload
    job = house.job(upload)
    house.sweep(1.5)
    assert house.has(upload), "its job has not ended"
    house.finish(job)
    record = house.uploads / upload.file_id / "upload.json"
    os.utime(record, (house.now, house.now))
    house.sweep(0.9)
    assert house.has(upload)
    house.sweep(0.2)
    assert not house.has(upload)
    # `kept` is 2.6 h old.
    assert house.has(kept) is not bool(retention_h)
    house.store.close()


def test_an_old_upload_goes_with_its_results(house: House) -> None:
    old = house.upload()
    house.finish(house.job(old))
    house.store.add_webhook(house.store.of_file(old.file_id)[0].job_id, "https://receiver.example")
    house.sweep(1.9)
    assert house.has(old)
    house.sweep(0.2)
    assert not house.has(old)
    assert house.outbox.clients(house.now) == []


def test_jobs_begin_while_an_old_file_is_deleted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file on a slow disk takes a while."""
    house.finish(house.job(house.upload()))
    rmtree = shutil.rmtree
    begun: list[bool] = []

    def delete(*arguments: Any, **more: Any) -> None:
        request = Request("f" * 32, "demucs", "mini", {}, f"{len(begun)}")
        beginning = threading.Thread(target=house.runner.submit, args=(request,), daemon=True)
        beginning.start()
        beginning.join(30)
        begun.append(not beginning.is_alive())
        rmtree(*arguments, **more)

    monkeypatch.setattr(shutil, "rmtree", delete)
    house.sweep(RETENTION_H + 1)
    assert begun and all(begun)


def test_the_end_of_the_latest_job_keeps_an_upload(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = house.upload()
    job = house.job(upload)
    house.now += 3 * HOUR_S
    monkeypatch.setattr("studio.jobs.store.time.time", lambda: house.now)
    house.finish(job)
    house.sweep(1.9)
    assert house.has(upload)
    assert (house.outputs / upload.file_id / job.job_id / "vocals.wav").is_file()
    house.sweep(0.2)
    assert not house.has(upload)


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_an_upload_in_use_stays_however_old(house: House, state: State) -> None:
    upload = house.upload()
    job = house.job(upload)
    if state is State.PROCESSING:
        claimed = house.store.claim()
        assert claimed is not None
    house.sweep(1000)
    assert house.has(upload)
    house.store.finish(job, State.CANCELED)
    house.sweep()
    assert not house.has(upload)


def test_an_upload_that_a_job_of_another_names_is_in_use(house: House) -> None:
    tune, prompt = house.upload(), house.upload()
    job = house.job(prompt, continue_from=tune.file_id)
    house.sweep(1000)
    assert house.has(tune) and house.has(prompt)
    house.store.finish(job, State.CANCELED)
    house.sweep()
    assert not house.has(tune)


def test_without_retention_nothing_grows_too_old(house: House) -> None:
    upload = house.upload()
    house.keeper = house.housekeeper(0.0)
    house.sweep(1e5)
    assert house.has(upload)


def test_an_upload_of_an_earlier_version_is_as_old_as_its_record(house: House) -> None:
    upload = house.upload()
    record = house.uploads / upload.file_id / "upload.json"
    record.write_text(record.read_text().replace(f', "created_at": {upload.created_at}', ""))
    assert "created_at" not in record.read_text()
    os.utime(record, (house.now, house.now))
    house.sweep(1.9)
    assert house.has(upload)
    house.sweep(0.2)
    assert not house.has(upload)


def test_the_thread_sweeps_at_once_and_again_and_stops(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = Event()
    count = 0
    sweep = house.keeper.sweep

    def counted() -> None:
        nonlocal count
        sweep()
        count += 1
        if count == 1:
            raise RuntimeError("a defect ends one sweep, not the thread")
        swept.set()

    monkeypatch.setattr(house.keeper, "sweep", counted)
    house.keeper.start()
    assert swept.wait(60)
    house.keeper.stop()
    until(lambda: all(thread.name != "housekeeping" for thread in threading.enumerate()))


def test_a_server_cleans_up_at_its_start(tmp_path: Path, short_wav: Path) -> None:
    server = Server(tmp_path, RETENTION_HOURS=1).start()
    try:
        fresh, old = server.upload(short_wav), server.upload(short_wav)
        server.stop()
        record = server.uploads / old / "upload.json"
        created_at = record.read_text().partition('"created_at": ')[2].rstrip("}")
        record.write_text(record.read_text().replace(created_at, "1000000000.0"))
        orphan = server.outputs / ("f" * 32)
        orphan.mkdir()
        server.start()
        until(lambda: not orphan.exists())
        assert server.get(f"/files/{old}").status_code == 404
        assert server.get(f"/files/{fresh}").status_code == 200
    finally:
        server.stop()
