"""Starts gunicorn in forks of a process that has imported the program, which takes seconds.

Run as a program, it reads a line of JSON for each server and prints the ID of its process. As a
configuration file of gunicorn, it lets workers that replace killed ones have the imports already.
"""

import gc
import json
import os
import signal
import sys

import demucs.demucs
import demucs.htdemucs
import scipy.signal
import torch
from gunicorn.app import wsgiapp

import app

assert app and demucs and scipy and torch
# It reads the environment when it is imported, and each server has settings of its own.
assert "huggingface_hub" not in sys.modules


def fork_servers() -> None:
    """Start servers until the standard input ends."""
    # The system forgets those that have ended; nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Collections in servers would copy the memory that they share with this process.
    gc.freeze()
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            become(**json.loads(line))
            # Ends the interpreter as that of any program.
            wsgiapp.run()
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def become(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Take on what a started program gets: a session, streams, environment and arguments."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    with open(os.devnull) as nothing, open(log, "ab") as output:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["gunicorn", *arguments]


if __name__ == "__main__":
    fork_servers()
