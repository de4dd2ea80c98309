"""How each error arises over real HTTP: status, code, a sentence, and nothing left behind."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from studio.errors import all_errors
from tests.support.problems import FORM, World, assert_problem, left_on, part, send
from tests.support.server import Server
from tests.support.sounds import convert, noise, write_wav

Send = Callable[[World], requests.Response]
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def world(server: Server, short_wav: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Real sounds in every container, whole and damaged, and three uploads."""
    folder = tmp_path_factory.mktemp("sounds")
    song = write_wav(folder / "song.wav", noise(8.0, seed=31))
    sounds = {"song.wav": song.read_bytes()}
    for kind in ("mp3", "m4a", "flac"):
        whole = convert(song, folder / f"song.{kind}").read_bytes()
        sounds |= {f"song.{kind}": whole, f"half.{kind}": whole[: len(whole) // 2]}
    for name, sound, rate_hz in (
        ("zero.wav", noise(0.0), 44_100),
        ("12.wav", noise(0.5, channels=12), 44_100),
        ("3k.wav", noise(0.5, rate_hz=3_000), 3_000),
        ("384k.wav", noise(0.5, rate_hz=384_000), 384_000),
    ):
        sounds[name] = write_wav(folder / name, sound, rate_hz).read_bytes()
    text = server.post("/upload", files={"file": ("prompt.txt", "slow piano")}).json()["file_id"]
    return World(server, server.separate(short_wav), server.upload(song), text, sounds)


def get(path: str, **more: Any) -> Send:
    """GET a path; {done}, {fresh} and {text} stand for the ids."""
    return lambda world: world.server.get(filled(path, world), **more)


def post(path: str, **more: Any) -> Send:
    return lambda world: world.server.post(filled(path, world), **more)


def method(name: str, path: str) -> Send:
    return lambda world: requests.request(name, world.server.url + filled(path, world), timeout=30)


def filled(path: str, world: World) -> str:
    return path.format(done=world.done, fresh=world.fresh, text=world.text)


def option(body: Any) -> Send:
    """Ask for a separation of an untouched song with a JSON body."""
    return post("/process/demucs/{fresh}", json=body)


def raw(body: bytes, kind: str = "application/json") -> Send:
    return post("/process/demucs/{fresh}", data=body, headers={"Content-Type": kind})


def upload(filename: str, content: str | bytes, field: str = "file") -> Send:
    """Upload bytes, or one of the world's sounds, under a file name."""

    def do(world: World) -> requests.Response:
        data = world.sounds[content] if isinstance(content, str) else content
        return send(world.server, part(filename, data, field))

    return do


def two_files(second: str) -> Send:
    def do(world: World) -> requests.Response:
        song = world.sounds["song.wav"]
        return send(world.server, part("a.wav", song), part("b.wav", song, second))

    return do


# code, what the sentence names, how it arises
CASES: list[tuple[str, str, Send]] = [
    ("unknown_file", UNKNOWN, get(f"/status/{UNKNOWN}")),
    ("unknown_file", UNKNOWN, get(f"/files/{UNKNOWN}")),
    ("unknown_file", UNKNOWN, get(f"/download/{UNKNOWN}/vocals")),
    ("unknown_file", UNKNOWN, get(f"/download/{UNKNOWN}/all.zip")),
    ("unknown_file", UNKNOWN, post(f"/process/demucs/{UNKNOWN}")),
    ("unknown_file", UNKNOWN, post(f"/separate/{UNKNOWN}")),
    ("unknown_file", UNKNOWN, post(f"/cancel/{UNKNOWN}")),
    ("unknown_file", UNKNOWN, method("DELETE", f"/cleanup/{UNKNOWN}")),
    ("unknown_file", "'..'", get("/status/%2e%2e")),
    ("unknown_file", ".incoming", method("DELETE", "/cleanup/.incoming")),
    ("unknown_file", "x00", get("/status/%00")),
    ("unknown_model", "'demux'", post("/process/demux/{fresh}")),
    ("unknown_track", "'piano'", get("/download/{done}/piano")),
    ("unknown_track", "'no_piano'", get("/download/{done}/no_piano")),
    ("unknown_track", "'transcription'", get("/download/{done}/transcription")),
    ("unknown_track", "'.wav'", get("/download/{done}/.wav")),
    ("unknown_variant", "'htdemux'", option({"model_variant": "htdemux"})),
    (
        "unknown_variant",
        "'basse'",
        post("/process/whisper/{fresh}", json={"model_variant": "basse"}),
    ),
    ("unknown_variant", "'hf://'", option({"model_variant": "hf://"})),
    ("unknown_variant", "'hf://../../x'", option({"model_variant": "hf://../../x"})),
    ("unknown_stem", "'piano'", option({"stems": ["vocals", "piano"]})),
    ("unknown_format", "'aac'", option({"format": "aac"})),
    ("unknown_format", "'format'", option({"format": 3})),
    ("unknown_format", "'aac'", get("/download/{done}/vocals?format=aac")),
    ("unknown_format", "''", get("/download/{done}/all.zip?format=")),
    ("unknown_option", "'shift'", option({"shift": 1})),
    ("invalid_option", "'model_variant'", option({"model_variant": 1})),
    ("invalid_option", "'model_variant'", option({"model_variant": ""})),
    ("invalid_option", "'model_variant'", option({"model_variant": "x" * 1000})),
    ("unknown_stem", "'piano'", option({"stems": "piano"})),
    ("unknown_option", "webhook", option({"web_hook": "https://example.org"})),
    ("invalid_option", "'stems'", option({"stems": []})),
    ("invalid_option", "'stems.0'", option({"stems": [None]})),
    ("invalid_option", "'shifts'", option({"shifts": "2"})),
    ("invalid_option", "'shifts'", option({"shifts": True})),
    ("invalid_option", "'shifts'", option({"shifts": -1})),
    ("invalid_option", "'shifts'", option({"shifts": 21})),
    ("invalid_option", "'overlap'", option({"overlap": "a quarter"})),
    ("invalid_option", "'overlap'", option({"overlap": 1.0})),
    ("invalid_option", "'overlap'", raw(b'{"overlap": NaN}')),
    ("invalid_option", "'language'", post("/process/whisper/{fresh}", json={"language": "xx"})),
    ("unknown_option", "'stems'", post("/process/whisper/{fresh}", json={"stems": ["vocals"]})),
    ("invalid_option", "`wait` is 'abc'", get("/status/{fresh}?wait=abc")),
    ("invalid_option", "`wait` is '-1'", get("/status/{fresh}?wait=-1")),
    ("invalid_option", "`wait` is '61'", get("/status/{fresh}?wait=61")),
    ("invalid_option", "`wait` is 'nan'", get("/status/{fresh}?wait=nan")),
    ("invalid_json", "line 1", raw(b"{not json")),
    ("invalid_json", "object", raw(b'["vocals"]')),
    ("invalid_json", "object", raw(b"null")),
    ("invalid_json", "recursion", raw(b"[" * 50_000)),
    ("invalid_json", "utf-8", raw(b'{"format": "\xff"}')),
    ("unsupported_media_type", "x-www-form", post("/separate/{fresh}", data={"shifts": 1})),
    ("unsupported_media_type", "text/plain", raw(b'{"shifts": 1}', "text/plain")),
    (
        "unsupported_media_type",
        "audio/wav",
        post("/upload", data=b"RIFF", headers={"Content-Type": "audio/wav"}),
    ),
    ("unsupported_media_type", "''", post("/upload")),
    ("wrong_file_type", "'prompt.txt'", post("/process/demucs/{text}")),
    ("wrong_file_type", "'prompt.txt'", post("/process/whisper/{text}")),
    ("wrong_file_type", "'song.wav'", post("/process/musicgen/{fresh}")),
    ("unknown_route", "'/no/such/route'", get("/no/such/route")),
    ("unknown_route", "/uploads/", get("/uploads/{done}/upload.json")),
    ("method_not_allowed", "GET", method("DELETE", "/health")),
    ("method_not_allowed", "POST", get("/upload")),
    ("method_not_allowed", "DELETE", post("/cleanup/{done}")),
    ("nothing_to_cancel", "queued or processing", post("/cancel/{fresh}")),
    ("nothing_to_cancel", "queued or processing", post("/cancel/{done}")),
    ("not_ready", "/process/demucs/", get("/download/{fresh}/vocals")),
    ("not_ready", "/process/demucs/", get("/download/{fresh}/all.zip")),
    (
        "range_not_satisfiable",
        "bytes=99999999-",
        get("/download/{done}/vocals", headers={"Range": "bytes=99999999-"}),
    ),
    (
        "precondition_failed",
        "If-Match",
        get("/download/{done}/vocals", headers={"If-Match": '"another"'}),
    ),
    ("no_file", "empty", post("/upload", data=b"", headers=FORM)),
    ("no_file", "'sound'", upload("song.wav", "song.wav", field="sound")),
    ("no_file", "text", post("/upload", files={"x": ("", b"")}, data={"file": "song"})),
    ("bad_request", "one file", two_files("file")),
    ("bad_request", "one file", two_files("other")),
    ("empty_file", "'song.wav'", upload("song.wav", b"")),
    ("empty_file", "'prompt.txt'", upload("prompt.txt", b"")),
    ("bad_filename", "path", upload("../song.wav", "song.wav")),
    ("bad_filename", "path", upload("/etc/passwd", "song.wav")),
    ("bad_filename", "path", upload("..\\\\song.wav", "song.wav")),
    ("bad_filename", "path", upload("C:\\\\song.wav", "song.wav")),
    ("bad_filename", "control", upload("so\x07ng.wav", "song.wav")),
    ("bad_filename", "control", upload("so\x00ng.wav", "song.wav")),
    ("bad_filename", "control", upload("so\u2028ng.wav", "song.wav")),
    ("bad_filename", "200", upload("a" * 200 + ".wav", "song.wav")),
    ("bad_filename", "no name", upload("", "song.wav")),
    ("unsupported_file_type", "'song.exe'", upload("song.exe", "song.wav")),
    ("unsupported_file_type", "'song'", upload("song", "song.wav")),
    ("unsupported_file_type", "'song.wav.'", upload("song.wav.", "song.wav")),
    ("not_audio", "no audio", upload("text.mp3", b"This is a text, not a song.\n" * 500)),
    ("not_audio", "no audio", upload("noise.wav", bytes(range(256)) * 40)),
    ("not_audio", "no audio", upload("zero.wav", "zero.wav")),
    ("not_audio", "no audio", upload("list.m4a", b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n")),
    ("audio_truncated", "8.0 s", upload("half.mp3", "half.mp3")),
    ("audio_truncated", "8.0 s", upload("half.flac", "half.flac")),
    ("audio_truncated", "M4A", upload("half.m4a", "half.m4a")),
    ("audio_unsupported", "channels", upload("12.wav", "12.wav")),
    ("audio_unsupported", "3,000 Hz", upload("3k.wav", "3k.wav")),
    ("audio_unsupported", "384,000 Hz", upload("384k.wav", "384k.wav")),
    ("text_unreadable", "UTF-8", upload("prompt.txt", b"\xff\xfe\x00")),
    ("text_unreadable", "is empty", upload("prompt.txt", b" \n\t ")),
    ("text_unreadable", "bytes", upload("prompt.txt", b"a" * ((1 << 20) + 1))),
    ("file_too_large", "65,536", raw(b'{"stems": ["' + b"a" * (1 << 16) + b'"]}')),
    (
        "file_too_large",
        "besides the file",
        post("/upload", data={"more": "a" * 600_000}, files={"file": ("song.wav", b"RIFF")}),
    ),
]

# Codes that arise in other tests: the module and the test.
ELSEWHERE = {
    "unauthorized": ("web.test_keys", "test_everything_else_needs_a_good_key"),
    "origin_refused": ("web.test_rates", "test_pages_of_other_origins_change_nothing"),
    "too_many_requests": ("web.test_rates", "test_what_makes_work_has_a_stricter_rate"),
    "too_many_uploads": ("web.test_bounds", "test_uploads_at_the_same_time"),
    "upload_too_slow": ("web.test_pace", "test_a_slow_upload_is_ended_and_told"),
    "quota_exceeded": ("hostile.test_fairness", "test_a_key_has_a_quota_of_bytes"),
    "too_many_webhooks": (
        "hostile.test_webhooks",
        "test_a_client_has_a_bounded_number_of_messages",
    ),
    "unknown_host": ("hostile.test_origins_and_hosts", "test_a_rebound_name_reaches_nothing"),
    "decoder_ended": (
        "hostile.test_killed_decoder",
        "test_a_decoder_that_is_killed_is_the_servers_trouble",
    ),
    "too_many_conversions": (
        "hostile.test_dropped_downloads",
        "test_a_client_waits_for_a_few_formats_only",
    ),
    "too_many_waiting": ("web.compat.openai.test_jobs", "test_so_many_requests_of_a_client_wait"),
    "too_many_sessions": (
        "web.compat.openai.test_realtime_connections",
        "test_a_client_may_have_so_many_sessions",
    ),
    "too_many_jobs": ("web.test_bounds", "test_jobs_of_one_client"),
    "audio_too_long": ("web.test_bounds", "test_seconds_and_decoded_bytes"),
    "font_missing": ("web.test_videos", "test_an_edited_transcript_gets_a_new_video"),
    "disk_full": ("web.test_errors_limits", "test_a_full_disk_refuses_an_upload"),
    "storage_unavailable": (
        "hostile.test_full_disk",
        "test_a_read_only_disk_is_told_and_recovered_from",
    ),
    "queue_full": ("web.test_errors_limits", "test_a_full_queue_says_when_to_come_again"),
    "weights_missing": ("web.test_errors_jobs", "test_missing_weights"),
    "model_unusable": ("web.test_errors_jobs", "test_damaged_weights"),
    "precondition_required": ("web.test_editing", "test_nobody_overwrites_an_edit_unseen"),
    "not_editable": ("web.test_editing", "test_only_transcripts_are_edited"),
    "not_listed": ("web.test_uploads", "test_a_server_without_keys_lists_nothing"),
    "invalid_link": ("web.test_links", "test_a_forged_link_opens_nothing"),
    "results_gone": ("web.test_errors_jobs", "test_results_that_somebody_removed"),
    "interrupted": ("web.test_errors_jobs", "test_a_job_that_stops_the_server_again_and_again"),
    "internal_error": ("web.test_errors_jobs", "test_a_defect_in_a_request"),
}


@pytest.mark.parametrize(
    ("code", "names", "case"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_an_error(world: World, code: str, names: str, case: Send) -> None:
    before = left_on(world.server)
    answer = case(world)
    body = assert_problem(answer, code, names)
    assert body["status"] < 500
    assert left_on(world.server) == before
    jobs = world.server.get(f"/status/{world.fresh}").json()["jobs"]
    assert jobs == []


def test_an_address_says_which_methods_it_takes(world: World) -> None:
    answer = method("PUT", "/cleanup/{done}")(world)
    assert {name.strip() for name in answer.headers["Allow"].split(",")} >= {"DELETE"}


def test_head_has_the_status_of_an_error_but_no_body(world: World) -> None:
    answer = method("HEAD", f"/status/{UNKNOWN}")(world)
    assert (answer.status_code, answer.content) == (404, b"")


def test_the_whole_files_are_fine(world: World) -> None:
    """What the damaged files above were made from is accepted."""
    for name in ("song.wav", "song.mp3", "song.m4a", "song.flac"):
        assert send(world.server, part(name, world.sounds[name])).status_code == 201


def test_every_code_arises_in_a_test() -> None:
    arising = {code for code, _, _ in CASES}
    assert not arising & ELSEWHERE.keys()
    assert arising | ELSEWHERE.keys() == {error.code for error in all_errors()}
    for module, test in ELSEWHERE.values():
        assert callable(getattr(importlib.import_module(f"tests.{module}"), test))
