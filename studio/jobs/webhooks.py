"""Tells addresses of the end of jobs, signed as Standard Webhooks describes.

A message waits in the database, so it survives a restart; it is tried again, ever more rarely,
until its receiver takes it or all attempts are used up.
"""

import base64
import hashlib
import hmac
import http.client
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Any

from studio.errors import InvalidOption, TooManyWebhooks
from studio.jobs import outgoing
from studio.jobs.job import Job
from studio.jobs.outbox import Message, Outbox
from studio.jobs.turns import Pauses, Turns

log = logging.getLogger(__name__)

# Seconds between one attempt and the next; a random tenth is added.
DELAYS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 28_800.0, 86_400.0)
LOOK_EVERY_S = 2.0
# Messages on their way at the same time, and those of one client.
AT_ONCE = 8
AT_ONCE_PER_CLIENT = 2
STOP_S = 3.0
PREFIX = "whsec_"
GONE = 410


@dataclass(frozen=True)
class WebhookSettings:
    """`secret` signs (empty: nothing is sent); `url` is told of every job; `allow_private` lets the
    addresses that callers name lie in private networks. `url` comes from the operator and is
    trusted. At most `max_per_client` messages to addresses that a client named wait (0: no bound).
    """

    secret: str
    url: str
    allow_private: bool
    max_per_client: int = 0


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message, under a secret `whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Sends what lies in the outbox, on threads of its own. `describe` makes the body for a job.

    Clients take turns, and a host that cannot be reached is left alone for a while, so that no
    client's receivers delay the messages of another client.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: WebhookSettings,
        describe: Callable[[Job], dict[str, Any]],
        delays_s: Sequence[float] = DELAYS_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._describe = describe
        self._delays_s = delays_s
        self._clock = clock
        self._woken = Event()
        self._stopping = False
        self._thread: Thread | None = None
        self._lock = Lock()
        self._turns = Turns()
        self._pauses = Pauses()
        self._sending: dict[str, Message] = {}

    def start(self) -> None:
        if self._settings.secret:
            self._outbox.remove_orphans()
            self._thread = Thread(target=self._loop, name="webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Send no more; what is on its way may still arrive, and is then sent again later."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def wake(self) -> None:
        """A job has ended, or a message about one that had ended has come."""
        self._woken.set()

    def check(self, url: Any, client: str | None = None) -> str | None:
        """The address to tell of a job: the one that its request names, else the server's.

        Raises InvalidOption when the one that is named cannot be used, and TooManyWebhooks when too
        many messages of the client wait.
        """
        if url is None:
            return self._settings.url or None
        if not isinstance(url, str):
            raise InvalidOption("The option 'webhook' must be an address, as text.")
        if not self._settings.secret:
            raise InvalidOption(
                "The option 'webhook' cannot be used: webhooks are off on this server, which has "
                "no WEBHOOK_SECRET."
            )
        try:
            outgoing.check(url, self._settings.allow_private)
        except outgoing.OutgoingRefused as error:
            raise InvalidOption(f"The option 'webhook' cannot be used: {error}.") from None
        most = self._settings.max_per_client
        if 0 < most <= self._outbox.count(client, self._settings.url):
            raise TooManyWebhooks(
                f"{most} webhooks of yours wait to be sent already. Make your receivers answer, or "
                "leave the option `webhook` out and poll the status.",
                retry_after_s=int(self._delays_s[0]),
            )
        return url

    def send_due(self) -> int:
        """Send what is due, one after the other, on this thread; the number of messages."""
        sent = 0
        while (message := self._next()) is not None:
            self._deliver(message)
            sent += 1
        return sent

    def _loop(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                message = self._next()
            except Exception:
                log.exception("webhooks cannot be read from the database; it is tried again")
                message = None
            if message is None:
                self._woken.wait(LOOK_EVERY_S)
            else:
                Thread(target=self._deliver, args=(message,), name="webhook", daemon=True).start()

    def _next(self) -> Message | None:
        """The message to send next; None when nothing is due or all places are taken."""
        with self._lock:
            if len(self._sending) >= AT_ONCE:
                return None
            now_s = self._clock()
            busy = Counter(message.client for message in self._sending.values())
            waiting = [
                client
                for client in self._outbox.clients(now_s)
                if busy[client] < AT_ONCE_PER_CLIENT
            ]
            for client in self._turns.order(waiting):
                message = self._first_of(client, now_s)
                if message is not None:
                    self._turns.take(client)
                    self._sending[message.message_id] = message
                    return message
            return None

    def _first_of(self, client: str | None, now_s: float) -> Message | None:
        """The first message of a client to a host that is not paused; others are put off."""
        most = AT_ONCE_PER_CLIENT + 4
        while due := [
            message
            for message in self._outbox.due(now_s, client, most)
            if message.message_id not in self._sending
        ]:
            for message in due:
                until_s = self._pauses.until_s(_host(message), now_s)
                if until_s <= now_s:
                    return message
                self._outbox.put_off(message.message_id, until_s)
        return None

    def _deliver(self, message: Message) -> None:
        try:
            is_reached = self._send(message)
        except Exception:
            # It stays due; the pause keeps it from being sent again and again.
            log.exception("%s: the outcome cannot be recorded", message.message_id)
            is_reached = False
        with self._lock:
            if is_reached:
                self._pauses.succeeded(_host(message))
            else:
                self._pauses.failed(_host(message), self._clock())
            del self._sending[message.message_id]
        self._woken.set()

    def _send(self, message: Message) -> bool:
        """Send once and record the outcome; whether the receiver answered at all."""
        try:
            failure = self._attempt(message)
        except Exception as error:
            log.exception("%s cannot be sent because of a defect", message.message_id)
            failure = _Failure(f"a defect ({type(error).__name__})", is_reached=False)
        if failure is None:
            self._outbox.remove(message.message_id)
            return True
        if message.attempts < len(self._delays_s) and failure.can_pass:
            delay_s = self._delays_s[message.attempts] * random.uniform(1.0, 1.1)
            self._outbox.postpone(message.message_id, self._clock() + delay_s)
            log.info("%s: %s; again in %.0f s", message.message_id, failure.cause, delay_s)
        else:
            self._outbox.remove(message.message_id)
            log.warning("%s is given up: %s", message.message_id, failure.cause)
        return failure.is_reached

    def _attempt(self, message: Message) -> "_Failure | None":
        """Send once; None when the receiver took it."""
        body = self._body(message.job)
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "audio-studio",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(
                self._settings.secret, message.message_id, timestamp, body
            ),
        }
        is_own = message.url == self._settings.url
        try:
            status = outgoing.post(
                message.url, body, headers, self._settings.allow_private or is_own
            )
        except outgoing.OutgoingRefused as error:
            return _Failure(str(error), can_pass=False)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            return _Failure(str(error) or type(error).__name__, is_reached=False)
        if 200 <= status < 300:
            return None
        return _Failure(f"the receiver answered {status}", can_pass=status != GONE)

    def _body(self, job: Job) -> bytes:
        ended = datetime.fromtimestamp(job.finished_at or 0.0, UTC)
        told = {
            "type": f"job.{job.state.value}",
            "timestamp": ended.isoformat(),
            "data": self._describe(job),
        }
        return json.dumps(told, ensure_ascii=False).encode()


@dataclass(frozen=True)
class _Failure:
    """Why a message did not arrive, whether it may arrive later, and whether the host answered."""

    cause: str
    can_pass: bool = True
    is_reached: bool = True


def _host(message: Message) -> tuple[str | None, str]:
    """What is paused when a host fails: the host, for this client alone."""
    return message.client, outgoing.authority(message.url)
