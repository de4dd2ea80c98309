"""The application of a server that dies as soon as it has stored a job, as in a power cut."""

import os
import signal
from typing import Any

from flask import Flask

import app
from studio.jobs.job import Job
from studio.jobs.store import JobStore


class DyingStore(JobStore):
    def add(self, *args: Any, **more: Any) -> Job:
        super().add(*args, **more)
        os.killpg(os.getpgrp(), signal.SIGKILL)
        raise AssertionError("it is dead")


def create_app() -> Flask:
    app.JobStore = DyingStore
    return app.create_app()
