"""docker-compose.scale.yml, as far as it can be tested without Docker."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
import yaml

from config import Config
from production import refusals
from scripts import nginx_site
from studio.jobs.database import MAX_CONNECTIONS
from tests.support.listening import listening
from tests.support.object_store import object_store
from tests.support.proxy import before_several
from tests.support.server import ROOT

SERVICES = yaml.safe_load((ROOT / "docker-compose.scale.yml").read_text())["services"]
ROLES = ("web", *nginx_site.LIVE, "worker", "worker-gpu", "keeper")
OURS = (*ROLES, "bucket")
DOT_ENV = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "POSTGRES_PASSWORD": "fedcba9876543210",
}


def settings(name: str, **dot_env: str) -> dict[str, str]:
    """The environment of a service, with the variables of .env filled in as Compose does it."""

    def value(found: re.Match[str]) -> str:
        variable, operator, rest = found.groups()
        given = {**DOT_ENV, **dot_env}.get(variable)
        if operator == ":?":
            assert given, rest
        return rest if given is None or (given == "" and operator == ":-") else given

    pattern = re.compile(r"\$\{(\w+)(?:(:\?|:-|-)(.*?))?\}")
    return {key: pattern.sub(value, str(one)) for key, one in SERVICES[name]["environment"].items()}


@pytest.mark.parametrize("name", ROLES)
def test_the_settings_of_a_role(name: str, tmp_path: Path) -> None:
    given = settings(name)
    config = Config.load(given, None)
    for key, text in given.items():
        if key not in ("ROLE", "WORKER_QUEUES"):
            assert str(getattr(config, key)) == text
    assert name.partition("-")[0] == config.ROLE
    assert ("gpu" in config.WORKER_QUEUES) == (name == "worker-gpu")
    folders = {key: str(tmp_path) for key in ("UPLOAD_FOLDER", "OUTPUT_FOLDER", "MODEL_DIR")}
    assert refusals(Config.load({**given, **folders}, None)) == []
    assert SERVICES[name].get("deploy", {}).get("replicas", 1) == (
        2 if name in ("web", "worker") else 1
    )


def test_an_outside_store_replaces_the_one_in_the_file() -> None:
    outside = {"STORAGE_URL": "s3://songs/here", "STORAGE_ENDPOINT": ""}
    given = settings("web", **outside)
    assert {key: given[key] for key in outside} == outside
    assert SERVICES["object-store"]["profiles"] == SERVICES["bucket"]["profiles"] == ["store"]
    for name in ("web", "worker", "keeper"):
        assert SERVICES[name]["depends_on"]["bucket"]["required"] is False


def test_the_services_fit_each_other() -> None:
    database = settings("web")["DATABASE_URL"]
    assert database == "postgresql+psycopg://studio:fedcba9876543210@postgres/studio"
    assert settings("web")["STORAGE_ENDPOINT"] == "http://object-store:8080"
    assert SERVICES["object-store"]["command"][:2] == ["--port", ":8080"]
    arguments = (ROOT / "Dockerfile.simple").read_text()
    for name in OURS:
        service = SERVICES[name]
        assert service["env_file"] == ".env"
        for argument in service["build"]["args"]:
            assert f"\nARG {argument}\n" in arguments
        assert service["build"]["args"]["SCALE"] == "1"
        assert ("GPU" in service["build"]["args"]) == (name == "worker-gpu")
    for name in ("web", *nginx_site.LIVE):
        assert f"server {name}:8000;" in nginx_site.SCALE.read_text()
        assert SERVICES[name]["expose"] == ["8000"]
        assert SERVICES["nginx"]["depends_on"][name]["condition"] == "service_healthy"
    assert all(settings(name)["NODE"] == name for name in nginx_site.LIVE)
    assert "./nginx/scale.conf:/etc/nginx/nginx.conf:ro" in SERVICES["nginx"]["volumes"]
    assert [name for name, one in SERVICES.items() if "ports" in one] == ["nginx"]


def test_the_database_takes_the_connections_of_all_processes() -> None:
    """Also with the worker for a GPU and twice as many others; the default is 100."""
    *_, option = SERVICES["postgres"]["command"]
    replicas = [SERVICES[name].get("deploy", {}).get("replicas", 1) for name in ROLES]
    processes = sum(replicas) + 2
    # Besides its pool, a worker has those of Procrastinate, and each process listens.
    assert int(option.removeprefix("max_connections=")) > processes * (MAX_CONNECTIONS + 5)


def test_the_nginx_configuration_is_made_from_the_other() -> None:
    assert nginx_site.SCALE.read_text("utf-8") == nginx_site.content_for_several()


@contextmanager
def named_server(name: str) -> Iterator[int]:
    """A server that answers every request with its name; its port."""

    class Named(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(name.encode())

    with listening(Named) as port:
        yield port


@pytest.mark.nginx
def test_nginx_finds_the_node_of_a_connection(tmp_path: Path, certificate: Path) -> None:
    with ExitStack() as started, ExitStack() as second:
        web, live_1 = (started.enter_context(named_server(name)) for name in ("web", "live-1"))
        ports = {"live-1": live_1, "live-2": second.enter_context(named_server("live-2"))}
        proxy = before_several(tmp_path / "nginx", certificate, web, ports)
        started.callback(proxy.stop)
        proxy.start()

        def get(path: str) -> requests.Response:
            return requests.get(proxy.url + path, verify=str(certificate), timeout=60)

        poll = "/socket.io/?EIO=4&transport=polling"
        assert {get(path).text for path in ("/", "/v1/models", "/jobs")} == {"web"}
        assert {get(poll).text for _ in range(2)} == {"live-1", "live-2"}
        assert get("/v1/realtime?intent=transcription").text in ports
        for node in [*ports, *ports]:
            assert get(f"{poll}&sid={node}.abc").text == node
        assert get(f"{poll}&sid=live-10.abc").text in ports
        second.close()
        assert get(f"{poll}&sid=live-2.abc").status_code == 502
        assert {get(poll).text for _ in range(2)} == {"live-1"}


@pytest.mark.s3
@pytest.mark.slow
def test_the_bucket_is_made_once(tmp_path: Path) -> None:
    with object_store(tmp_path / "store") as store:
        where = {"STORAGE_URL": "s3://other/files", "STORAGE_ENDPOINT": store.url}
        program, *arguments = SERVICES["bucket"]["command"]
        assert program == "python"
        for _ in range(2):
            command = [sys.executable, *arguments]
            done = subprocess.run(command, env={**os.environ, **where}, timeout=60, check=False)
            assert done.returncode == 0
        store.bucket("").check()
