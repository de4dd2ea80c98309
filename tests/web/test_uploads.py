"""The list of uploads."""

from pathlib import Path
from typing import Any

from tests.support.keys import ANN, BOB, upload
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import noise, write_wav


def listed(server: Server, key: str, path: str = "/files") -> dict[str, Any]:
    answer = server.get(path, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_uploads_are_listed_newest_first_in_pages(locked: Server, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "a.wav", noise(0.1))
    mine = [upload(locked, sound, ANN, f"歌 {number}.wav") for number in range(53)]
    other = upload(locked, sound, BOB, "other.wav")
    locked.post(f"/process/demucs/{mine[-1]}", headers={"X-API-Key": ANN})
    locked.wait(mine[-1], headers={"X-API-Key": ANN})
    page = listed(locked, ANN)
    assert [one["file_id"] for one in page["files"]] == mine[:2:-1]
    assert page["files_total"] == 53
    assert set(page["quota"].values()) == {None}
    assert page["files"][0]["filename"] == "歌 52.wav"
    assert [one["status"] for one in page["files"][:2]] == ["completed", "uploaded"]
    # A page goes on where the one before ended, even if that upload is gone.
    locked.delete(f"/cleanup/{page['files'][-1]['file_id']}", headers={"X-API-Key": ANN})
    last = listed(locked, ANN, page["next"])
    assert [one["file_id"] for one in last["files"]] == mine[2::-1]
    assert (last["next"], last["files_total"]) == (None, 52)
    assert [one["file_id"] for one in listed(locked, BOB)["files"]] == [other]


def test_a_wrong_position(locked: Server) -> None:
    answer = locked.get("/files?before=x", headers={"X-API-Key": ANN})
    assert_problem(answer, "invalid_option", "next")


def test_a_server_without_keys_lists_nothing(live_server: Server) -> None:
    assert_problem(live_server.get("/files"), "not_listed", "API keys")
