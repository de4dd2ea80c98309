"""Downloads of weights are resumed, verified, measured, shared, and can be stopped."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from huggingface_hub import constants

from config import Config
from models import Models
from studio.errors import DiskFull, WeightsMissing
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.load import fetch as fetch_music
from studio.inference import transfer
from studio.inference.downloads import Downloads
from studio.inference.hub import fetch, list_files
from studio.inference.transfer import DownloadFailed, OnTransfer, RemoteFile, Transfer, download
from studio.inference.variants import Where
from studio.jobs.database import connect
from studio.jobs.execution import Executor
from studio.jobs.job import Request, State
from studio.jobs.reuse import completed_before
from studio.jobs.runner import JobRunner
from studio.jobs.store import JobStore
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import fetch as fetch_demucs
from studio.transcription.catalogue import FASTER_WHISPER, WhisperCatalogue
from studio.transcription.load import fetch as fetch_whisper
from tests.support.hub import Hub, serving
from tests.support.server import ROOT
from tests.support.storage import disk_storage, publish, upload_to
from tests.support.threads import no_more_threads

CONTENT = os.urandom(1_000_000)
REPOSITORY = "someone/thing"


class Stopped(Exception):
    pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one file, and an empty cache."""
    with serving(Hub({f"{REPOSITORY}/weights.bin": CONTENT})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


def remote(hub: Hub, folder: Path, checksum: str | None = None, size_bytes: int = 0) -> RemoteFile:
    return RemoteFile(
        f"{hub.url}/{REPOSITORY}/resolve/main/weights.bin",
        folder / "weights.bin",
        size_bytes or len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest() if checksum is None else checksum,
    )


def stop_after(bytes_: int) -> OnTransfer:
    def on_transfer(so_far: Transfer) -> None:
        if so_far.done_bytes >= bytes_:
            raise Stopped

    return on_transfer


def sent(hub: Hub) -> int:
    return hub.sent_bytes[f"{REPOSITORY}/weights.bin"]


def test_a_download_is_measured(hub: Hub, tmp_path: Path) -> None:
    seen: list[Transfer] = []
    file = remote(hub, tmp_path)
    download([file], seen.append)
    assert file.path.read_bytes() == CONTENT
    assert not file.unfinished.exists()
    amounts = [one.done_bytes for one in seen]
    assert amounts == sorted(amounts)
    assert (amounts[0], amounts[-1]) == (0, len(CONTENT))
    assert {one.total_bytes for one in seen} == {len(CONTENT)}
    download([file], seen.append)
    assert sent(hub) == len(CONTENT), "complete files are not downloaded again"


def test_a_broken_connection_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.break_after_bytes = 600_000
    file = remote(hub, tmp_path)
    download([file], lambda _: None)
    assert file.path.read_bytes() == CONTENT
    assert len(hub.downloaded) == 2
    assert sent(hub) < 1.2 * len(CONTENT)


def test_a_connection_that_delivers_nothing_is_given_up(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RETRY_S", 0.0)
    hub.break_after_bytes = 0
    file = remote(hub, tmp_path)
    file.unfinished.write_bytes(CONTENT[:500_000])
    with pytest.raises(DownloadFailed, match=r"interrupted .*RemoteProtocolError.* next attempt"):
        download([file], lambda _: None)
    assert file.unfinished.stat().st_size == 500_000


@pytest.mark.parametrize("present_bytes", [0, 500_000, len(CONTENT)])
@pytest.mark.parametrize("takes_ranges", [True, False])
def test_a_server_that_answers_with_something_shorter_is_given_up(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    present_bytes: int,
    takes_ranges: bool,
) -> None:
    """As proxies answer with a page that says why a file is blocked."""
    monkeypatch.setattr(transfer, "RETRY_S", 0.0)
    hub.takes_ranges = takes_ranges
    file = remote(hub, tmp_path, size_bytes=2_000_000)
    file.unfinished.write_bytes(CONTENT[:present_bytes])

    def on_transfer(_: Transfer) -> None:
        if len(hub.downloaded) > 20:
            raise Stopped

    with pytest.raises(DownloadFailed, match=r"the server sent [\d,]+ of [\d,]+ bytes of http"):
        download([file], on_transfer)
    kept_bytes = len(CONTENT) if present_bytes and takes_ranges else 0
    assert file.unfinished.stat().st_size == kept_bytes


@pytest.mark.parametrize("takes_ranges", [True, False])
def test_a_stopped_download_is_resumed(hub: Hub, tmp_path: Path, takes_ranges: bool) -> None:
    hub.takes_ranges = takes_ranges
    file = remote(hub, tmp_path)
    file.unfinished.write_bytes(CONTENT[:700_000])
    with pytest.raises(Stopped):
        download([file], stop_after(len(CONTENT) - 1))
    assert not file.path.exists()
    kept_bytes = file.unfinished.stat().st_size
    seen: list[Transfer] = []
    download([file], seen.append)
    assert seen[0].done_bytes == kept_bytes
    assert file.path.read_bytes() == CONTENT
    if takes_ranges:
        assert sent(hub) < 0.5 * len(CONTENT)


def test_a_damaged_beginning_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    """As a power cut may leave it."""
    file = remote(hub, tmp_path)
    file.unfinished.write_bytes(bytes(500_000))
    download([file], lambda _: None)
    assert file.path.read_bytes() == CONTENT


def test_a_file_with_a_wrong_checksum_is_discarded(hub: Hub, tmp_path: Path) -> None:
    file = remote(hub, tmp_path, checksum="12345678")
    with pytest.raises(DownloadFailed, match=r"checksum of http.*weights.bin is wrong"):
        download([file], lambda _: None)
    assert not file.path.exists()
    assert not file.unfinished.exists()


def test_checksums_of_git_are_known(hub: Hub, tmp_path: Path) -> None:
    name = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()
    download([remote(hub, tmp_path / "right", checksum=name)], lambda _: None)
    with pytest.raises(DownloadFailed, match="checksum"):
        download([remote(hub, tmp_path / "wrong", checksum="0" * 40)], lambda _: None)


def test_a_file_is_not_larger_than_declared(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="larger than its declared size"):
        download([remote(hub, tmp_path, size_bytes=300_000)], lambda _: None)


def test_a_download_that_does_not_fit_on_the_disk_is_not_started(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="MB are free"):
        download([remote(hub, tmp_path, size_bytes=1 << 60)], lambda _: None)
    assert hub.downloaded == []


def test_a_cache_that_cannot_be_written_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is retried, as a download is. A superuser may write everywhere but below a file."""
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    reason = rf"{blocked}\S* cannot be written \((Not a directory|File exists)\)"
    with pytest.raises(DownloadFailed, match=reason):
        download([remote(hub, blocked)], lambda _: None)
    with pytest.raises(DownloadFailed, match=reason):
        fetch(REPOSITORY, ["weights.bin"], lambda _: None, blocked)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(blocked))
    catalogue = WhisperCatalogue(tmp_path, tmp_path, tmp_path, FASTER_WHISPER)
    hub.files["Systran/faster-whisper-tiny/model.bin"] = CONTENT
    with pytest.raises(WeightsMissing, match="cannot be written"):
        fetch_whisper(catalogue, "tiny", lambda _: None)


def test_a_disk_that_becomes_full_is_no_failed_download(hub: Hub, tmp_path: Path) -> None:
    file = remote(hub, tmp_path)
    file.unfinished.symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=rf"the disk of {tmp_path} is full"):
        download([file], lambda _: None)


def test_files_of_the_hub_are_where_its_library_finds_them(hub: Hub, tmp_path: Path) -> None:
    hub.files[f"{REPOSITORY}/../evil.bin"] = b""
    assert list_files(REPOSITORY, ["*.bin"]) == ["weights.bin"]
    [path] = fetch(REPOSITORY, ["weights.bin"], lambda _: None)
    assert path.read_bytes() == CONTENT
    from huggingface_hub import try_to_load_from_cache

    cache = tmp_path / "cache"
    assert try_to_load_from_cache(REPOSITORY, "weights.bin", cache_dir=cache) == str(path)
    with pytest.raises(DownloadFailed, match="HfHubHTTPError"):
        fetch(REPOSITORY, ["absent.bin"], lambda _: None)


def test_a_request_joins_its_job_before_and_after_the_download(hub: Hub, tmp_path: Path) -> None:
    """Weights that the operator has added may be others, so they do not have its result."""
    bundled = ROOT / "pretrained" / "whisper-mini" / "ctranslate2"
    hub.add("Systran/faster-whisper-base", bundled)
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    store.open()
    runner = JobRunner(store, Executor(store, {}, lambda _: None), workers=0, max_queued=9)
    config = Config.load({"MODEL_DIR": str(tmp_path / "models")}, dotenv=None)
    models = Models(config, storage, store)
    upload = upload_to(storage)

    def requested() -> Request:
        return models.request("whisper", upload, {"model_variant": "base"})

    job = runner.submit(requested())
    assert runner.submit(requested()).job_id == job.job_id
    models.get("whisper").fetch("base", lambda _: None)
    assert requested().fingerprint != job.request.fingerprint
    assert runner.submit(requested()).job_id == job.job_id
    publish(storage, upload, job.job_id, transcription=b"{}")
    assert store.finish(job, State.COMPLETED, result={"duration_s": 1.0})
    found = completed_before(store, storage, requested(), owner=None)
    assert found is not None and found.job_id == job.job_id
    shutil.copytree(bundled, tmp_path / "models" / "whisper" / "base")
    assert completed_before(store, storage, requested(), owner=None) is None
    store.close()


def test_two_jobs_that_need_the_same_weights_share_one_download() -> None:
    downloads = Downloads()
    began, go_on = Event(), Event()
    runs: list[str] = []
    seen: list[Transfer] = []

    def work(on_transfer: OnTransfer) -> None:
        runs.append("run")
        on_transfer(Transfer(1, 2))
        began.set()
        assert go_on.wait(60)
        on_transfer(Transfer(2, 2))

    first = Thread(target=downloads.run, args=("a", work, lambda _: None))
    first.start()
    assert began.wait(60)

    def second_sees(so_far: Transfer) -> None:
        seen.append(so_far)
        go_on.set()

    downloads.run("a", work, second_sees)
    first.join(60)
    assert runs == ["run"]
    assert (seen[0], seen[-1]) == (Transfer(1, 2), Transfer(2, 2))


def test_a_download_continues_until_no_thread_waits() -> None:
    downloads = Downloads()
    stays, leave, ended = Event(), Event(), Event()
    steps: list[int] = []

    def work(on_transfer: OnTransfer) -> None:
        try:
            for number in range(10**9):
                on_transfer(Transfer(number, 10**9))
                steps.append(number)
                leave.wait(0.01)
        finally:
            ended.set()

    def wait_a_little(_: Transfer) -> None:
        if stays.is_set():
            raise Stopped

    def wait_longer(_: Transfer) -> None:
        stays.set()
        if leave.is_set():
            raise Stopped

    def stay() -> None:
        with pytest.raises(Stopped):
            downloads.run("a", work, wait_longer)

    staying = Thread(target=stay)
    staying.start()
    with pytest.raises(Stopped):
        downloads.run("a", work, wait_a_little)
    assert not ended.is_set()
    leave.set()
    staying.join(60)
    assert ended.wait(60)


def test_an_error_is_raised_and_the_next_call_tries_again() -> None:
    downloads = Downloads()

    def fail(_: OnTransfer) -> None:
        raise DownloadFailed("no luck")

    with pytest.raises(DownloadFailed, match="no luck"):
        downloads.run("a", fail, lambda _: None)
    downloads.run("a", lambda on_transfer: on_transfer(Transfer(1, 1)), lambda _: None)


def test_a_download_without_a_thread_fails_and_the_next_call_tries_again() -> None:
    downloads = Downloads()

    def one(on_transfer: OnTransfer) -> None:
        on_transfer(Transfer(1, 1))

    def stop_if_nothing_happens(so_far: Transfer) -> None:
        if so_far != Transfer(1, 1):
            raise Stopped

    with no_more_threads(), pytest.raises(RuntimeError, match="can't start"):
        downloads.run("a", one, lambda _: None)
    downloads.run("a", one, stop_if_nothing_happens)


def test_releases_are_downloaded(hub: Hub, tmp_path: Path, weights: Path) -> None:
    """Each model's default variant, from files of small models under the names of the release."""
    bundled = ROOT / "pretrained"
    hub.add("Systran/faster-whisper-base", bundled / "whisper-mini" / "ctranslate2")
    hub.add("facebook/musicgen-small", bundled / "musicgen-mini")
    network = (weights / "demucs" / "swift0.safetensors").read_bytes()
    hub.files["adefossez/HTDemucs/htdemucs.yaml"] = b"models: [swift0]"
    hub.files["adefossez/HTDemucs/swift0.safetensors"] = network
    demucs = DemucsCatalogue(tmp_path, tmp_path / "none")
    whisper = WhisperCatalogue(tmp_path, tmp_path / "none", tmp_path, FASTER_WHISPER)
    musicgen = MusicGenCatalogue(tmp_path, tmp_path / "none")
    seen: list[Transfer] = []
    fetch_demucs(demucs, "htdemucs", lambda _: None, seen.append)
    assert seen[-1] == Transfer(len(network), len(network))
    fetch_whisper(whisper, "base", seen.append)
    fetch_music(musicgen, "small", seen.append)
    assert demucs.find("htdemucs").where is Where.DOWNLOADED
    assert whisper.find("base").where is Where.DOWNLOADED
    assert musicgen.find("small").where is Where.DOWNLOADED
    assert "README.md" not in hub.downloaded
    with pytest.raises(WeightsMissing, match="'tiny' are not on this machine"):
        fetch_whisper(whisper, "tiny")
