"""What belongs to nothing is removed, such as results without a job, and nothing else is."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.jobs.housekeeping import HOUR_S
from studio.jobs.job import State
from studio.jobs.reuse import completed_before
from studio.storage.measured_size import size_bytes
from studio.storage.orphans import ABANDONED_AFTER_S, HALF_MADE_AFTER_S
from studio.storage.results import ResultId
from studio.storage.uploads import UnreadableRecord, Upload
from tests.support.housekeeping import House


def test_results_and_jobs_of_files_that_are_gone_go(house: House) -> None:
    kept, gone = house.upload(), house.upload()
    for upload in (kept, gone):
        house.finish(house.job(upload))
    shutil.rmtree(house.uploads / gone.file_id)
    house.sweep()
    assert house.has(kept)
    assert (house.outputs / kept.file_id).is_dir()
    assert not house.has(gone)


def test_an_upload_that_cannot_be_examined_keeps_its_results_and_jobs(house: House) -> None:
    """As on a disk with errors; here its folder is a link to itself."""
    upload, other = house.upload(), house.upload()
    for one in (upload, other):
        house.finish(house.job(one))
    folder, aside = house.uploads / upload.file_id, house.uploads / "aside"
    folder.rename(aside)
    folder.symlink_to(folder)
    house.keeper = house.housekeeper(0.0)
    house.sweep(1000)
    assert house.store.of_file(upload.file_id) and house.storage.has(upload.file_id)
    folder.unlink()
    aside.rename(folder)
    assert house.has(upload)
    assert len(list((house.outputs / upload.file_id).iterdir())) == 1


def test_results_of_others_are_not_looked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look takes a request to a bucket."""
    theirs = house.upload("bob")
    job = house.job(theirs)
    house.finish(job)
    request = replace(job.request, file_id=house.upload("ann").file_id)
    monkeypatch.setattr(type(house.storage), "result", lambda *_: pytest.fail("looked for"))
    assert completed_before(house.store, house.storage, request, owner="ann") is None


def test_a_missing_disk_of_uploads_costs_no_results(house: House) -> None:
    """As if its volume was not mounted: everything else stays, and is there when it comes back."""
    upload = house.upload()
    job = house.job(upload)
    house.finish(job)
    aside = house.uploads.with_name("aside")
    (house.uploads / upload.file_id).rename(aside)
    house.sweep(1000)
    assert (house.outputs / upload.file_id / job.job_id / "vocals.wav").is_file()
    assert [one.job_id for one in house.store.of_file(upload.file_id)] == [job.job_id]
    aside.rename(house.uploads / upload.file_id)
    assert house.has(upload)


def leave_result(house: House, upload: Upload, job_id: str) -> Path:
    """Results as a death between publishing them and ending the job leaves them."""
    with house.storage.work(job_id) as work:
        (work / "vocals.wav").write_bytes(b"stem")
        house.storage.publish(work, ResultId(upload.file_id, job_id))
    return house.outputs / upload.file_id / job_id


@pytest.mark.parametrize("state", [None, State.FAILED, State.CANCELED])
def test_results_without_a_job_go_after_an_hour(house: House, state: State | None) -> None:
    house.keeper = house.housekeeper(0.0)
    upload = house.upload()
    done = house.job(upload)
    house.finish(done)
    job_id = "e" * 32
    if state is not None:
        job = house.job(upload)
        job_id = job.job_id
        house.store.finish(job, state)
    stray = leave_result(house, upload, job_id)
    (stray.parent / "notes").mkdir()
    house.sweep(0.9)
    assert stray.is_dir()
    house.sweep(0.2)
    assert not stray.exists()
    assert (house.outputs / upload.file_id / done.job_id / "vocals.wav").is_file()
    assert (stray.parent / "notes").is_dir()
    assert house.has(upload)


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_results_of_a_job_that_runs_again_stay(house: House, state: State) -> None:
    house.keeper = house.housekeeper(0.0)
    upload, other = house.upload(), house.upload()
    house.finish(house.job(other))
    job = house.job(upload)
    if state is State.PROCESSING:
        assert house.store.claim() is not None
    result = leave_result(house, upload, job.job_id)
    house.sweep(1000)
    assert result.is_dir()


@pytest.mark.parametrize("has_a_new_job", [False, True])
def test_a_database_that_is_new_costs_no_results(house: House, has_a_new_job: bool) -> None:
    """As if the old one was moved away, or DATABASE_URL names another."""
    house.keeper = house.housekeeper(0.0)
    upload = house.upload()
    result = leave_result(house, upload, "e" * 32)
    if has_a_new_job:
        house.job(upload)
    house.sweep(1000)
    assert (result / "vocals.wav").is_file()


@pytest.mark.parametrize("missing", ["upload.json", "source.wav", "half a record"])
def test_half_made_uploads_go_after_an_hour(house: House, missing: str) -> None:
    house.keeper = house.housekeeper(0.0)
    whole, half = house.upload(), house.upload()
    folder = house.uploads / half.file_id
    if missing == "half a record":
        (folder / "upload.json").write_text('{"file_id": ')
    else:
        (folder / missing).unlink()
    house.sweep(HALF_MADE_AFTER_S / HOUR_S - 0.1)
    assert folder.is_dir()
    house.sweep(0.2)
    assert not folder.exists()
    assert house.has(whole)


def replace_by_a_folder(record: Path) -> None:
    """Reading it fails for root too, whom permissions do not stop."""
    record.unlink()
    record.mkdir()


def add_a_field(record: Path) -> None:
    """As a newer version may."""
    record.write_text(json.dumps({**json.loads(record.read_text()), "mood": "calm"}))


@pytest.mark.parametrize("spoil", [replace_by_a_folder, add_a_field])
def test_an_unreadable_record_concerns_its_own_file_only(
    house: House, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    owner = "ann"
    spoilt, first, second = (house.upload(owner) for _ in range(3))
    folder = house.uploads / spoilt.file_id
    spoil(folder / "upload.json")
    with pytest.raises(UnreadableRecord, match=spoilt.file_id):
        house.storage.upload(spoilt.file_id)
    listed = [file_id for _, file_id in house.storage.of_owner(owner)]
    assert sorted(listed) == sorted([first.file_id, second.file_id])
    folders = [house.uploads / one.file_id for one in (first, second)]
    assert house.storage.used_bytes_of(owner) == size_bytes(*folders)
    house.sweep(1000)
    assert not house.has(first) and not house.has(second)
    assert (folder / "source.wav").is_file(), "an operator may make the record readable again"
    assert caplog.text.count(f"cannot clean up the file {spoilt.file_id}") == 1


def test_a_result_that_cannot_be_deleted_holds_up_no_others(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = house.upload()
    house.finish(house.job(upload))
    held, other = (leave_result(house, upload, letter * 32) for letter in "ef")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == held:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    house.sweep(1.5)
    assert held.is_dir() and not other.exists()
    assert f"cannot delete {held}" in caplog.text


def test_what_is_on_its_way_stays_until_it_is_abandoned(house: House) -> None:
    incoming = house.storage.receive()
    incoming.write(b"half")
    with house.storage.work("job") as work:
        (work / "vocals.wav").write_bytes(b"half")
        house.sweep(ABANDONED_AFTER_S / HOUR_S - 0.1)
        assert incoming.path.is_file()
        assert (work / "vocals.wav").is_file()
        house.sweep(0.2)
        assert not incoming.path.exists()
        assert not work.exists()
    incoming.close()


def test_what_is_not_of_the_server_stays(house: House) -> None:
    house.upload()
    for folder in (house.uploads, house.outputs):
        (folder / "notes").mkdir()
        (folder / "notes" / "mine.txt").write_text("keep")
        (folder / ".hidden").write_text("keep")
    house.sweep(1000)
    for folder in (house.uploads, house.outputs):
        assert (folder / "notes" / "mine.txt").is_file()
        assert (folder / ".hidden").is_file()
