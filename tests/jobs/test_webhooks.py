"""Webhooks: who gets a message when a job ends, how it is signed, and that none is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import standardwebhooks

from scripts.services.children import free_port
from studio.jobs import webhooks
from studio.jobs.job import State
from studio.jobs.webhooks import signature
from tests.support.problems import assert_problem
from tests.support.receiver import SECRET, Receiver
from tests.support.server import Server, until
from tests.support.sounds import noise, write_wav
from tests.support.threads import no_more_threads
from tests.support.webhooks import WebhookBench

SLOW: dict[str, Any] = {"shifts": 20, "overlap": 0.75}


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """A server that may tell receivers on this machine."""
    server = Server(
        tmp_path_factory.mktemp("telling"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        WEBHOOK_SECRET=SECRET,
        WEBHOOK_ALLOW_PRIVATE="true",
    ).start()
    yield server
    server.stop_later()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WebhookBench]:
    bench = WebhookBench(tmp_path)
    yield bench
    bench.close()


def test_a_signature_of_the_standard() -> None:
    """The library of Standard Webhooks makes the same."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(1_614_265_330, UTC)
    body = '{"test": "ünicode"}'
    expected = standardwebhooks.Webhook(SECRET).sign("msg_1", moment, body)
    assert signature(SECRET, "msg_1", 1_614_265_330, body.encode()) == expected


def test_the_end_of_a_job_is_told(telling: Server, short_wav: Path) -> None:
    with Receiver() as receiver:
        file_id = telling.upload(short_wav)
        job = telling.process(file_id, webhook=receiver.url).json()
        assert "webhook" not in job["options"]
        delivery = receiver.next()
        told = delivery.verified()
        assert told["type"] == "job.completed"
        assert told["data"] == telling.get(f"/status/{file_id}").json()["jobs"][0]
        assert told["timestamp"] == told["data"]["finished_at"]
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["host"] == f"127.0.0.1:{receiver.port}"
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            delivery.verified("whsec_" + "QUJD" * 8)
        # What is answered from results that are there is told at once.
        assert telling.process(file_id, webhook=receiver.url).status_code == 200
        again = receiver.next()
        assert again.verified()["data"]["job_id"] == job["job_id"]
        assert again.headers["webhook-id"] != delivery.headers["webhook-id"]


def test_a_failed_and_a_canceled_job_are_told(
    telling: Server, short_wav: Path, tmp_path: Path
) -> None:
    with Receiver() as receiver:
        song = telling.upload(write_wav(tmp_path / "song.wav", noise(20.0)))
        telling.process(song, model_variant="tiny", webhook=receiver.url, **SLOW)
        waiting = telling.upload(short_wav)
        telling.process(waiting, overlap=0.3, webhook=receiver.url)
        telling.post(f"/cancel/{waiting}")
        told = receiver.next().verified()
        assert (told["type"], told["data"]["file_id"]) == ("job.canceled", waiting)
        telling.post(f"/cancel/{song}")
        assert receiver.next().verified()["type"] == "job.canceled"
        missing = telling.upload(short_wav)
        (telling.uploads / missing / "source.wav").write_bytes(b"no sound")
        telling.process(missing, overlap=0.4, webhook=receiver.url)
        told = receiver.next().verified()
        assert told["type"] == "job.failed"
        assert told["data"]["error"]["code"] == "not_audio"


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (17, "string"),
        ("", "https://"),
        ("receiver.example/told", "https://"),
        ("ftp://receiver.example", "https://"),
        ("http://", "https://"),
        ("https://user:word@receiver.example", "password"),
        ("https://receiver.example/" + "a" * 2000, "2000"),
        ("https://receiver.example/a b", "ASCII"),
        ("https://receiver.example:port/", "URL"),
    ],
)
def test_an_address_that_cannot_be_used(
    telling: Server, short_wav: Path, url: Any, names: str
) -> None:
    file_id = telling.upload(short_wav)
    answer = telling.process(file_id, webhook=url)
    assert_problem(answer, "invalid_option", "'webhook'")
    assert names in answer.json()["error"]
    assert telling.get(f"/status/{file_id}").json()["jobs"] == []


def test_private_addresses_are_refused_unless_allowed(
    tmp_path: Path, weights: Path, short_wav: Path
) -> None:
    """Also behind a name, which is looked up only when the message is sent."""
    server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="swift", WEBHOOK_SECRET=SECRET)
    server.start()
    try:
        with Receiver() as receiver:
            file_id = server.upload(short_wav)
            for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:7f00:1]"):
                answer = server.process(file_id, webhook=f"http://{host}:{receiver.port}/")
                assert_problem(answer, "invalid_option", "private or local")
            named = f"http://localhost:{receiver.port}/"
            assert server.process(file_id, webhook=named).status_code == 202
            assert server.wait(file_id)["status"] == "completed"
            until(lambda: "resolves to a private or local address" in server.log.read_text())
            assert receiver.got.empty()
    finally:
        server.stop_later()


def test_webhooks_without_a_secret_are_off(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav)
    answer = server.process(file_id, webhook="https://receiver.example")
    assert_problem(answer, "invalid_option", "WEBHOOK_SECRET")


@pytest.mark.slow
def test_the_address_of_the_server_is_told_of_every_job_and_may_be_private(
    tmp_path: Path, weights: Path, short_wav: Path
) -> None:
    with Receiver() as everything, Receiver() as own:
        settings = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_URL": everything.url}
        server = Server(tmp_path, MODEL_DIR=weights, DEMUCS_MODEL="swift", **settings).start()
        try:
            file_id = server.upload(short_wav)
            server.process(file_id)
            assert everything.next().verified()["data"]["file_id"] == file_id
            answer = server.process(file_id, overlap=0.1, webhook=own.url)
            assert_problem(answer, "invalid_option", "private or local")
            # The clients of other programs cannot name a receiver.
            files = {"file": short_wav.read_bytes()}
            answer = server.post("/audio-separator/separate", files=files)
            assert answer.status_code == 200, answer.text
            assert everything.next().verified()["data"]["model"] == "demucs"
        finally:
            server.stop()


def test_a_message_survives_a_kill(tmp_path: Path, weights: Path, short_wav: Path) -> None:
    """The job ends while nobody listens; the server is killed; then somebody does."""
    port = free_port()
    server = Server(
        tmp_path,
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        WEBHOOK_SECRET=SECRET,
        WEBHOOK_ALLOW_PRIVATE="true",
    ).start()
    try:
        file_id = server.upload(short_wav)
        server.process(file_id, webhook=f"http://127.0.0.1:{port}/")
        assert server.wait(file_id)["status"] == "completed"
        server.kill()
        # Otherwise the message is due again when the claim of the first attempt ends.
        with closing(sqlite3.connect(server.outputs / ".jobs.sqlite3")) as database, database:
            assert database.execute("UPDATE messages SET due_at = 0").rowcount == 1
        with Receiver(port=port) as receiver:
            server.start()
            told = receiver.next().verified()
            assert told["data"]["file_id"] == file_id
    finally:
        server.kill()


@pytest.mark.slow
def test_a_message_comes_with_its_job(tmp_path: Path, weights: Path, short_wav: Path) -> None:
    """The server is killed as soon as the job is stored, before anything else is."""
    with Receiver() as receiver:
        server = Server(
            tmp_path,
            MODEL_DIR=weights,
            DEMUCS_MODEL="swift",
            WEBHOOK_SECRET=SECRET,
            WEBHOOK_URL=receiver.url,
        )
        server.start(application="tests.support.dying:create_app()")
        try:
            file_id = server.upload(short_wav)
            with pytest.raises(requests.ConnectionError):
                server.process(file_id)
            server.kill()
            server.start()
            assert receiver.next().verified()["data"]["file_id"] == file_id
            # A second upload of the same song is answered from the first one's results.
            server.stop()
            server.start(application="tests.support.dying:create_app()")
            again = server.upload(short_wav)
            with pytest.raises(requests.ConnectionError):
                server.process(again)
            server.kill()
            server.start()
            # The first message is sent again if the server was stopped before it was noted as sent.
            told = {receiver.next().verified()["data"]["file_id"]}
            if again not in told:
                told.add(receiver.next().verified()["data"]["file_id"])
            assert told <= {file_id, again} and again in told
            assert receiver.got.empty()
        finally:
            server.kill()


def test_a_message_is_tried_again_under_the_same_id(bench: WebhookBench) -> None:
    with Receiver(500, 302, 204) as receiver:
        bench.end(bench.add(receiver.url))
        assert bench.webhooks.send_due() == 1
        assert bench.webhooks.send_due() == 0, "not before its time"
        bench.now += 9
        assert bench.webhooks.send_due() == 0
        bench.now += 3
        assert bench.webhooks.send_due() == 1
        bench.now += 50
        assert bench.webhooks.send_due() == 0, "the second pause is longer"
        bench.now += 100
        assert bench.webhooks.send_due() == 1
        got = [receiver.next() for _ in range(3)]
        assert len({delivery.headers["webhook-id"] for delivery in got}) == 1
        for delivery in got:
            delivery.verified()
        bench.now += 1e6
        assert bench.webhooks.send_due() == 0, "it has arrived"


def test_a_clock_that_was_far_ahead_delays_no_message(bench: WebhookBench) -> None:
    a_month_s = 30 * 86_400.0
    with Receiver(500, 204) as receiver:
        bench.end(bench.add(receiver.url))
        bench.now += a_month_s
        assert bench.webhooks.send_due() == 1
        bench.now -= a_month_s
        assert bench.webhooks.send_due() == 1
        assert bench.webhooks.send_due() == 0
        assert receiver.got.qsize() == 2


def test_after_the_last_attempt_it_is_given_up(bench: WebhookBench) -> None:
    with Receiver(500) as receiver:
        bench.end(bench.add(receiver.url))
        tries = 0
        for _ in range(6):
            tries += bench.webhooks.send_due()
            bench.now += 1e6
        assert tries == 3 == receiver.got.qsize()


def test_who_says_gone_is_not_asked_again(bench: WebhookBench) -> None:
    with Receiver(410) as receiver:
        bench.end(bench.add(receiver.url))
        assert bench.webhooks.send_due() == 1
        bench.now += 1e6
        assert bench.webhooks.send_due() == 0


def test_redirects_are_not_followed(bench: WebhookBench) -> None:
    with Receiver() as elsewhere, Receiver(307, location=elsewhere.url) as receiver:
        bench.end(bench.add(receiver.url))
        bench.webhooks.send_due()
        receiver.next()
        assert elsewhere.got.empty()


def test_only_jobs_that_have_ended_are_told(bench: WebhookBench) -> None:
    with Receiver() as receiver:
        running = bench.add(receiver.url)
        bench.end(bench.add(receiver.url), State.FAILED)
        assert bench.webhooks.send_due() == 1
        assert receiver.next().verified()["type"] == "job.failed"
        bench.end(running)
        assert bench.webhooks.send_due() == 1


def test_messages_wait_for_threads_without_losing_an_attempt(bench: WebhookBench) -> None:
    with Receiver() as receiver:
        bench.webhooks.start()
        with no_more_threads():
            job = bench.add(receiver.url)
            bench.end(job)
            bench.webhooks.wake()
            soon = bench.now + webhooks.LOOK_EVERY_S
            # It is due now, then claimed for longer than this, and then postponed.
            until(
                lambda: not bench.outbox.due(bench.now, None, 1) and bench.outbox.due(soon, None, 1)
            )
            [message] = bench.outbox.due(soon, None, 1)
            assert message.attempts == 0
        bench.now = soon
        bench.webhooks.wake()
        assert receiver.next().verified()["data"]["job_id"] == job.job_id
        bench.webhooks.stop()


def test_a_message_whose_time_cannot_be_bounded_loses_no_attempt(bench: WebhookBench) -> None:
    with Receiver() as receiver:
        job = bench.add(receiver.url)
        bench.end(job)
        with no_more_threads():
            bench.webhooks.send_due()
        assert bench.webhooks.send_due() == 0
        bench.now += webhooks.LOOK_EVERY_S
        [message] = bench.outbox.due(bench.now, None, 1)
        assert message.attempts == 0
        assert bench.webhooks.send_due() == 1
        assert receiver.next().verified()["data"]["job_id"] == job.job_id


def test_who_waits_for_messages_is_in_the_order_of_the_ends(bench: WebhookBench) -> None:
    clients = ["zoe", None, "ann", "bob"]
    jobs = [bench.add() for _ in clients]
    for client, job in zip(clients, jobs, strict=True):
        for number in range(2):
            bench.store.add_webhook(job.job_id, f"http://receiver.example/{number}", client)
    for job in reversed(jobs):
        bench.end(job)
    assert bench.outbox.clients(bench.now) == ["bob", "ann", None, "zoe"]


def test_the_same_wish_is_told_once(bench: WebhookBench) -> None:
    with Receiver() as receiver, Receiver() as other:
        bench.end(bench.add(receiver.url, receiver.url, other.url))
        assert bench.webhooks.send_due() == 2
        assert (receiver.got.qsize(), other.got.qsize()) == (1, 1)


def test_messages_about_removed_files_are_removed(bench: WebhookBench) -> None:
    with Receiver() as receiver:
        job = bench.add(receiver.url)
        bench.end(job)
        bench.store.forget_file(job.request.file_id)
        assert bench.webhooks.send_due() == 0
        bench.outbox.remove_orphans()
        assert receiver.got.empty()
