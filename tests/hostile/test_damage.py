"""Damaged files: cut off at every place, and changed at random. Each is taken or refused, plainly.

Each kind of file is changed up to 2,000 times: as many as fit into MUTATION_SECONDS, and LEAST at
any rate. To do them all, and see how many were done: `MUTATION_SECONDS=3600 .venv/bin/python -m
pytest --log-cli-level INFO tests/hostile/test_damage.py`. `make test-all` takes four times as long
for each kind as `make test`. The seeds are the numbers, so that a failure can be had again.
"""

import logging
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.hostile_files import (
    KINDS,
    TAKEN,
    examined,
    make_kinds,
    ogg_page,
    ogg_pages,
    open_door,
    send,
)
from tests.support.sounds import RATE_HZ

FEW_UNLESS_SLOW = [
    kind if kind in ("wav", "mp3", "m4a") else pytest.param(kind, marks=pytest.mark.slow)
    for kind in KINDS
]
MUTATIONS = 2000
MUTATION_SECONDS = float(os.environ.get("MUTATION_SECONDS", "1.5"))
LEAST = 25
# Of the changed files so many are sent to the application too.
SENT = 8
SECONDS = 0.4
CUT_SECONDS = 2.0
REFUSALS = {"not_audio", "audio_truncated", "audio_unsupported", "audio_too_long", "empty_file"}


log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    yield from open_door(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = make_kinds(tmp_path_factory.mktemp("kinds"), SECONDS)
    return {kind: path.read_bytes() for kind, path in made.items()}


def mutated(content: bytes, seed: str) -> bytes:
    """A file with one to eight changes, often in its first kilobyte, where the header is.

    Three of four Ogg files are changed inside of their pages, whose checksums are made right again:
    else no change would get further than that.
    """
    chance = random.Random(seed)
    if content[:4] == b"OggS" and chance.random() < 0.75:
        pages = list(ogg_pages(content))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(len(pages), chance.choice([2, len(pages)])))
            flags, granule, serial, number, lengths, body = pages[at]
            changed = _changed(body, chance)[: len(body)].ljust(len(body), b"\0")
            granule = chance.choice([granule] * 4 + [0, -1, 2**62])
            pages[at] = (flags, granule, serial, number, lengths, changed)
        return b"".join(ogg_page(*page) for page in pages)
    return _changed(content, chance)


def _changed(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        reach = min(len(changed), chance.choice([64, 1024, len(changed), len(changed)]))
        at = chance.randrange(reach + 1)
        length = chance.choice([1, 2, 4, 8, 64, 1000])
        part = changed[at : at + length]
        change = chance.randrange(7)
        if change == 0 and part:
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        elif change == 1:
            part[:] = chance.randbytes(len(part))
        elif change == 2:
            part[:] = bytes([chance.choice([0, 0xFF, 0x7F, 0x80])]) * len(part)
        elif change == 3:
            part.clear()
        elif change == 4:
            part *= chance.choice([2, 3, 50])
        elif change == 5:
            other = chance.randrange(len(changed) + 1)
            part[:] = changed[other : other + len(part)]
        else:
            part[:] = chance.randbytes(length) + part
        changed[at : at + length] = part
    if chance.random() < 0.1:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


@pytest.mark.parametrize("longer", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", FEW_UNLESS_SLOW)
def test_files_that_were_changed_at_random(
    kinds: dict[str, bytes], tmp_path: Path, kind: str, longer: int
) -> None:
    path = tmp_path / f"song.{kind}"
    outcomes: list[str] = []
    ends_s = time.monotonic() + longer * MUTATION_SECONDS
    for number in range(MUTATIONS):
        if number >= LEAST and time.monotonic() > ends_s:
            break
        path.write_bytes(mutated(kinds[kind], f"{kind} {number}"))
        try:
            outcomes.append(examined(path))
        except AssertionError as error:
            raise AssertionError(f"the change number {number} of {kind}: {error}") from error
    log.info("%d changed files of the kind %s", len(outcomes), kind)
    assert set(outcomes) <= REFUSALS | {TAKEN}
    assert TAKEN in outcomes and set(outcomes) & REFUSALS


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_that_are_sent(door: FlaskClient, kinds: dict[str, bytes], kind: str) -> None:
    for number in range(SENT):
        answer = send(door, mutated(kinds[kind], f"sent {kind} {number}"), f"song.{kind}")
        assert answer.status_code == 201 or answer.get_json()["code"] in REFUSALS


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = make_kinds(tmp_path_factory.mktemp("whole"), CUT_SECONDS)
    return {kind: path.read_bytes() for kind, path in made.items()}


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "m4a", "ogg"])
def test_files_that_are_cut_off_at_many_hundredths(
    whole: dict[str, bytes], tmp_path: Path, kind: str, step: int
) -> None:
    """All are refused, but where so little is missing that it may be an encoder's padding."""
    path = tmp_path / f"song.{kind}"
    for percent in range(1, 100, step):
        path.write_bytes(whole[kind][: len(whole[kind]) * percent // 100])
        outcome = examined(path)
        if percent < 88:
            assert outcome in ("audio_truncated", "not_audio"), (percent, outcome)
        if (65 if kind == "ogg" else 10) < percent < 88:  # Vorbis begins with its codebooks
            assert outcome == "audio_truncated", (percent, outcome)
    path.write_bytes(whole[kind])
    assert examined(path, [(RATE_HZ, 2), (16_000, 1)]) == TAKEN


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "m4a", "ogg"])
def test_a_cut_off_file_that_is_sent(door: FlaskClient, whole: dict[str, bytes], kind: str) -> None:
    answer = send(door, whole[kind][: len(whole[kind]) * 7 // 10], f"song.{kind}")
    assert answer.get_json()["code"] == "audio_truncated"
    assert "Upload the complete file" in answer.get_json()["error"]
    assert send(door, whole[kind], f"song.{kind}").get_json()["note"] is None
