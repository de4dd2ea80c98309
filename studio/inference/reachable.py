"""Tells within seconds whether weights can be fetched."""

import time
import urllib.error
import urllib.request
from queue import Empty, Queue
from threading import Thread

REACH_TIMEOUT_S = 4.0


def hub_address() -> list[str]:
    """The address of the Hugging Face hub; none where it is switched off (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return [] if constants.is_offline_mode() else [constants.ENDPOINT]


def any_reachable(urls: list[str]) -> bool:
    """Whether one of the hosts answers. All are asked at once, and none is waited for long: even
    looking up a name can take half a minute where the network is broken.
    """
    answers: Queue[bool] = Queue()
    for url in urls:
        Thread(target=lambda url=url: answers.put(_reachable(url)), daemon=True).start()
    ends_s = time.monotonic() + REACH_TIMEOUT_S
    for _ in urls:
        try:
            if answers.get(timeout=max(0.0, ends_s - time.monotonic())):
                return True
        except Empty:
            return False
    return False


def _reachable(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=REACH_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
