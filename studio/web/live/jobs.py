"""The Socket.IO namespace `/jobs`: sends pages the progress of the jobs of their files.

One thread looks at the jobs for all connections. `docs/protocol.md` describes the events.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from typing import Any

from flask import request
from flask_socketio import SocketIO

from studio import logs
from studio.concurrency import ConcurrencyLimit
from studio.jobs.job import Job, State
from studio.storage.uploads import unknown_file
from studio.web.answers import JobAnswers
from studio.web.live.namespaces import StrictNamespace, connection_refusal, event_sid, problem_of
from studio.web.services import Services

PATH = "/jobs"
MAX_FILES = 100
# Each connection holds a thread of the server.
MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT = 40, 8
# Changes by other processes, and answers from existing results, are not announced.
LOOK_EVERY_S = 1.0
MIN_PAUSE_S = 0.25
# After a look, the thread rests this many times as long as the look took.
PAUSE_FACTOR = 4

Send = Callable[[str, str, dict[str, Any]], None]
"""Sends an event with data to a session ID."""

log = logging.getLogger(__name__)
defects = logs.RateLimitedLog(log)


@dataclass
class _Watch:
    """What one connection watches, and what has been sent to it.

    `sent` has the latest event of each job, `items_sent` the number of partial items sent.
    """

    file_ids: frozenset[str]
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    items_sent: dict[str, int] = field(default_factory=dict)

    def unfinished(self) -> set[str]:
        return {
            job_id for job_id, event in self.sent.items() if not State(event["status"]).is_final
        }


class JobFeed:
    """Looks at the jobs of all watched files on its own thread, and sends what has changed."""

    def __init__(self, services: Services, send: Send) -> None:
        self._services = services
        self._answers = JobAnswers(services.models)
        self._send = send
        self._watches: dict[str, _Watch] = {}
        self._telling = Lock()
        self._changed = Condition()
        self._stopping = False
        self._thread: Thread | None = None

    def watch(self, sid: str, file_ids: Iterable[str]) -> None:
        """Watch these files instead of earlier ones, and send the state of their jobs at once."""
        watch = _Watch(frozenset(file_ids))
        with self._telling:
            self._tell({sid: watch})
            with self._changed:
                self._watches[sid] = watch
                self._changed.notify_all()
        self._start()

    def forget(self, sid: str) -> None:
        with self._changed:
            self._watches.pop(sid, None)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(10)

    def _start(self) -> None:
        """Start the thread for the first connection."""
        with self._changed:
            if self._thread is None and not self._stopping:
                thread = Thread(target=self._loop, name="job-feed", daemon=True)
                # If it cannot start, the next subscription tries again.
                thread.start()
                self._thread = thread

    def _loop(self) -> None:
        seen = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._watches or self._stopping)
                if self._stopping:
                    return
            seen = self._services.runner.wait_for_change(seen, LOOK_EVERY_S)
            began_s = time.monotonic()
            try:
                with self._telling:
                    self._tell(dict(self._watches))
            except Exception as error:
                defects.exception("cannot send the progress of jobs; continuing", error=error)
            pause_s = max(MIN_PAUSE_S, PAUSE_FACTOR * (time.monotonic() - began_s))
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, pause_s)

    def _tell(self, watches: dict[str, _Watch]) -> None:
        """Send each connection what is new to it; `_telling` is held."""
        file_ids = {one for watch in watches.values() for one in watch.file_ids}
        unfinished = {one for watch in watches.values() for one in watch.unfinished()}
        if not file_ids:
            return
        jobs = self._services.store.current(file_ids, unfinished)
        events = {job.job_id: self._answers.job(job).model_dump(mode="json") for job in jobs}
        for sid, watch in watches.items():
            mine = [job for job in jobs if job.request.file_id in watch.file_ids]
            for job in mine:
                self._tell_items(sid, watch, job)
                if watch.sent.get(job.job_id) != events[job.job_id]:
                    self._send(sid, "job", events[job.job_id])
            sent = {job.job_id: events[job.job_id] for job in mine}
            for job_id in watch.unfinished() - set(sent):
                # Deleting a file cancels its jobs and removes their records.
                self._send(sid, "job", {**watch.sent[job_id], "status": State.CANCELED.value})
            watch.sent = sent
            watch.items_sent = {one: n for one, n in watch.items_sent.items() if one in sent}

    def _tell_items(self, sid: str, watch: _Watch, job: Job) -> None:
        """Send what a running job has produced since the last look."""
        if job.state is not State.PROCESSING:
            return
        first = watch.items_sent.get(job.job_id, 0)
        if items := self._services.partials.of(job.job_id, first):
            watch.items_sent[job.job_id] = first + len(items)
            data = {"job_id": job.job_id, "file_id": job.request.file_id}
            self._send(sid, "partial", {**data, "first": first, "items": items})


class JobsNamespace(StrictNamespace):
    """The events of `/jobs`. A connection watches files of one owner."""

    def __init__(self, socketio: SocketIO, services: Services) -> None:
        super().__init__(PATH, socketio, services.access)
        self.feed = JobFeed(services, self._send)
        self._storage = services.storage
        self._limit = ConcurrencyLimit(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT)
        # By session ID: the owner, and the client that limits apply to.
        self._clients: dict[str, tuple[str | None, str]] = {}

    def is_open(self, sid: str) -> bool:
        return sid in self._clients

    def on_connect(self, auth: Any = None) -> None:
        owner = self.owner_of(auth)
        client = self._access.client(owner, request.remote_addr)
        reached = self._limit.acquire(client)
        if reached is not None:
            count = reached.count("connections of yours", "connections")
            raise connection_refusal(
                "too_many_connections",
                f"{count} are watching jobs, which is the maximum. A page needs only one.",
            )
        self._clients[event_sid()] = owner, client

    def on_disconnect(self, _reason: Any = None) -> None:
        sid = event_sid()
        self.feed.forget(sid)
        if (known := self._clients.pop(sid, None)) is not None:
            self._limit.release(known[1])

    def on_subscribe(self, message: Any = None, *_more: Any) -> dict[str, Any] | None:
        """Watch files; returns the acknowledgement."""
        sid = event_sid()
        if sid not in self._clients:
            return None
        file_ids = _file_ids(message)
        if file_ids is None:
            return self._error(
                sid,
                "invalid_file_ids",
                f'`subscribe` requires {{"file_ids": [...]}} with at most {MAX_FILES} IDs.',
            )
        try:
            self._check_owner(file_ids, self._clients[sid][0])
            self.feed.watch(sid, file_ids)
        except Exception as error:
            problem = problem_of(error)
            return self._error(sid, problem["code"], problem["message"])
        if sid not in self._clients:
            # It was closed meanwhile.
            self.feed.forget(sid)
        return {"file_ids": file_ids}

    def _check_owner(self, file_ids: list[str], owner: str | None) -> None:
        """Raise UnknownFile unless all files belong to an owner."""
        for file_id in file_ids:
            if self._storage.upload(file_id).owner != owner:
                raise unknown_file(file_id)

    def _error(self, sid: str, code: str, sentence: str) -> dict[str, Any]:
        problem = {"code": code, "message": sentence}
        self._send(sid, "error", problem)
        return {"error": problem}

    def _send(self, sid: str, event: str, data: dict[str, Any]) -> None:
        self._server.emit(event, data, to=sid, namespace=PATH)


def add(socketio: SocketIO, services: Services) -> JobFeed:
    """Add the namespace to a server. Stop the feed at the end."""
    namespace = JobsNamespace(socketio, services)
    socketio.on_namespace(namespace)
    return namespace.feed


def _file_ids(message: Any) -> list[str] | None:
    """The IDs in a message; None if it is malformed or has too many."""
    file_ids = message.get("file_ids") if isinstance(message, dict) else None
    if not isinstance(file_ids, list) or len(file_ids) > MAX_FILES:
        return None
    return file_ids if all(isinstance(one, str) for one in file_ids) else None
