"""Web servers that are killed while a file arrives or is stored, and while a webhook is sent."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest
import requests
from sqlalchemy import text

from bench.scale_kills import PREFIX, Ledger, Outcome
from scripts.services.object_store import ObjectStore
from scripts.services.postgres import Postgres
from studio.jobs.database import connect
from tests.support.cluster import Cluster
from tests.support.object_store import object_store
from tests.support.receiver import SECRET, Receiver
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav

pytestmark = [pytest.mark.postgres, pytest.mark.s3, pytest.mark.slow]


@dataclass
class Studio:
    cluster: Cluster
    store: ObjectStore
    one: Server
    two: Server
    song: Path

    def restart(self, server: Server) -> None:
        server.start(application=self.cluster.application)

    def ledger(self, outcome: Outcome) -> Ledger:
        return Ledger(self.cluster.postgres, self.store, outcome)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("kills")
    with ExitStack() as started:
        store = started.enter_context(object_store(folder / "store"))
        postgres = Postgres()
        started.callback(postgres.remove)
        cluster = Cluster(
            folder,
            postgres.start(),
            folder / "weights",
            store.settings(PREFIX),
            module="bench.sleeping",
            DEMUCS_MODEL="mini",
            WEBHOOK_SECRET=SECRET,
            WEBHOOK_ALLOW_PRIVATE="true",
        )
        started.callback(cluster.stop)
        song = write_wav(folder / "song.wav", noise(6.0))
        yield Studio(cluster, store, cluster.web(), cluster.web(), song)


def send_upload(server: Server, song: Path, share: float) -> HTTPConnection:
    """Send a share of the request that uploads a song, and do not wait for the answer."""
    files = {"file": (song.name, song.read_bytes())}
    prepared = requests.Request("POST", server.url, files=files).prepare()
    assert isinstance(prepared.body, bytes)
    caller = HTTPConnection("127.0.0.1", server.port)
    caller.putrequest("POST", "/upload")
    for name, value in prepared.headers.items():
        caller.putheader(name, value)
    caller.endheaders(prepared.body[: round(share * len(prepared.body))])
    return caller


def incoming(server: Server) -> list[Path]:
    return list((server.uploads / ".incoming").iterdir())


def test_a_file_that_was_arriving_is_gone(studio: Studio) -> None:
    with closing(send_upload(studio.one, studio.song, 0.5)):
        until(lambda: any(path.stat().st_size for path in incoming(studio.one)))
        studio.one.kill()
    studio.restart(studio.one)
    assert incoming(studio.one) == []
    assert studio.store.bucket(PREFIX).infos("uploads/") == {}


def test_a_file_that_has_no_row_yet_is_swept(studio: Studio, tmp_path: Path) -> None:
    """The server is killed when it has stored the file, and waits to insert the row."""
    bucket, outcome = studio.store.bucket(PREFIX), Outcome()
    engine = connect(studio.cluster.postgres.url)
    with engine.begin() as other:
        other.execute(text("LOCK TABLE uploads IN EXCLUSIVE MODE"))
        with closing(send_upload(studio.one, studio.song, 1.0)):
            until(lambda: bucket.infos("uploads/"))
            studio.one.kill()
    engine.dispose()
    studio.restart(studio.one)
    # The client sends it again, to the other server.
    again = studio.two.upload(studio.song)
    with closing(studio.ledger(outcome)) as ledger:
        ledger.sweep(tmp_path)
    assert (outcome.problems, outcome.swept) == ([], 1)
    assert list(bucket.infos("uploads/")) == [f"uploads/{again}/source.wav"]


def test_a_webhook_is_sent_again_with_its_id(studio: Studio) -> None:
    """The keeper dies before it knows the answer, and the server that took the job as well."""
    outcome, go = Outcome(), Event()
    keeper = studio.cluster.start("keeper")
    studio.cluster.start("worker")
    with Receiver(go=go) as receiver:
        file_id = studio.two.upload(studio.song)
        options = {"seconds": 0.0, "webhook": receiver.url}
        job_id = studio.two.post(f"/process/sleep/{file_id}", json=options).json()["job_id"]
        first = receiver.next()
        studio.two.kill()
        keeper.kill()
        go.set()
        studio.cluster.start("keeper")
        again = receiver.next()
        assert again.verified()["data"]["job_id"] == job_id
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        with closing(studio.ledger(outcome)) as ledger:
            ledger.wait_for_webhooks()
        assert outcome.problems == [] and receiver.got.empty()
    studio.restart(studio.two)
    assert studio.two.wait(file_id)["status"] == "completed"
