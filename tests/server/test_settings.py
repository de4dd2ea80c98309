"""Settings: defaults, environment, .env, and clear words for what cannot be used."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from config import MODELS, ROOT, Config, ConfigError
from models import SETTINGS, Models
from studio.cli.backend import describe_models

SOUND = {"mp3", "wav", "flac", "m4a", "ogg"}
# Beside those of the contract.
MORE = {"aac", "aif", "aiff", "amr", "mka", "mkv", "mov", "mp4", "mpeg", "mpg", "mpga", "oga"}
MORE |= {"opus", "webm"}

DEFAULTS = {
    "DEBUG": False,
    "HOST": "127.0.0.1",
    "PORT": 8000,
    "CORS_ORIGINS": "*",
    "MAX_CONTENT_LENGTH": 500 * 1024 * 1024,
    "ALLOWED_EXTENSIONS": SOUND | MORE | {"txt"},
    "UPLOAD_FOLDER": "uploads",
    "OUTPUT_FOLDER": "outputs",
    "DATABASE_URL": "",
    "DEMUCS_MODEL": "htdemucs",
    "WHISPER_MODEL": "base",
    "WORKERS": 1,
}

KEY = "0123456789abcdef-key"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

# Key, the text it is given, what becomes of it.
GOOD: list[tuple[str, str, object]] = [
    ("DEBUG", "true", True),
    ("DEBUG", "False", False),
    ("DEBUG", "1", True),
    ("SECRET_KEY", "a long random text", "a long random text"),
    ("HOST", "0.0.0.0", "0.0.0.0"),
    ("PORT", "9001", 9001),
    ("CORS_ORIGINS", "https://A.example, http://b.example/", "https://a.example,http://b.example"),
    ("LOG_FORMAT", "JSON", "json"),
    ("API_KEYS", f" {KEY}, {KEY[::-1]},", frozenset({KEY, KEY[::-1]})),
    ("API_KEYS", "", frozenset()),
    ("METRICS_KEY", KEY, KEY),
    ("ALLOWED_HOSTS", "Studio.example, [::1]", "studio.example,[::1]"),
    ("HUB_REPOSITORIES", "someone/Demucs-x, a/b", "someone/Demucs-x,a/b"),
    ("HUB_REPOSITORIES", "", ""),
    ("HUB_REPOSITORIES", "*", "*"),
    ("TRUSTED_PROXIES", "1", 1),
    ("WYOMING_PORT", "10300", 10300),
    ("WYOMING_HOST", "0.0.0.0", "0.0.0.0"),
    ("MCP_SERVER", "https://studio.example", "https://studio.example"),
    ("MCP_KEY", KEY, KEY),
    ("RATE_LIMIT", "5/second", "5/second"),
    ("RATE_LIMIT", "", ""),
    ("RATE_LIMIT_WORK", "1000/day", "1000/day"),
    ("RATE_STORAGE", "rediss://:word@redis.example:6379/1", "rediss://:word@redis.example:6379/1"),
    ("MAX_UPLOADS", "2", 2),
    ("MAX_CLIENT_UPLOADS", "0", 0),
    ("MAX_CLIENT_JOBS", "0", 0),
    ("MAX_CLIENT_BYTES", "1000", 1000),
    ("MAX_CLIENT_MINUTES", "60", 60),
    ("MAX_SEPARATION_S", "600", 600),
    ("MAX_DURATION_S", "600", 600),
    ("MAX_DECODED_BYTES", "1000000", 1_000_000),
    ("MAX_STORED_BYTES", "5000000", 5_000_000),
    ("RETENTION_HOURS", "24", 24),
    ("LIVE_CLIENT_SESSIONS", "1", 1),
    ("WEBHOOK_SECRET", SECRET, SECRET),
    ("WEBHOOK_ALLOW_PRIVATE", "yes", True),
    ("MAX_CLIENT_WEBHOOKS", "0", 0),
    ("MAX_CONTENT_LENGTH", "1000", 1000),
    ("ALLOWED_EXTENSIONS", ".MP3, wav", frozenset({"mp3", "wav"})),
    ("UPLOAD_FOLDER", "/srv/in", "/srv/in"),
    ("OUTPUT_FOLDER", "/srv/out", "/srv/out"),
    ("MODEL_DIR", "/srv/weights", "/srv/weights"),
    ("FONTS_DIR", "/usr", "/usr"),
    ("DATABASE_URL", "sqlite:////srv/jobs.sqlite3", "sqlite:////srv/jobs.sqlite3"),
    ("STORAGE_URL", "s3://my-bucket/studio", "s3://my-bucket/studio"),
    ("STORAGE_ENDPOINT", "https://s3.example:9000", "https://s3.example:9000"),
    ("STORAGE_REGION", "eu-central-1", "eu-central-1"),
    ("STORAGE_CACHE_BYTES", "0", 0),
    ("DOWNLOADS", "NGINX", "nginx"),
    ("MIN_FREE_BYTES", "0", 0),
    ("WORKERS", "2", 2),
    ("MAX_QUEUED_JOBS", "5", 5),
    ("ROLE", "ALL", "all"),
    ("NODE", "live-1", "live-1"),
    ("ROUTES", "demucs.*_ft=gpu, *=cpu", (("demucs.*_ft", "gpu"), ("*", "cpu"))),
    ("WORKER_QUEUES", "gpu, default", ("gpu", "default")),
    ("WORKER_HEARTBEAT_S", "5", 5),
    ("WORKER_STALLED_S", "60", 60),
    ("MODEL_IDLE_S", "30", 30),
    ("TORCH_THREADS", "4", 4),
    ("DEVICE", "CUDA:1", "cuda:1"),
    ("SEPARATION_ENGINE", "Torch", "torch"),
    ("SEPARATION_PRECISION", "bf16", "bf16"),
    ("DEMUCS_MODEL", "mdx_extra", "mdx_extra"),
    ("WHISPER_MODEL", "tiny", "tiny"),
    ("WHISPER_ENGINE", "openai-whisper", "openai-whisper"),
    ("WHISPER_RUNTIME", "OpenVINO", "openvino"),
    ("LIVE_SESSIONS", "3", 3),
    ("LIVE_WAITING_S", "30", 30),
    ("LIVE_SILENCE_S", "2", 2),
    ("LIVE_LENGTH_S", "600", 600),
    ("LIVE_IDLE_S", "60", 60),
    ("LIVE_CHUNK_BYTES", "65536", 65536),
    ("MUSICGEN_ENGINE", "OpenVINO", "openvino"),
    ("MUSICGEN_PRECISION", "bf16", "bf16"),
    ("MUSICGEN_MODEL", "medium", "medium"),
]

BAD = [
    ("DEBUG", "maybe"),
    ("DEBUG", ""),
    ("HOST", ""),
    ("PORT", "abc"),
    ("PORT", "0"),
    ("PORT", "70000"),
    ("PORT", "80.5"),
    ("CORS_ORIGINS", "localhost"),
    ("CORS_ORIGINS", ","),
    ("CORS_ORIGINS", "https://*.example"),
    ("CORS_ORIGINS", "https://a.example/page"),
    ("ALLOWED_HOSTS", "https://studio.example"),
    ("ALLOWED_HOSTS", "studio.example:8000"),
    ("ALLOWED_HOSTS", ""),
    ("HUB_REPOSITORIES", "hf://someone/x"),
    ("ROLE", "boss"),
    ("NODE", "Live 1"),
    ("NODE", "live.1"),
    ("ROUTES", "demucs"),
    ("ROUTES", "demucs.*=two words"),
    ("WORKER_QUEUES", "two words"),
    ("WORKER_HEARTBEAT_S", "0"),
    ("WORKER_STALLED_S", "1"),
    ("HUB_REPOSITORIES", "someone"),
    ("LOG_FORMAT", "xml"),
    ("TRUSTED_PROXIES", "all"),
    ("RATE_LIMIT", "60"),
    ("RATE_LIMIT", "0/minute"),
    ("RATE_LIMIT_WORK", "60 per minute"),
    ("MAX_UPLOADS", "0"),
    ("MAX_CLIENT_UPLOADS", "-1"),
    ("MAX_CLIENT_JOBS", "-1"),
    ("MAX_CLIENT_BYTES", "1 GB"),
    ("MAX_CLIENT_MINUTES", "-1"),
    ("MAX_SEPARATION_S", "0"),
    ("MAX_DURATION_S", "0"),
    ("MAX_DECODED_BYTES", "8GB"),
    ("MAX_STORED_BYTES", "-1"),
    ("RETENTION_HOURS", "1.5"),
    ("LIVE_CLIENT_SESSIONS", "-1"),
    ("WYOMING_PORT", "65536"),
    ("WYOMING_HOST", ""),
    ("MCP_SERVER", "studio.example"),
    ("WEBHOOK_URL", "ftp://a.example"),
    ("WEBHOOK_ALLOW_PRIVATE", "some"),
    ("MAX_CLIENT_WEBHOOKS", "-1"),
    ("MAX_CONTENT_LENGTH", "500MB"),
    ("MAX_CONTENT_LENGTH", "-1"),
    ("ALLOWED_EXTENSIONS", "exe"),
    ("ALLOWED_EXTENSIONS", ""),
    ("UPLOAD_FOLDER", ""),
    ("OUTPUT_FOLDER", ""),
    ("MODEL_DIR", ""),
    ("FONTS_DIR", "/nowhere/fonts"),
    ("STORAGE_URL", "https://s3.example/bucket"),
    ("STORAGE_URL", "s3://Bucket/studio?x=1"),
    ("STORAGE_ENDPOINT", "s3.example:9000"),
    ("STORAGE_REGION", "eu central"),
    ("STORAGE_CACHE_BYTES", "-1"),
    ("DOWNLOADS", "apache"),
    ("MIN_FREE_BYTES", "-5"),
    ("WORKERS", "0"),
    ("DEVICE", "gpu"),
    ("SEPARATION_ENGINE", "tensorflow"),
    ("SEPARATION_PRECISION", "f8"),
    ("MAX_QUEUED_JOBS", "none"),
    ("MODEL_IDLE_S", "0"),
    ("TORCH_THREADS", "-1"),
    ("DEMUCS_MODEL", ""),
    ("WHISPER_MODEL", ""),
    ("WHISPER_ENGINE", "whisper.cpp"),
    ("WHISPER_RUNTIME", "torch"),
    ("LIVE_SESSIONS", "0"),
    ("LIVE_WAITING_S", "4"),
    ("LIVE_SILENCE_S", "-1"),
    ("LIVE_LENGTH_S", "long"),
    ("LIVE_IDLE_S", "0"),
    ("LIVE_CHUNK_BYTES", "10"),
    ("MUSICGEN_ENGINE", "audiocraft"),
    ("MUSICGEN_PRECISION", "int2"),
    ("MUSICGEN_MODEL", ""),
]

# Values that must not be repeated in the error.
BAD_SECRETS = [
    ("SECRET_KEY", " "),
    ("API_KEYS", "too-short"),
    ("API_KEYS", f"{KEY},too-short"),
    ("METRICS_KEY", "too-short"),
    ("MCP_KEY", "too-short"),
    ("METRICS_KEY", f"{KEY},{KEY[::-1]}"),
    ("API_KEYS", "a key with spaces in it"),
    ("API_KEYS", "schlüssel-0123456789"),
    ("WEBHOOK_SECRET", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ("WEBHOOK_SECRET", "whsec_c2hvcnQ="),
    ("WEBHOOK_SECRET", "whsec_*"),
    ("RATE_STORAGE", "memcached://cache.example"),
]


def test_the_models_of_the_contract() -> None:
    assert set(MODELS) == {"demucs", "whisper", "musicgen", "analysis"}
    assert MODELS["demucs"] == {"file_types": SOUND, "purpose": "Audio source separation"}
    assert MODELS["whisper"] == {"file_types": SOUND, "purpose": "Speech-to-text transcription"}
    assert MODELS["analysis"] == {"file_types": SOUND, "purpose": "Tempo, beats, key and chords"}
    assert MODELS["musicgen"] == {"file_types": {"txt"}, "purpose": "Text-to-music generation"}


def test_the_defaults_of_the_contract() -> None:
    config = Config.load(environ={}, dotenv=None)
    assert {key: getattr(config, key) for key in DEFAULTS} == DEFAULTS
    assert config == Config()
    assert config.upload_folder == ROOT / "uploads"
    assert config.output_folder == ROOT / "outputs"
    assert config.database_url == f"sqlite:///{ROOT / 'outputs' / '.jobs.sqlite3'}"
    assert config.cors_origins == "*"


@pytest.mark.parametrize(("key", "text", "value"), GOOD)
def test_a_setting_comes_from_the_environment(key: str, text: str, value: object) -> None:
    config = Config.load(environ={key: text}, dotenv=None)
    assert getattr(config, key) == value
    assert dataclasses.replace(config, **{key: getattr(Config(), key)}) == Config()


@pytest.mark.parametrize(("key", "text", "value"), GOOD)
def test_a_setting_comes_from_the_env_file(
    key: str, text: str, value: object, tmp_path: Path
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"# a comment\n{key}='{text}'\n")
    assert getattr(Config.load(environ={}, dotenv=dotenv), key) == value


def test_every_setting_is_tested() -> None:
    fields = {field.name for field in dataclasses.fields(Config)}
    assert {key for key, _, _ in GOOD} | {"WEBHOOK_URL"} == fields
    assert fields - {key for key, _ in BAD + BAD_SECRETS} == {"DATABASE_URL"}


def test_roles_need_postgresql() -> None:
    with pytest.raises(ConfigError, match="postgresql"):
        Config.load(environ={"ROLE": "worker"}, dotenv=None)
    address = "postgresql+psycopg://studio@database/studio"
    config = Config.load(environ={"ROLE": "worker", "DATABASE_URL": address}, dotenv=None)
    assert config.ROLE == "worker"


def test_a_node_has_a_name() -> None:
    assert Config(NODE="live-1").node == "live-1"
    assert re.fullmatch(r"[a-z0-9-]+-8001", Config(PORT=8001).node)


def test_a_worker_has_time_for_two_heartbeats() -> None:
    with pytest.raises(ConfigError, match="twice WORKER_HEARTBEAT_S=30"):
        Config.load(environ={"WORKER_HEARTBEAT_S": "30"}, dotenv=None)


def test_webhooks_of_the_server_need_their_secret() -> None:
    url = {"WEBHOOK_URL": "https://a.example/told"}
    with pytest.raises(ConfigError, match="WEBHOOK_SECRET"):
        Config.load(environ=url, dotenv=None)
    config = Config.load(environ={**url, "WEBHOOK_SECRET": SECRET}, dotenv=None)
    assert url == {"WEBHOOK_URL": config.WEBHOOK_URL}


@pytest.mark.parametrize(("key", "text"), BAD_SECRETS)
def test_a_bad_secret_is_named_but_not_shown(key: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.load(environ={key: text}, dotenv=None)
    assert f"{key}=*** cannot be used: " in str(raised.value)
    assert not text.strip() or text not in str(raised.value)


def test_secrets_are_not_in_the_representation() -> None:
    config = Config(SECRET_KEY=KEY, API_KEYS=frozenset({KEY}), WEBHOOK_SECRET=SECRET)
    assert KEY not in repr(config)
    assert SECRET not in repr(config)


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=9001\nWORKERS=3\n")
    config = Config.load(environ={"PORT": "9002"}, dotenv=dotenv)
    assert (config.PORT, config.WORKERS) == (9002, 3)


def test_several_origins_become_a_list() -> None:
    config = Config(CORS_ORIGINS="https://a.example,https://b.example")
    assert config.cors_origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(("key", "text"), BAD)
def test_a_bad_value_is_named_with_its_key(key: str, text: str, tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{key}='{text}'\n")
    for environ, file in (({key: text}, None), ({}, dotenv)):
        with pytest.raises(ConfigError) as raised:
            Config.load(environ=environ, dotenv=file)
        assert f"{key}={text!r} cannot be used: " in str(raised.value)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    """PowerShell 5 writes UTF-16, and old editors write Latin-1."""
    file = tmp_path / ".env"
    for content, says in (
        ("PORT=8001\n".encode("utf-16"), "UTF-16, as PowerShell"),
        ("PORT=8001\n# Größe\n".encode("latin-1"), "line 2 has the byte 0xf6"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=says):
            Config.load({}, file)
    file.write_bytes("PORT=8001\n".encode("utf-8-sig"))
    assert Config.load({}, file).PORT == 8001


def test_other_settings_than_the_wanted_ones_are_not_read() -> None:
    environ = {"PORT": "http", "ROLE": "admin", "WORKERS": "2", "API_KEY": "x", "WORKER": "3"}
    assert Config.load(environ, None, only={"WORKERS"}) == Config(WORKERS=2)
    [warning] = Config.misspelled(environ, None, only={"WORKERS"})
    assert warning.startswith("WORKER is not a setting")


def test_the_settings_of_the_models_are_those_that_they_read() -> None:
    read: set[str] = set()

    class Watched(Config):
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    describe_models(lambda *parts: Models(Watched(), *parts))
    assert read & {field.name for field in dataclasses.fields(Config)} == SETTINGS


def test_a_misspelled_setting_is_reported(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DEMUCS_MODELL=mini\nWORKERS=2\nCOMPOSE_PROJECT_NAME=audio\n")
    environ = {"API_KEY": "x", "PATH": "/bin", "HOSTNAME": "box", "HOME": "/", "LOGNAME": "me"}
    assert Config.misspelled(environ, file) == [
        "API_KEY is not a setting and has no effect. Did you mean API_KEYS?",
        "DEMUCS_MODELL is not a setting and has no effect. Did you mean DEMUCS_MODEL?",
    ]
    assert Config.misspelled({name: "" for name in environ if name != "API_KEY"}, None) == []
