"""Failures of a real object store: nothing is lost, nothing is half, and nothing stays behind."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from scripts.services.object_store import ObjectStore
from studio.errors import StorageUnavailable, UnknownFile
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.housekeeping import Housekeeper
from studio.jobs.job import Request, State
from studio.jobs.outbox import Outbox
from studio.jobs.reuse import completed_before
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from studio.jobs.uploads import UploadTable
from studio.storage import object_storage
from studio.storage.bucket_owner import OWNER
from studio.storage.results import ResultId
from tests.support.server import WAIT_S, until
from tests.support.storage import JOB, LARGE, OTHER, in_bucket, publish, read, upload_to

pytestmark = [pytest.mark.s3, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_storage, "RETRY_S", 0.2)


@pytest.fixture
def store(swift: ObjectStore) -> ObjectStore:
    """The store, whole again after each test."""
    swift.start(*swift.dead())
    return swift


def test_an_upload_while_the_store_is_away_leaves_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    storage = in_bucket(store, tmp_path)
    incoming = storage.receive()
    incoming.write(LARGE)
    store.kill("object")
    with pytest.raises(StorageUnavailable) as raised:
        storage.accept(incoming, "song.wav", "wav", None)
    assert raised.value.extra["retry_after_s"] > 0
    assert storage.file_ids() == []
    store.start("object")
    upload = storage.accept(incoming, "song.wav", "wav", None)
    with storage.hold():
        assert storage.source(upload).path.read_bytes() == LARGE


def test_an_upload_from_another_disk_leaves_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    storage = in_bucket(store, tmp_path)
    monkeypatch.setattr(Path, "rename", rename)
    upload = upload_to(storage)
    monkeypatch.undo()
    assert list((tmp_path / "uploads" / ".incoming").iterdir()) == []
    with storage.hold():
        assert storage.source(upload).path.read_bytes() == b"sound"


def test_a_file_is_gone_although_the_store_is_away(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path)
    upload = upload_to(storage)
    store.kill("proxy")
    storage.remove(upload.file_id)
    assert not storage.has(upload.file_id)
    with pytest.raises(UnknownFile):
        storage.remove(upload.file_id)


def test_publishing_goes_on_when_the_store_is_back(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path)
    result = ResultId(upload_to(storage).file_id, JOB)
    names = [f"{number}.wav" for number in range(10)]
    with ThreadPoolExecutor(1) as pool, storage.work(JOB) as work:
        for name in names:
            (work / name).write_bytes(LARGE)
        failures: list[float] = []
        publishing = pool.submit(
            storage.publish, work, result, lambda: failures.append(time.monotonic())
        )
        until(lambda: storage.result(result).exists())
        store.kill("object")
        until(lambda: failures)
        store.start("object")
        publishing.result(WAIT_S)
    assert sorted(storage.result(result).infos()) == names
    assert all(read(storage, result, name) == LARGE for name in names)


def test_publishing_ends_when_the_job_is_canceled(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path)
    result = ResultId(upload_to(storage).file_id, JOB)
    store.kill("object")

    def go_on() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), storage.work(JOB) as work:
        (work / "vocals.wav").write_bytes(b"stem")
        storage.publish(work, result, go_on)


@pytest.mark.parametrize("kind", ["object", "proxy"])
def test_a_download_that_breaks_off_is_an_error(
    store: ObjectStore, tmp_path: Path, kind: str
) -> None:
    storage = in_bucket(store, tmp_path)
    result = publish(storage, upload_to(storage), vocals=LARGE * 4)
    file = storage.result(result).file("vocals.wav")
    blocks = file.remote.read(0, 4 * len(LARGE) - 1)
    first = next(blocks)
    store.kill(kind)
    with pytest.raises(StorageUnavailable):
        assert len(first) + sum(map(len, blocks)) == 4 * len(LARGE)
    with pytest.raises(StorageUnavailable), storage.hold():
        file.path.read_bytes()
    store.start(kind)
    assert read(storage, result, "vocals.wav") == LARGE * 4


def test_local_copies_are_bounded_and_kept_while_in_use(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path, cache_bytes=1_500)
    result = publish(storage, upload_to(storage), a=bytes(1_000), b=bytes(1_000), c=bytes(1_000))
    folder = storage.result(result)
    with storage.hold():
        held = folder.file("a.wav").path
        others = [folder.file(name).path for name in ("b.wav", "c.wav")]
        assert all(path.is_file() for path in (held, *others))
    assert [path.is_file() for path in (held, *others)] == [False, False, True]
    with storage.hold():
        assert folder.file("a.wav").path.read_bytes() == bytes(1_000)


def test_addresses_expire_and_cannot_be_changed(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path)
    key = f"results/{publish(storage, upload_to(storage), vocals=b'stem').key}/vocals.wav"
    address = storage.bucket.presigned(key, "audio/wav", 60)
    answer = requests.get(address, timeout=30)
    assert (answer.content, answer.headers["Content-Type"]) == (b"stem", "audio/wav")
    for changed in (
        address.replace("vocals", "drums"),
        address.replace("X-Amz-Expires=60", "X-Amz-Expires=90"),
        address.replace("audio%2Fwav", "text%2Fhtml"),
    ):
        assert changed != address
        assert requests.get(changed, timeout=30).status_code == 403
    short = storage.bucket.presigned(key, "audio/wav", 2)
    until(lambda: requests.get(short, timeout=30).status_code == 403)


def test_files_of_an_upload_that_is_being_deleted_are_not_shared(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = in_bucket(store, tmp_path)
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    jobs, records = JobStore(engine), UploadTable(engine)
    one, two = upload_to(storage), upload_to(storage)
    first = jobs.add(Request(one.file_id, "demucs", "mini", {}, "the same"), result={})
    publish(storage, one, first.job_id, vocals=b"stem")
    share = storage.share

    def share_late(*results: ResultId, with_edits: bool) -> ResultId:
        """The other server has removed the record, and will delete the objects next."""
        records.remove(one.file_id)
        return share(*results, with_edits=with_edits)

    monkeypatch.setattr(storage, "share", share_late)
    again = Request(two.file_id, "demucs", "mini", {}, "the same")
    assert completed_before(jobs, storage, again, owner=None) is None
    assert jobs.of_file(two.file_id) == []


def test_a_sweep_leaves_no_object_without_a_row(store: ObjectStore, tmp_path: Path) -> None:
    storage = in_bucket(store, tmp_path)
    engine = connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    jobs, outbox = JobStore(engine), Outbox(engine)

    def job_of(file_id: str) -> Request:
        return Request(file_id, "demucs", "mini", {}, "the same")

    one, two = upload_to(storage), upload_to(storage)
    first = jobs.add(job_of(one.file_id), result={"duration_s": 1.0})
    publish(storage, one, first.job_id, vocals=b"stem")
    second = completed_before(jobs, storage, job_of(two.file_id), owner=None)
    assert second is not None and second.shares == first.result_id.key
    failed = jobs.add(job_of(two.file_id))
    jobs.finish(failed, State.FAILED)
    publish(storage, two, failed.job_id, vocals=b"half")
    publish(storage, two, OTHER, vocals=b"of nobody")
    (tmp_path / "file").write_bytes(b"sound")
    storage.bucket.put(f"uploads/{OTHER}/source.wav", tmp_path / "file")

    now = time.time() + 4_000

    def sweep() -> set[str]:
        executor = Executor(jobs, {}, lambda _: None)
        runner = JobRunner(jobs, executor, workers=0, max_queued=9)
        keeper = Housekeeper(
            storage, jobs, runner, outbox, 0, clock=lambda: now, steady=lambda: now
        )
        keeper.sweep()
        return set(storage.bucket.infos("")) - {OWNER}

    sources = {f"uploads/{upload.file_id}/source.wav" for upload in (one, two)}
    stem = f"results/{first.result_id.key}/vocals.wav"
    assert sweep() == {*sources, stem}
    # The other file still has the stem.
    storage.remove(one.file_id)
    jobs.forget_file(one.file_id)
    assert sweep() == {f"uploads/{two.file_id}/source.wav", stem}
    assert read(storage, second.result_id, "vocals.wav") == b"stem"
    third = upload_to(storage)
    last = jobs.add(Request(third.file_id, "demucs", "mini", {}, "other"), result={})
    publish(storage, third, last.job_id, vocals=b"stem")
    storage.remove(two.file_id)
    jobs.forget_file(two.file_id)
    assert sweep() == {
        f"uploads/{third.file_id}/source.wav",
        f"results/{last.result_id.key}/vocals.wav",
    }
