"""Runs the jobs of commands on a server, over its REST API."""

import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from studio.errors import (
    InternalError,
    StorageUnavailable,
    StudioError,
    TooManyRequests,
    error_of,
)
from studio.inference.transfer import OnTransfer
from studio.jobs.body import JobOptions
from studio.jobs.job import Report, Request
from studio.karaoke.options import VOCALS, parse_video
from studio.karaoke.video import check_cover
from studio.settings.values import AUDIO_FILE_TYPES, MORE_FILE_TYPES
from studio.storage.uploads import SoundInfo, Upload

CONNECT_TIMEOUT_S = 10.0
# The server examines a file before it answers, and makes a format before it sends it.
TIMEOUT_S = 600.0
POLL_S = 1.0
# How long a server or its database may be unavailable during a job, for example for a restart.
MAX_OUTAGE_S = 60.0
# Sent by a proxy if the server does not respond; 503 counts only without an error code.
GATEWAY_STATUSES = {502, 504}
UNAVAILABLE = 503
# How many times a rate-limited request is retried, and the longest wait before a retry.
MAX_RATE_LIMIT_RETRIES = 5
MAX_RETRY_AFTER_S = 60.0


class Api:
    """The REST API of a server. Methods raise ConnectionError if it is unreachable."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Honours SSL_CERT_FILE, for self-signed certificates.
            verify=ssl.create_default_context(),
        )

    def close(self) -> None:
        self._client.close()

    def send(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The JSON of an answer. Raises the StudioError that the server answers with."""
        with self._stream(method, path, **more) as response:
            response.read()
            answer: dict[str, Any] = response.json()
            return answer

    def get_with_retries(self, path: str) -> dict[str, Any]:
        """The response to a GET. Retries for MAX_OUTAGE_S if the server or its database is away."""
        ends_s = time.monotonic() + MAX_OUTAGE_S
        while True:
            try:
                return self.send("GET", path)
            except (ConnectionError, StorageUnavailable):
                if time.monotonic() > ends_s:
                    raise
            time.sleep(POLL_S)

    def download(self, path: str, target: Path) -> None:
        """Write the body of an answer to `target`."""
        with self._stream("GET", path) as response, open(target, "wb") as file:
            for block in response.iter_bytes():
                file.write(block)

    @contextmanager
    def _stream(self, method: str, path: str, **more: Any) -> Iterator[httpx2.Response]:
        try:
            for attempt in range(MAX_RATE_LIMIT_RETRIES + 1):
                with self._client.stream(method, self._url + path, **more) as response:
                    if response.status_code < 400:
                        yield response
                        return
                    response.read()
                problem = self._error(response)
                wait_s = _retry_after_s(response)
                is_limited = isinstance(problem, TooManyRequests) and wait_s <= MAX_RETRY_AFTER_S
                if not is_limited or attempt == MAX_RATE_LIMIT_RETRIES:
                    raise problem
                time.sleep(wait_s)
        except httpx2.HTTPError as error:
            cause = str(error) or type(error).__name__
            raise ConnectionError(f"The server {self._url} cannot be reached: {cause}") from None

    def _error(self, response: httpx2.Response) -> Exception:
        try:
            problem = response.json()
            code, sentence = str(problem["code"]), str(problem["error"])
        except (ValueError, KeyError, TypeError):
            code, sentence = "", f"{self._url} answered {response.status_code} without a reason."
        status = response.status_code
        if status in GATEWAY_STATUSES or (status == UNAVAILABLE and not code):
            return ConnectionError(sentence)
        return error_of(code, sentence)


def _retry_after_s(response: httpx2.Response) -> float:
    try:
        return max(0, int(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return POLL_S


@dataclass(frozen=True)
class RemoteModels:
    """The models of a server; their options and formats are those of this version."""

    api: Api
    options: Mapping[str, type[JobOptions]]
    formats: Mapping[str, Mapping[str, str]]

    def describe(self) -> dict[str, Any]:
        models: dict[str, Any] = self.api.send("GET", "/models")["models"]
        return models

    def options_of(self, name: str) -> type[JobOptions]:
        return self.options[name]

    def file_types_of(self, name: str) -> frozenset[str]:
        types = frozenset(self.describe()[name]["file_types"])
        # A model that takes the best-known types of sound, which the server lists, takes all.
        return types | MORE_FILE_TYPES if types >= AUDIO_FILE_TYPES else types

    def formats_of(self, name: str) -> dict[str, str]:
        return dict(self.formats[name])

    def request(self, name: str, upload: Upload, body: dict[str, Any]) -> Request:
        """A request without a fingerprint: the server checks it, and reuses earlier results."""
        return Request(upload.file_id, name, "", body, "")


@dataclass(frozen=True)
class RemoteFinishedJob:
    """A job of a server, whose tracks are downloaded."""

    api: Api
    file_id: str
    result: dict[str, Any]

    def write(self, track: str, file_format: str, target: Path, offset_ms: int = 0) -> None:
        query = {"format": file_format} | ({"offset_ms": str(offset_ms)} if offset_ms else {})
        address = f"/download/{self.file_id}/{quote(track, safe='')}?{urlencode(query)}"
        self.api.download(address, target)

    def write_video(
        self, options: Mapping[str, str], target: Path, on_wait: Callable[[], None]
    ) -> None:
        on_wait()
        address = f"/download/{self.file_id}/karaoke.mp4?{urlencode(options)}"
        self.api.download(address, target)


class RemoteBackend:
    """A server. Files are uploaded, and deleted there at the end."""

    def __init__(self, api: Api, models: RemoteModels, folder: Path) -> None:
        self.models = models
        self._api = api
        self._folder = folder

    def fetch(self, model: str, variant: str | None, on_transfer: OnTransfer) -> None:
        """Do nothing: the server downloads weights when it runs the job."""

    def upload(self, path: Path, extensions: Iterable[str]) -> Upload:
        # A file name may have bytes that are not UTF-8, and so cannot be sent.
        name = path.name.encode("utf-8", "replace").decode("utf-8")
        with open(path, "rb") as file:
            answer = self._api.send("POST", "/upload", files={"file": (name, file)})
        sound = None
        if answer["duration_s"] is not None:
            names = ("duration_s", "sample_rate_hz", "channels", "note")
            sound = SoundInfo(**{name: answer[name] for name in names})
        file_type = path.suffix.lower().lstrip(".")
        return Upload(answer["file_id"], path.name, file_type, answer["bytes"], "", sound)

    def text(self, content: str) -> Path:
        path = self._folder / "prompt.txt"
        path.write_text(content, "utf-8")
        return path

    def check_video(self, path: Path, request: Request, options: Mapping[str, str]) -> None:
        """Check the cover; the fonts are those of the server."""
        check_cover(path, parse_video(options, [VOCALS]))

    def run(self, request: Request, report: Report) -> RemoteFinishedJob:
        """Run a job. If `report` raises, `forget` ends the job."""
        path = f"/process/{request.model}/{request.file_id}"
        self._api.send("POST", path, json=request.options)
        return RemoteFinishedJob(self._api, request.file_id, self._wait(request.file_id, report))

    def _wait(self, file_id: str, report: Report) -> dict[str, Any]:
        """The result of the latest job of a file, once it has ended."""
        while True:
            status = self._api.get_with_retries(f"/status/{file_id}")
            if status["status"] == "completed":
                result: dict[str, Any] = status["jobs"][0]["result"]
                return result
            if status["status"] == "failed":
                raise error_of(status["error"]["code"], status["error"]["error"])
            if status["status"] == "canceled":
                raise InternalError("The job was canceled on the server.")
            report(status["stage"] or status["status"], status["progress"])
            time.sleep(POLL_S)

    def forget(self, upload: Upload) -> None:
        with suppress(StudioError, OSError):
            self._api.send("DELETE", f"/cleanup/{upload.file_id}")


@contextmanager
def open_remote(
    url: str,
    key: str,
    options: Mapping[str, type[JobOptions]],
    formats: Mapping[str, Mapping[str, str]],
) -> Iterator[RemoteBackend]:
    """A backend on the server at `url`, with an API key if it needs one."""
    api = Api(url, key)
    try:
        with tempfile.TemporaryDirectory(prefix="audio-studio-") as folder:
            yield RemoteBackend(api, RemoteModels(api, options, formats), Path(folder))
    finally:
        api.close()
