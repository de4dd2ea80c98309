"""audio-separator's remote API, with its own client."""

import base64
import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest
import requests
import soundfile
from audio_separator.remote import AudioSeparatorAPIClient

from studio import __version__, audio
from studio.audio import Probe
from studio.errors import NotAudio
from studio.web.compat.form_requests import ReceivedFile
from studio.web.compat.separator_task import SeparationRequest, Task
from studio.web.services import MAX_WAITING_PER_CLIENT
from tests.support.hostile_files import open_door
from tests.support.server import Server
from tests.support.sounds import noise, write_wav
from tests.support.storage import disk_storage

KEY = "separator-0123456789"
PREFIX = "/audio-separator"
UVR = "UVR-MDX-NET-Inst_HQ_5.onnx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("separator"),
        MODEL_DIR=weights,
        DEMUCS_MODEL="swift",
        SEPARATION_ENGINE="torch",
        API_KEYS=f"{KEY},another-0123456789",
    ).start()
    yield server
    server.stop_later()


def client_of(server: Server, key: str = KEY) -> Any:
    """The client has no field for a key: it is part of the address."""
    address = server.url.replace("http://", f"http://x:{key}@")
    return AudioSeparatorAPIClient(f"{address}{PREFIX}", logging.getLogger("client"))


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    client = client_of(server)
    with client.session:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("songs") / "歌 (Live)_(Vocals)_x.wav", noise(0.5))


def separated(client: Any, song: Path, folder: Path, **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = client.separate_audio_and_wait(
        str(song), poll_interval=0.2, timeout=120, output_dir=str(folder), **more
    )
    return result


def test_the_client_separates_waits_and_downloads(client: Any, song: Path, tmp_path: Path) -> None:
    """A model of UVR produces vocals and the rest; the answer names what replaced it."""
    result = separated(client, song, tmp_path, model=UVR)
    assert result["status"] == "completed", result
    model = UVR.removesuffix(".onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"歌 (Live)_x_(Instrumental)_{model}.flac",
        f"歌 (Live)_x_(Vocals)_{model}.flac",
    ]
    for path in result["downloaded_files"]:
        assert soundfile.info(path).frames == 22_050
    status = client.get_job_status(result["task_id"])
    assert status["models_used"] == [f"swift (instead of {UVR})"]
    assert status["progress"] == 100
    assert status["original_filename"] == song.name
    # The client's older way to download, by name.
    name = next(iter(status["files"].values()))
    again = client.download_file(result["task_id"], name, str(tmp_path / "again.flac"))
    assert Path(again).read_bytes() == (tmp_path / name).read_bytes()


def test_models_of_demucs_give_all_stems(client: Any, song: Path, tmp_path: Path) -> None:
    names = {"Vocals": "sung", "Drums": "../hit"}
    result = separated(
        client, song, tmp_path, model="swift.yaml", output_format="MP3", custom_output_names=names
    )
    assert client.get_job_status(result["task_id"])["models_used"] == ["swift.yaml"]
    assert set(result["files"].values()) == {
        "sung.mp3",
        ".._hit.mp3",
        "歌 (Live)_x_(Bass)_swift.mp3",
        "歌 (Live)_x_(Other)_swift.mp3",
    }


def test_one_stem_of_several_models(client: Any, song: Path, tmp_path: Path) -> None:
    models = ["swift", UVR]
    result = separated(
        client, song, tmp_path, models=models, output_single_stem="Instrumental",
        custom_output_names={"Instrumental": "band"}, output_format="wav",
    )  # fmt: skip
    assert set(result["files"].values()) == {
        "band_swift.wav",
        f"band_{UVR.removesuffix('.onnx')}.wav",
    }
    assert client.get_job_status(result["task_id"])["total_models"] == 2


@pytest.mark.parametrize(
    "wanted", [{"preset": "karaoke"}, {"model": "mel_band_roformer_karaoke_becruily.ckpt"}]
)
def test_unavailable_models_and_presets_are_errors(
    client: Any, song: Path, tmp_path: Path, wanted: dict[str, str]
) -> None:
    result = separated(client, song, tmp_path, **wanted)
    assert result["status"] == "error"
    assert "lead and backing vocals apart" in result["error"]


@pytest.mark.parametrize("known", [["denoise_v2"], []])
def test_only_models_that_are_not_there_are_refused_by_name(
    tmp_path: Path, known: list[str]
) -> None:
    storage = disk_storage(tmp_path, tmp_path)
    storage.open()
    fields = {"models": ['["swift", "denoise_v2.yaml"]']}
    incoming = storage.receive()
    wanted = SeparationRequest.of(ReceivedFile(incoming, "song.wav", fields), ["swift", *known])
    storage.discard(incoming)
    assert wanted.variants == ("swift", "denoise_v2" if known else None)
    assert (wanted.refusal is None) == bool(known)


@pytest.mark.parametrize("name", ["01. " + "歌" * 300 + ".flac", "01. a.flac"])
def test_stems_of_a_long_name_have_most_of_it(name: str) -> None:
    task = Task.of(SeparationRequest(("swift",), ("swift",)), name)
    unused: Any = None
    [output] = task.outputs(0, unused, ["vocals"], "swift")
    kept = Path(name).stem[: 150 - len(".flac")]
    assert output.filename == f"{kept}_(Vocals)_swift.flac"


def job_ids_of(task_id: str) -> tuple[str, ...]:
    task = Task.from_id(task_id)
    assert task is not None
    return task.job_ids


def forged(job_ids: list[str], models: int = 1) -> str:
    """The ID of a task that was never started, with the jobs of others."""
    wanted = [["default"] * models, [None] * models, "flac", None, {}, None]
    text = json.dumps(["song.wav", job_ids, *wanted], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_an_id_names_jobs_that_can_exist() -> None:
    """PostgreSQL takes no NUL, so a query for such a job would fail."""
    assert job_ids_of(forged(["0" * 32])) == ("0" * 32,)
    for job_id in ("\0\0\0", "0" * 31, "x" * 32, "0" * 32 + "\n"):
        assert Task.from_id(forged([job_id])) is None


def test_tasks_that_do_not_exist_or_belong_to_others_are_not_found(
    server: Server, client: Any, song: Path, tmp_path: Path
) -> None:
    for task_id in ("00000000-0000-4000-8000-000000000000", "W10", "x" * 3000, "bnVsbA"):
        assert client.get_job_status(task_id)["status"] == "not_found"
    mine = client.separate_audio(str(song), preset="vocal_balanced")["task_id"]
    other = client_of(server, "another-0123456789")
    with other.session:
        theirs = other.separate_audio(str(song), preset="vocal_balanced")["task_id"]
    [my_job], [their_job] = map(job_ids_of, (mine, theirs))
    assert client.get_job_status(forged([my_job]))["status"] != "not_found"
    for job_ids, models in (([], 1), ([my_job] * 2, 1), (["\ud800"], 1), ([my_job, their_job], 2)):
        assert client.get_job_status(forged(job_ids, models))["status"] == "not_found"
    with other.session:
        assert other.get_job_status(mine)["status"] == "not_found"
        with pytest.raises(requests.HTTPError, match="404"):
            other.download_file_by_hash(mine, "0-vocals", "a", str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"output_format": "m4a"}, 400, "`output_format` is 'm4a'"),
        ({"output_single_stem": "Flute"}, 400, "'flute'"),
        ({"models": "{}"}, 400, "`models`"),
        ({"models": "["}, 400, "`models` is not JSON"),
        ({"models": '["a", "b", "c", "d", "e"]'}, 400, "at most 4"),
        ({"custom_output_names": "[1]"}, 400, "`custom_output_names`"),
        ({"custom_output_names": r'{"Vocals": "\ud800"}'}, 400, "is not JSON"),
        ({"models": r'["\ud800"]'}, 400, "is not JSON"),
        ({"custom_output_names": f'{{"Vocals": "{"歌" * 900}"}}'}, 400, "too long"),
    ],
)
def test_a_wrong_value_is_named(
    server: Server, song: Path, fields: dict[str, str], status: int, named: str
) -> None:
    answer = server.post(
        f"{PREFIX}/separate",
        data=fields,
        files={"file": song.read_bytes()},
        headers={"X-API-Key": KEY},
    )
    assert answer.status_code == status
    assert named in answer.json()["detail"]


def test_errors_have_the_form_of_this_api(server: Server) -> None:
    with_key = {"X-API-Key": KEY}
    for answer, status in (
        (server.get(f"{PREFIX}/models"), 401),
        (server.get(f"{PREFIX}/nothing", headers=with_key), 404),
        (server.get(f"{PREFIX}/separate", headers=with_key), 405),
        (server.post(f"{PREFIX}/separate", headers=with_key), 415),
        (server.get(f"{PREFIX}/download/a/b", headers=with_key), 404),
        (server.post(f"{PREFIX}/separate", headers=with_key, files={"file": b"?"}), 400),
    ):
        assert answer.status_code == status
        assert answer.json().keys() == {"detail", "code"}


def test_the_client_lists_models_and_reads_the_version(client: Any) -> None:
    assert client.get_server_version() == __version__
    listed = client.list_models("json")["Demucs"]
    assert "swift.yaml" in {model["filename"] for model in listed.values()}
    assert re.search(r"^swift\.yaml +Demucs", client.list_models()["text"], re.M)
    assert "tiny" not in client.list_models(filter_by="swift")["text"]


def test_so_many_files_of_a_client_are_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused before it is received."""
    examined, go_on = Semaphore(0), Event()

    def probe(_path: Path) -> Probe:
        examined.release()
        assert go_on.wait(60)
        raise NotAudio("The file is not examined in this test.")

    monkeypatch.setattr(audio, "probe", probe)
    with contextmanager(open_door)(tmp_path) as door:

        def send(number: int) -> int:
            files = {"file": (BytesIO(bytes([number])), "song.wav")}
            with door.application.test_client() as client:
                return client.post(f"{PREFIX}/separate", data=files).status_code

        with ThreadPoolExecutor(MAX_WAITING_PER_CLIENT + 1) as pool:
            try:
                started = []
                for number in range(MAX_WAITING_PER_CLIENT):
                    started.append(pool.submit(send, number))
                    assert examined.acquire(timeout=60)
                one_more = pool.submit(send, MAX_WAITING_PER_CLIENT)
                assert one_more.result(60) == 429
            finally:
                go_on.set()
            assert {one.result() for one in started} == {400}
        assert send(MAX_WAITING_PER_CLIENT) == 400
