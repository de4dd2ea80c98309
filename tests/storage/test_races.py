"""Readers and writers of the same files at the same time: nobody ever sees a half."""

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.errors import UnknownFile
from tests.support.folders import Folders, result_in


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_a_file_that_is_added_by_many_is_made_whole(folders: Folders) -> None:
    """Half of it is written before all callers have asked; one of them makes it for all."""
    folder = folders.publish(folders.upload(), vocals=b"stem")
    callers = 6
    half = os.urandom(1 << 20)
    made: list[Path] = []
    asked = threading.Semaphore(0)

    def make(path: Path) -> None:
        made.append(path)
        with open(path, "wb") as file:
            file.write(half)
            for _ in range(callers):
                assert asked.acquire(timeout=30)
            file.write(half)

    def add() -> bytes:
        asked.release()
        return (
            result_in(folders.storage, folder)
            .add("vocals.mp3", lambda: 2 << 20, make)
            .path.read_bytes()
        )

    with ThreadPoolExecutor(callers) as pool:
        answers = [future.result() for future in [pool.submit(add) for _ in range(callers)]]
    assert answers == [half + half] * callers
    assert len(made) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["vocals.mp3", "vocals.wav"]


def watch(look: Callable[[], None], act: Callable[[], None]) -> None:
    """Run `look` again and again on another thread while `act` runs."""
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            look()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(loop)
        try:
            act()
        finally:
            over.set()
        watching.result(timeout=60)


def test_whoever_looks_sees_whole_uploads_and_whole_results(folders: Folders) -> None:
    content = os.urandom(1 << 20)
    seen: set[str] = set()

    def look() -> None:
        for folder in folders.uploads.iterdir():
            if folder.name != ".incoming":
                record = json.loads((folder / "upload.json").read_text("utf-8"))
                assert record["file_id"] == folder.name
                assert (folder / "source.wav").stat().st_size == len(content)
        for result in folders.outputs.glob("[0-9a-f]*/*"):
            names = sorted(path.name for path in result.iterdir())
            assert names == ["drums.wav", "vocals.wav"]
            assert all(path.stat().st_size == len(content) for path in result.iterdir())
            seen.add(str(result))

    def act() -> None:
        for _ in range(30):
            folders.publish(folders.upload(content), vocals=content, drums=content)

    watch(look, act)
    look()
    assert len(seen) == 30


def test_whoever_looks_sees_an_upload_whole_until_it_is_gone(folders: Folders) -> None:
    upload = folders.upload(b"sound")
    gone: list[bool] = []

    def look() -> None:
        try:
            assert folders.storage.upload(upload.file_id) == upload
        except UnknownFile:
            gone.append(True)
        else:
            assert not gone

    watch(look, lambda: folders.storage.remove(upload.file_id))
    look()
    assert gone
