"""Jobs whose result the same request waits for, and the uploads that are made for them.

The same bytes with the same name from the same owner are one temporary upload, so a repeated
request joins the job of the first one. Nothing here needs Flask, so servers of other protocols can
use it too.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from studio import audio
from studio.audio import Probe
from studio.concurrency import LimitReached
from studio.errors import (
    EmptyFile,
    NotReady,
    ResultsGone,
    StorageUnavailable,
    StudioError,
    TooManyWaiting,
    UnsupportedFileType,
    error_of,
)
from studio.jobs.job import Job, State
from studio.results import TrackFolder
from studio.sources import sound_info
from studio.storage.incoming import IncomingFile
from studio.storage.on_demand import Abandoned
from studio.storage.results import StoredFile
from studio.storage.uploads import Upload
from studio.web.services import Services

# A little less than an hour, after which proxies give up.
MAX_WAIT_S = 3540.0
LOOK_EVERY_S = 1.0
RETRY_AFTER_S = 5
MAX_NAME_CHARACTERS = 200


def stays() -> bool:
    """For callers that cannot tell whether their client has left."""
    return False


def _refusal(reached: LimitReached) -> TooManyWaiting:
    return TooManyWaiting(
        f"{reached.count('of your requests', 'requests')} are waiting for results. "
        f"Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )


class BlockingJobs:
    """Keeps files as temporary uploads, starts jobs on them and waits for their results."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def slot(self, client: str) -> AbstractContextManager[None]:
        """Reserve a slot for a request that will wait. Raises TooManyWaiting.

        Take it before the body is read, so that a refused client need not send it.
        """
        return self._services.waiting.slot(client, _refusal)

    def keep(self, incoming: IncomingFile, filename: str, owner: str | None) -> Upload:
        """The temporary upload with the content of a file, whose type is that of its content.

        The caller must still discard `incoming`. Raises the errors of an upload.
        """
        incoming.close()
        name = _plain(filename)
        if incoming.size_bytes == 0:
            raise EmptyFile(f"{name!r} is empty. Check the file and send it again.")
        storage = self._services.storage
        file_id = self._id_of(incoming, name, owner)
        if storage.has(file_id):
            storage.touch(file_id)
            upload = storage.upload(file_id)
            # A sweep may have deleted the file of an earlier upload when this one had just arrived.
            if storage.source(upload).info() is not None:
                return upload
        self._services.quota.check_bytes(owner, incoming.size_bytes)
        probe = audio.probe(incoming.path)
        self._services.uploads.check_length(probe)
        file_type = self._file_type(probe, name)
        return storage.accept(
            incoming, name, file_type, sound_info(probe), owner, temporary_id=file_id
        )

    def start(self, model: str, upload: Upload, options: dict[str, Any], client: str) -> Job:
        """The job for an upload: an earlier one for the same request, or a new one."""
        self._services.storage.touch(upload.file_id)
        requested = self._services.models.request(model, upload, options)
        webhook = self._services.webhooks.check(None, client)
        return self._services.intake.submit(requested, client, webhook)

    def watch(self, job: Job, has_left: Callable[[], bool] = stays) -> Iterator[Job]:
        """Yield the job again and again until it is completed, and that one last.

        Raises the error of a failed job, NotReady if it takes too long, and Abandoned if the
        client has left. The job goes on in both cases.
        """
        ends_s = time.monotonic() + MAX_WAIT_S
        while True:
            current = self._services.store.get(job.job_id)
            if current is None:
                raise ResultsGone("The file was deleted while its job was running.")
            if current.state.is_final:
                yield _completed(current)
                return
            if has_left():
                raise Abandoned
            if self._services.runner.is_stopping:
                raise StorageUnavailable(
                    f"The server is restarting. Repeat the request in {RETRY_AFTER_S} s to "
                    "keep waiting for the same job.",
                    retry_after_s=RETRY_AFTER_S,
                )
            if time.monotonic() > ends_s:
                raise NotReady(
                    f"The job has not ended in {MAX_WAIT_S:.0f} s. Repeat the request to "
                    "keep waiting for the same job.",
                    retry_after_s=RETRY_AFTER_S,
                )
            yield current
            self._services.runner.wait(job.job_id, LOOK_EVERY_S)

    def wait(self, job: Job, has_left: Callable[[], bool] = stays) -> Job:
        """The completed job. Raises as `watch` does."""
        *_, last = self.watch(job, has_left)
        return last

    def file(self, upload: Upload, job: Job, track: str, file_format: str) -> StoredFile:
        """The file of a track of a completed job, made if it does not exist yet."""
        services = self._services
        services.storage.touch(upload.file_id)
        folder = TrackFolder.of(services.storage, upload, job)
        requested = next(one for one in services.models.tracks(job) if one.name == track)
        return requested.make(folder, file_format)

    def _id_of(self, incoming: IncomingFile, name: str, owner: str | None) -> str:
        """The ID of the temporary upload with this content, name and owner."""
        # The name is in lyrics, which must not show that of another client's file.
        content = f"{owner or ''}/{incoming.sha256}/{name}".encode("utf-8", "surrogatepass")
        key = self._services.secret.encode()
        return hmac.new(key, content, hashlib.sha256).hexdigest()[:32]

    def _file_type(self, probe: Probe, name: str) -> str:
        """An accepted extension of the container: that of the name if it is one of them."""
        allowed = self._services.uploads.allowed_extensions
        types = [one for one in probe.file_types if one in allowed]
        if not types:
            raise UnsupportedFileType(
                f"{name!r} contains {probe.file_types[0]} audio, which is not accepted. Allowed "
                f"are {', '.join(sorted(allowed - {'txt'}))}."
            )
        given = name.rpartition(".")[2].lower()
        return given if given in types else types[0]


def _plain(filename: str) -> str:
    """A file name without path and control characters; programs send anything."""
    name = audio.without_controls(filename.replace("\\", "/").rpartition("/")[2])
    return name[-MAX_NAME_CHARACTERS:] or "audio"


def _completed(job: Job) -> Job:
    """The job itself. Raises the error with which it ended."""
    if job.state is State.FAILED:
        raise _error_of(job)
    if job.state is State.CANCELED:
        raise ResultsGone("The job was canceled. Send the request again to start a new one.")
    return job


def _error_of(job: Job) -> StudioError:
    """The error that a failed job has recorded."""
    recorded = dict(job.error or {})
    code, sentence = recorded.pop("code", ""), recorded.pop("error", "The job failed.")
    return error_of(code, sentence, **recorded)
