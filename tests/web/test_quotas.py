"""How much all uploads and results together may take."""

import time
from pathlib import Path

import pytest

from studio.errors import DiskFull
from tests.support.impatient import KNOWN_FOR_S
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.storage import disk_storage

# After this, an impatient server counts again what is stored.
COUNTED_S = 2 * KNOWN_FOR_S


def test_a_quota_on_all_that_is_stored(tmp_path: Path) -> None:
    uploads, outputs = tmp_path / "uploads", tmp_path / "outputs"
    storage = disk_storage(uploads, outputs, max_bytes=100_000)
    storage.open()
    storage.check_space(100_000)
    with pytest.raises(DiskFull, match="0 MB"):
        storage.check_space(100_001)
    incoming = storage.receive()
    incoming.write(bytes(60_000))
    upload = storage.accept(incoming, "song.wav", "wav", None)
    fresh = disk_storage(uploads, outputs, max_bytes=100_000)
    assert fresh.used_bytes() > 60_000
    fresh.check_space(30_000)
    with pytest.raises(DiskFull, match="DELETE /cleanup"):
        fresh.check_space(40_000)
    fresh.remove(upload.file_id)
    assert disk_storage(uploads, outputs).used_bytes() == 0


def test_shared_results_count_once(tmp_path: Path) -> None:
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    (tmp_path / "outputs" / "one").write_bytes(bytes(50_000))
    (tmp_path / "outputs" / "two").hardlink_to(tmp_path / "outputs" / "one")
    assert storage.used_bytes() == 50_000


def test_a_quota_refuses_uploads_and_jobs(tmp_path: Path, weights: Path) -> None:
    # 1.8 MB. The database counts as well.
    song = write_wav(tmp_path / "song.wav", noise(10.0))
    server = Server(
        tmp_path / "server", MODEL_DIR=weights, DEMUCS_MODEL="swift", MAX_STORED_BYTES=3_000_000
    )
    server.folder.mkdir()
    server.start(application="tests.support.impatient:create_app()")
    try:
        file_id = server.upload(song)
        time.sleep(COUNTED_S)
        with open(song, "rb") as file:
            answer = server.post("/upload", files={"file": file})
        assert_problem(answer, "disk_full", "the limit is 3 MB")
        assert server.process(file_id).status_code == 202
        assert server.wait(file_id)["error"]["code"] == "disk_full"
        assert server.delete(f"/cleanup/{file_id}").status_code == 200
        time.sleep(COUNTED_S)
        assert server.upload(song)
    finally:
        server.stop_later()


@pytest.mark.slow
def test_formats_made_at_download_keep_the_quota(tmp_path: Path, weights: Path) -> None:
    quota_bytes = 6_000_000
    song = write_wav(tmp_path / "song.wav", noise(3.0))
    server = Server(
        tmp_path / "server", MODEL_DIR=weights, DEMUCS_MODEL="swift", MAX_STORED_BYTES=quota_bytes
    )
    server.folder.mkdir()
    server.start()
    try:
        file_id = server.separate(song)
        stems = ("drums", "bass", "other", "vocals")
        refused = made = 0
        for track in (*stems, *(f"no_{stem}" for stem in stems), "instrumental"):
            for audio_format in ("wav", "flac", "mp3", "ogg"):
                answer = server.get(f"/download/{file_id}/{track}?format={audio_format}")
                if answer.status_code != 200:
                    assert_problem(answer, "disk_full", "the limit is 6 MB")
                    refused += 1
                else:
                    made += 1
        assert made > len(stems)
        assert refused
        files = [path for root in (server.uploads, server.outputs) for path in root.rglob("*")]
        assert sum(path.stat().st_size for path in files if path.is_file()) <= quota_bytes
        # Existing files can still be downloaded.
        for stem in stems:
            assert server.get(f"/download/{file_id}/{stem}?format=wav").status_code == 200
    finally:
        server.stop()
