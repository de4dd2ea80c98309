"""A network of its own for a process, with one link to this machine that can be cut."""

import os
import shutil
import subprocess
from contextlib import suppress
from functools import cache

MISSING = "networks cannot be made here; run as root, with iproute2"
HERE, THERE, LENGTH = "10.213.77.1", "10.213.77.2", 30


class Network:
    """A network namespace. Processes that `command` starts reach this machine at HERE."""

    def __init__(self) -> None:
        self._name = f"studio-{os.getpid()}"
        # Names of interfaces have at most 15 characters.
        self._link = f"st{os.getpid()}"

    def __enter__(self) -> "Network":
        _ip("netns", "add", self._name)
        there = f"{self._link}t"
        try:
            _ip("link", "add", self._link, "type", "veth", "peer", there, "netns", self._name)
            _ip("address", "add", f"{HERE}/{LENGTH}", "dev", self._link)
            _ip("-n", self._name, "address", "add", f"{THERE}/{LENGTH}", "dev", there)
            _ip("-n", self._name, "link", "set", there, "up")
            self.heal()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def command(self) -> list[str]:
        """What a command begins with that runs inside."""
        return ["ip", "netns", "exec", self._name]

    def cut(self) -> None:
        """From now on, packets are dropped without a word."""
        _ip("link", "set", self._link, "down")

    def heal(self) -> None:
        _ip("link", "set", self._link, "up")

    def _remove(self) -> None:
        # The kernel removes the link of a deleted namespace some time later.
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self._link)
        _ip("netns", "delete", self._name)


@cache
def is_possible() -> bool:
    """Whether this process may make networks."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        with Network():
            return True
    except subprocess.CalledProcessError:
        return False


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)
