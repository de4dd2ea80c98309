"""A web server and a worker without a common disk: PostgreSQL and an object store connect them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.services.postgres import Postgres, find_binaries
from tests.support.object_store import object_store
from tests.support.server import ROOT, Server, noise, until, write_wav

pytestmark = [
    pytest.mark.s3,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.skipif(find_binaries() is None, reason="needs PostgreSQL"),
]


def test_a_song_goes_from_one_machine_to_the_other_and_back(tmp_path: Path) -> None:
    postgres = Postgres().start()
    web_folder, worker_folder = tmp_path / "web", tmp_path / "worker"
    for folder in (web_folder, worker_folder):
        folder.mkdir()
    try:
        with object_store(tmp_path / "store") as store:
            shared = {"DATABASE_URL": postgres.new_database("studio"), **store.settings("studio")}
            web = Server(web_folder, ROLE="web", **shared)
            environment = {
                **os.environ,
                **shared,
                "ROLE": "worker",
                "UPLOAD_FOLDER": str(worker_folder / "uploads"),
                "OUTPUT_FOLDER": str(worker_folder / "outputs"),
                "MODEL_DIR": str(worker_folder / "weights"),
                "DEMUCS_MODEL": "mini",
                "MIN_FREE_BYTES": "0",
            }
            web.start()
            with open(worker_folder / "worker.log", "ab") as log:
                worker = subprocess.Popen(
                    [sys.executable, "background.py"],
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            try:
                song = write_wav(tmp_path / "song.wav", noise(2.0))
                file_id = web.upload(song)
                assert web.post(f"/process/demucs/{file_id}").status_code == 202
                until(lambda: web.get(f"/status/{file_id}").json()["status"] == "completed")
                for query in ("", "?format=mp3"):
                    answer = web.get(f"/download/{file_id}/vocals{query}")
                    assert answer.status_code == 200 and len(answer.content) > 1_000
                # Nothing of the job is on the machine of the web server but what it has sent.
                assert not (web.outputs / file_id).exists()
                # A second upload of the same song has the same objects.
                again = web.upload(song)
                assert web.post(f"/process/demucs/{again}").json()["status"] == "completed"
                assert not store.bucket("studio").infos(f"results/{again}/")
                assert web.delete(f"/cleanup/{file_id}").status_code == 200
                assert web.get(f"/download/{again}/vocals").status_code == 200
            finally:
                worker.terminate()
                worker.wait(60)
                web.kill()
    finally:
        postgres.remove()
