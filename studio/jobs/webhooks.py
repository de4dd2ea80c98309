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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from studio import outgoing
from studio.errors import InvalidOption
from studio.jobs.job import Job
from studio.jobs.outbox import Message, Outbox

log = logging.getLogger(__name__)

# Seconds between one attempt and the next; a random tenth is added.
DELAYS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 28_800.0, 86_400.0)
LOOK_EVERY_S = 2.0
AT_ONCE = 4
STOP_S = 3.0
PREFIX = "whsec_"
GONE = 410


@dataclass(frozen=True)
class WebhookSettings:
    """`secret` signs (empty: nothing is sent); `url` is told of every job; `allow_private` lets the
    addresses that callers name lie in private networks. That of `url` is the operator's word."""

    secret: str
    url: str
    allow_private: bool


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message, under a secret `whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Sends what lies in the outbox, on threads of its own. `describe` is what is told of a job."""

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

    def check(self, url: Any) -> str | None:
        """The address to tell of a job: the one that its request names, else the server's.

        Raises InvalidOption when the one that is named cannot be used.
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
        return url

    def send_due(self) -> int:
        """Send what is due; the number of messages that were tried."""
        due = self._outbox.due(self._clock(), AT_ONCE)
        if due:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._send, due))
        return len(due)

    def _loop(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                sent = self.send_due()
            except Exception:
                log.exception("webhooks go on after a defect")
                sent = 0
            if not sent:
                self._woken.wait(LOOK_EVERY_S)

    def _send(self, message: Message) -> None:
        failure = self._attempt(message)
        if failure is None:
            self._outbox.remove(message.message_id)
        elif message.attempts < len(self._delays_s) and failure.can_pass:
            delay_s = self._delays_s[message.attempts] * random.uniform(1.0, 1.1)
            self._outbox.postpone(message.message_id, self._clock() + delay_s)
            log.info("%s: %s; again in %.0f s", message.message_id, failure.cause, delay_s)
        else:
            self._outbox.remove(message.message_id)
            log.warning("%s is given up: %s", message.message_id, failure.cause)

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
        except (OSError, http.client.HTTPException) as error:
            return _Failure(str(error) or type(error).__name__)
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
    """Why a message did not arrive, and whether it may arrive later."""

    cause: str
    can_pass: bool = True
