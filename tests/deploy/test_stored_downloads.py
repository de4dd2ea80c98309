"""Downloads from a real object store: nginx fetches them, or the server streams them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from scripts.services.object_store import ObjectStore
from tests.support.object_store import object_store
from tests.support.problems import assert_problem
from tests.support.proxy import Proxy
from tests.support.server import ROOT, Server

pytestmark = [pytest.mark.s3, pytest.mark.nginx, pytest.mark.slow]

STORED = (ROOT / "nginx" / "store.conf").read_text()
LIMIT = "        limit_req zone=api burst=20 nodelay;\n"
NAME = "歌 song.flac"


@dataclass(frozen=True)
class Site:
    """A server with its nginx and its object store, and the address of an upload's file."""

    store: ObjectStore
    server: Server
    proxy: Proxy
    path: str
    content: bytes

    def get(self, path: str = "", **headers: str) -> requests.Response:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str = "", **headers: str) -> requests.Response:
        certificate = str(self.proxy.certificate)
        url = self.proxy.url + (path or self.path)
        return requests.request(method, url, headers=headers, verify=certificate, timeout=60)


@pytest.fixture(scope="module", params=["nginx", "proxy"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    server = Server(folder, DOWNLOADS=request.param)
    included = folder / "store.conf"
    with object_store(folder / "store") as store:
        included.write_text(
            STORED.replace("object-store:8080", f"127.0.0.1:{store.ports['proxy']}")
        )
        server.settings |= store.settings("site")
        more = {LIMIT: f"        include {included};\n"}
        proxy = Proxy(folder / "nginx", certificate, f"127.0.0.1:{server.port}", more)
        try:
            server.start()
            proxy.start()
            content = (ROOT / "samples" / "song" / "mixture.flac").read_bytes()
            answer = requests.post(
                f"{proxy.url}/upload", files={"file": (NAME, content)}, verify=str(certificate)
            )
            path = f"/download/{answer.json()['file_id']}/original"
            yield Site(store, server, proxy, path, content)
        finally:
            proxy.stop()
            server.kill()


def test_a_file_keeps_its_name_type_and_headers(site: Site) -> None:
    answer = site.get(Origin="https://page.example")
    assert (answer.status_code, answer.history) == (200, [])
    assert answer.content == site.content
    assert answer.headers["Content-Length"] == str(len(site.content))
    assert "UTF-8''%E6%AD%8C%20song" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Type"] in ("audio/flac", "audio/x-flac")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-ID"]
    shown = str(answer.headers).lower()
    assert "signature" not in shown and "x-amz" not in shown and "x-stored" not in shown


def test_parts_conditions_and_head(site: Site) -> None:
    etag = site.get().headers["ETag"]
    part = site.get(Range="bytes=1000-1999")
    assert (part.status_code, part.content) == (206, site.content[1000:2000])
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(site.content)}"
    assert part.headers["ETag"] == etag
    last = site.get(Range="bytes=-10", **{"If-Range": etag})
    assert (last.status_code, last.content) == (206, site.content[-10:])
    changed = site.get(Range="bytes=-10", **{"If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, site.content)
    unchanged = site.get(**{"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    since = site.get(**{"If-Modified-Since": site.get().headers["Last-Modified"]})
    assert since.status_code == 304
    assert site.get(**{"If-Match": '"other"'}).status_code == 412
    beyond = site.get(Range=f"bytes={len(site.content)}-")
    assert beyond.status_code == 416
    head = site.ask("HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(site.content))
    assert head.headers["ETag"] == etag


def test_nobody_reaches_the_store_from_outside(site: Site) -> None:
    answer = site.get("/.stored", **{"X-Stored-Address": "/studio/?list-type=2"})
    assert answer.status_code == 404


def test_an_absent_store_is_503_and_nothing_is_lost(site: Site) -> None:
    """The last test: the store is killed."""
    site.store.kill("proxy")
    certificate = str(site.proxy.certificate)
    files = {"file": ("song.flac", site.content)}
    upload = requests.post(f"{site.proxy.url}/upload", files=files, verify=certificate, timeout=60)
    for answer in (site.get(), upload, site.get(Range="bytes=0-9")):
        assert int(answer.headers["Retry-After"]) > 0
        assert_problem(answer, "storage_unavailable")
    assert site.get("/ready").status_code == 503
    assert list((site.server.uploads / ".incoming").iterdir()) == []
    site.store.start("proxy")
    assert site.get().content == site.content
