"""Two live nodes behind nginx: connections stay with their node, until it dies."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import socketio
import websocket
from flask import Flask

from scripts.nginx_site import LIVE
from scripts.services.postgres import Postgres
from studio.concurrency import ConcurrencyLimit
from studio.transcription.live.scheduler import Scheduler
from studio.web.access import Access
from studio.web.live import jobs as live_jobs
from studio.web.live import server as live_server
from tests.support.cluster import Cluster
from tests.support.hearing import LIMITS
from tests.support.live_client import Client, finals
from tests.support.proxy import Proxy, before_several
from tests.support.server import WAIT_S, Server
from tests.support.speech import MAX_WRONG_ELSEWHERE, Spoken, wrong

CLIENTS = 12
POLL = "/socket.io/?EIO=4&transport=polling"


def node_of(connection: str) -> str:
    """The node of a connection ID."""
    return connection.partition(".")[0]


def test_the_name_of_the_node_begins_connection_ids() -> None:
    app = Flask("node")
    scheduler = Scheduler(NotImplemented, ConcurrencyLimit(1, 0))
    live = live_server.Live(scheduler, LIMITS, "mini", NotImplemented, node="live-7")
    live_server.add(app, live, Access(frozenset(), "*"))
    answer = app.test_client().get(POLL)
    # The first character of a packet is its type.
    assert node_of(json.loads(answer.text[1:])["sid"]) == "live-7"


@dataclass
class Studio:
    """A web server and the live nodes by name, behind nginx."""

    web: Server
    nodes: dict[str, Server]
    proxy: Proxy

    def connect(self, transport: str) -> Client:
        client = Client(self.proxy, transport, self.proxy.certificate, reconnection=True)
        client.greeting()
        return client


@pytest.fixture(scope="module")
def studio(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Path,
    certificate: Path,
    postgresql: Postgres,
) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    # A node has room for all clients, should the other one die.
    cluster = Cluster(folder, postgresql, weights, WHISPER_MODEL="mini", LIVE_SESSIONS=CLIENTS)
    with ExitStack() as started:
        started.callback(cluster.stop)
        nodes = {name: cluster.live(name) for name in LIVE}
        web = cluster.web()
        ports = {name: node.port for name, node in nodes.items()}
        proxy = before_several(folder / "nginx", certificate, web.port, ports)
        started.callback(proxy.stop)
        yield Studio(web, nodes, proxy.start())


@pytest.mark.nginx
@pytest.mark.postgres
@pytest.mark.slow
def test_live_nodes_have_the_live_connections(studio: Studio, short_wav: Path) -> None:
    """The Realtime API and the progress of jobs too; web servers have none."""
    for path in (POLL, "/v1/realtime?intent=transcription"):
        assert studio.web.get(path).status_code == 404
    realtime = websocket.create_connection(
        f"wss://127.0.0.1:{studio.proxy.port}/v1/realtime?intent=transcription",
        sslopt={"ca_certs": str(studio.proxy.certificate)},
        timeout=WAIT_S,
    )
    assert json.loads(realtime.recv())["type"] == "session.created"
    realtime.close()
    file_id = studio.web.upload(short_wav)
    job_id = studio.web.process(file_id).json()["job_id"]
    with socketio.SimpleClient() as page:
        url = next(iter(studio.nodes.values())).url
        page.connect(url, namespace=live_jobs.PATH, transports=["websocket"], wait_timeout=WAIT_S)
        page.call("subscribe", {"file_ids": [file_id]}, timeout=WAIT_S)
        statuses = [page.receive(timeout=WAIT_S)[1]["status"]]
        assert studio.web.post(f"/cancel/{file_id}").status_code == 200
        while statuses[-1] != "canceled":
            # A queued job is sent again once the node knows that no worker runs.
            event = page.receive(timeout=WAIT_S)[1]
            assert event["job_id"] == job_id
            statuses.append(event["status"])
    assert set(statuses) == {"queued", "canceled"}


@pytest.mark.nginx
@pytest.mark.postgres
@pytest.mark.slow
def test_clients_of_a_dead_node_go_on_with_another(studio: Studio, recording: Spoken) -> None:
    with ExitStack() as open_clients:
        clients = [
            open_clients.enter_context(studio.connect(transport))
            for transport in ["polling"] * (CLIENTS // 2) + ["websocket"] * (CLIENTS // 2)
        ]
        homes = [node_of(client.socket.eio.sid) for client in clients]
        assert set(homes) == set(LIVE)
        check_all_are_understood(clients, recording)
        dead, alive = LIVE
        for client in clients:
            client.say(recording.part(0, 1))
            # The node has it.
            client.call("keepalive")
        studio.nodes[dead].kill()
        for client, home in zip(clients, homes, strict=True):
            if home == dead:
                client.until("disconnect")
                # They arrive in any order.
                missing = {"connect", "connected"}
                while missing:
                    missing.discard(client.next()[0])
                assert node_of(client.socket.eio.sid) == alive
        for client in clients:
            client.say(recording.part(1, 2))
            client.emit("finish")
        for client, home in zip(clients, homes, strict=True):
            events = client.until("finished")
            assert "disconnect" not in [name for name, _ in events]
            kept = recording.sentences[1 if home == dead else 0 : 2]
            assert wrong(" ".join(kept), events[-1][1]["text"]) <= MAX_WRONG_ELSEWHERE


def check_all_are_understood(clients: list[Client], recording: Spoken) -> None:
    """All speak at once, and each one gets its final texts."""
    for client in clients:
        client.say(recording.part(0, 2))
        client.emit("finish")
    for client in clients:
        events = client.until("finished")
        text = " ".join(one["transcription"] for one in finals(events))
        assert wrong(" ".join(recording.sentences[:2]), text) <= MAX_WRONG_ELSEWHERE
