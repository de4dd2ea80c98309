"""Sends webhooks when jobs end, signed according to Standard Webhooks.

Pending messages are stored in the database, so they survive a restart. They are retried with
increasing delays until the receiver accepts them or all attempts are used up.
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
from studio.jobs.outbox import DELAYS_S, Message, Outbox
from studio.jobs.pauses import Pauses
from studio.jobs.turns import Turns

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
# Messages sent at the same time, in total and for one client.
AT_ONCE = 8
AT_ONCE_PER_CLIENT = 2
# How long a process has a message to itself: longer than an attempt takes.
CLAIM_S = 30.0
STOP_S = 3.0
PREFIX = "whsec_"
GONE = 410


@dataclass(frozen=True)
class WebhookSettings:
    """`secret` signs messages (empty: nothing is sent). `url` receives those of jobs without a
    webhook of their own; it comes from the operator and is trusted. `allow_private` allows the URLs
    of callers to be in private networks. A client may have `max_per_client` pending messages to its
    own URLs (0: no limit).
    """

    secret: str
    url: str
    allow_private: bool
    max_per_client: int = 0


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message for a secret `whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Sends the messages in the outbox on its own threads. `describe` creates the `data` of a job.

    Several processes may send from one outbox: each claims a message before it sends it.

    Clients take turns, and a host that cannot be reached is paused, so that the receivers of one
    client do not delay the messages of another.
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
        """Stop sending. A message in progress may still arrive, and is sent again later."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def wake(self) -> None:
        """Look for due messages now, because a job has ended or a message was added."""
        self._woken.set()

    def check(self, url: Any, client: str | None = None) -> str | None:
        """The webhook URL of a job: that of its request, otherwise the server's.

        Raises InvalidOption if the URL cannot be used, and TooManyWebhooks if the client has too
        many pending messages.
        """
        if url is None:
            return self._settings.url or None
        if not isinstance(url, str):
            raise InvalidOption("The option 'webhook' must be a URL, as a string.")
        if not self._settings.secret:
            raise InvalidOption(
                "The option 'webhook' cannot be used: webhooks are off, because this server has no "
                "WEBHOOK_SECRET."
            )
        try:
            outgoing.check(url, self._settings.allow_private)
        except outgoing.OutgoingRefused as error:
            raise InvalidOption(f"The option 'webhook' cannot be used: {error}.") from None
        max_pending = self._settings.max_per_client
        if 0 < max_pending <= self._outbox.count(client, self._settings.url):
            raise TooManyWebhooks(
                f"You have {max_pending} pending webhooks, which is the maximum. Make sure that "
                "your receivers respond, or leave out the option `webhook` and poll the status.",
                retry_after_s=int(self._delays_s[0]),
            )
        return url

    def send_due(self) -> int:
        """Send the due messages in sequence on this thread. Returns their number."""
        sent = 0
        while (message := self._next()) is not None:
            self._deliver(message)
            sent += 1
        return sent

    def _loop(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                is_sending = self._start_next()
            except Exception:
                log.exception("cannot read webhooks from the database; retrying")
                is_sending = False
            if not is_sending:
                self._woken.wait(LOOK_EVERY_S)

    def _start_next(self) -> bool:
        """Send the next message on a thread. Returns False if there is no message or no thread."""
        message = self._next()
        if message is None:
            return False
        try:
            Thread(target=self._deliver, args=(message,), name="webhook", daemon=True).start()
        except RuntimeError as error:
            # Sending it on this thread would need a thread for the timeout.
            self._postpone(message, error)
            return False
        return True

    def _postpone(self, message: Message, reason: Exception) -> None:
        """Release a message that could not be sent for lack of threads, for a short time."""
        log.warning("cannot send webhooks yet, retrying: %s", reason)
        with self._lock:
            del self._sending[message.message_id]
        self._outbox.postpone(message.message_id, self._clock() + LOOK_EVERY_S)

    def _next(self) -> Message | None:
        """The message to send next; None if nothing is due or all slots are taken."""
        with self._lock:
            if len(self._sending) >= AT_ONCE:
                return None
            now_s = self._clock()
            busy = Counter(message.client for message in self._sending.values())
            candidates = [
                client
                for client in self._outbox.clients(now_s)
                if busy[client] < AT_ONCE_PER_CLIENT
            ]
            for client in self._turns.order(candidates):
                message = self._first_of(client, now_s)
                if message is not None:
                    self._turns.take(client, candidates)
                    self._sending[message.message_id] = message
                    return message
            return None

    def _first_of(self, client: str | None, now_s: float) -> Message | None:
        """Claim the first message of a client to a host that is not paused; postpones others."""
        limit = AT_ONCE_PER_CLIENT + 4
        while due := [
            message
            for message in self._outbox.due(now_s, client, limit)
            if message.message_id not in self._sending
        ]:
            for message in due:
                until_s = self._pauses.until_s(_host(message), now_s)
                if until_s > now_s:
                    self._outbox.postpone(message.message_id, until_s)
                elif self._outbox.claim(message.message_id, now_s, now_s + CLAIM_S):
                    return message
        return None

    def _deliver(self, message: Message) -> None:
        """Send once and store the outcome."""
        try:
            failure = self._attempt(message)
        except outgoing.OutgoingPostponed as error:
            self._postpone(message, error)
            return
        except Exception as error:
            log.exception("%s: cannot be sent because of a bug", message.message_id)
            failure = _Failure(f"a bug ({type(error).__name__})", is_reached=False)
        try:
            self._store(message, failure)
        except Exception:
            # It becomes due again when the claim ends.
            log.exception("%s: cannot store the outcome", message.message_id)
        with self._lock:
            if failure is None or failure.is_reached:
                self._pauses.succeeded(_host(message))
            else:
                self._pauses.failed(_host(message), self._clock())
            del self._sending[message.message_id]
        self._woken.set()

    def _store(self, message: Message, failure: "_Failure | None") -> None:
        if failure is None:
            self._outbox.remove(message.message_id)
        elif message.attempts < len(self._delays_s) and failure.can_pass:
            delay_s = self._delays_s[message.attempts] * random.uniform(1.0, 1.1)
            self._outbox.retry_at(message.message_id, self._clock() + delay_s)
            log.info("%s: %s; retrying in %.0f s", message.message_id, failure.cause, delay_s)
        else:
            self._outbox.remove(message.message_id)
            log.warning("%s: giving up: %s", message.message_id, failure.cause)

    def _attempt(self, message: Message) -> "_Failure | None":
        """Send once; None if the receiver accepted the message."""
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
        return _Failure(f"the receiver responded with {status}", can_pass=status != GONE)

    def _body(self, job: Job) -> bytes:
        ended = datetime.fromtimestamp(job.finished_at or 0.0, UTC)
        payload = {
            "type": f"job.{job.state.value}",
            "timestamp": ended.isoformat(),
            "data": self._describe(job),
        }
        return json.dumps(payload, ensure_ascii=False).encode()


@dataclass(frozen=True)
class _Failure:
    """Why a message was not delivered, whether to retry, and whether the host responded."""

    cause: str
    can_pass: bool = True
    is_reached: bool = True


def _host(message: Message) -> tuple[str | None, str]:
    """What to pause if a host fails: the host, for this client only."""
    return message.client, outgoing.authority(message.url)
