"""Settings: one table, read once from the environment and `.env`.

Each setting stands below with its default and what it means; `docs/settings.md` repeats them.
Only the standard library and python-dotenv are used here.
"""

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent
# In a checkout; the wheel keeps the bundled models inside the package.
_PRETRAINED = ROOT / "pretrained"

LEAST_KEY_CHARACTERS = 16
LEAST_WEBHOOK_SECRET_BYTES = 24

AUDIO_FILE_TYPES = frozenset({"mp3", "wav", "flac", "m4a", "ogg"})


class ModelInfo(TypedDict):
    """What a model takes (file name endings) and what it is for."""

    file_types: frozenset[str]
    purpose: str


MODELS: dict[str, ModelInfo] = {
    "demucs": {"file_types": AUDIO_FILE_TYPES, "purpose": "Audio source separation"},
    "whisper": {"file_types": AUDIO_FILE_TYPES, "purpose": "Speech-to-text transcription"},
    "musicgen": {"file_types": frozenset({"txt"}), "purpose": "Text-to-music generation"},
}


class ConfigError(ValueError):
    """A setting has a value that cannot be used; the text names the key and the value."""


def base_folder() -> Path:
    """Start of relative paths: the project folder, or for an installed server the current one."""
    return ROOT if _PRETRAINED.is_dir() else Path.cwd()


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    if text.strip().lower() not in known:
        raise ValueError("use true or false")
    return known[text.strip().lower()]


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,20}\s*", text):
            raise ValueError("use a whole number")
        number = int(text)
        if not least <= number <= most:
            raise ValueError(f"use a number from {least} to {most}")
        return number

    return parse


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be empty")
    return text.strip()


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"use one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", text.strip().lower()):
        raise ValueError("use auto, cpu, cuda, or cuda:N with the number of a device")
    return text.strip().lower()


def _file_types(text: str) -> frozenset[str]:
    chosen = frozenset(part.strip().lower().lstrip(".") for part in text.split(",") if part.strip())
    known = AUDIO_FILE_TYPES | {"txt"}
    if not chosen or not chosen <= known:
        raise ValueError(f"use a comma-separated list of {', '.join(sorted(known))}")
    return chosen


def _origins(text: str) -> str:
    origins = [part.strip().rstrip("/").lower() for part in text.split(",") if part.strip()]
    if not origins:
        raise ValueError("use * or a comma-separated list of origins")
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[\w.:\[\]-]+", origin):
            raise ValueError("an origin is http:// or https:// and a host, or *")
    return ",".join(origins)


def _api_keys(text: str) -> frozenset[str]:
    keys = frozenset(part.strip() for part in text.split(",") if part.strip())
    for key in keys:
        if len(key) < LEAST_KEY_CHARACTERS or not re.fullmatch(r"[!-~]+", key):
            raise ValueError(
                f"each key needs at least {LEAST_KEY_CHARACTERS} characters, ASCII without spaces; "
                "`openssl rand -hex 32` makes one"
            )
    return keys


def _key(text: str) -> str:
    if not text.strip():
        return ""
    keys = _api_keys(text)
    if len(keys) != 1:
        raise ValueError("use one key")
    return next(iter(keys))


def _hub_repositories(text: str) -> str:
    repositories = [part.strip() for part in text.split(",") if part.strip()]
    if repositories in (["auto"], ["*"]):
        return repositories[0]
    for repository in repositories:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError("a repository is NAMESPACE/NAME; or use auto, *, or nothing")
    return ",".join(repositories)


def _hosts(text: str) -> str:
    hosts = [part.strip().lower() for part in text.split(",") if part.strip()]
    if hosts in (["auto"], ["*"]):
        return hosts[0]
    if not hosts:
        raise ValueError("use auto, *, or a comma-separated list of host names")
    for host in hosts:
        if not re.fullmatch(r"(?=.*\w)[\w.-]+|\[[\da-f:.]+\]", host):
            raise ValueError("a host is a name or an address without a port; [...] for IPv6")
    return ",".join(hosts)


def _rate(text: str) -> str:
    if text.strip() and not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", text.strip()):
        raise ValueError(
            "use a number a second, minute, hour or day, such as 60/minute, or nothing"
        )
    return text.strip()


def _url(text: str) -> str:
    if text.strip() and not re.match(r"https?://[^/\s]", text.strip()):
        raise ValueError("use an address that begins with https:// or http://, or nothing")
    return text.strip()


def _webhook_secret(text: str) -> str:
    if not text.strip():
        return ""
    encoded = text.strip().removeprefix("whsec_")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if encoded == text.strip() or len(secret) < LEAST_WEBHOOK_SECRET_BYTES:
        raise ValueError(
            f"use whsec_ and the base64 of at least {LEAST_WEBHOOK_SECRET_BYTES} random bytes; "
            "`echo whsec_$(openssl rand -base64 32)` makes one"
        )
    return text.strip()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()


def _any(text: str) -> str:
    return text.strip()


def _setting(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "help": help_text})


def _secret(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    """A setting whose value is not shown in errors and representations."""
    metadata = {"parse": parse, "help": help_text, "secret": True}
    return dataclasses.field(default=default, repr=False, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """All settings. `Config()` holds the defaults; `Config.load()` reads environment and .env."""

    DEBUG: bool = _setting(False, _boolean, "Verbose logs. Never on in production.")
    LOG_FORMAT: str = _setting(
        "text", _one_of("text", "json"), "Lines of the log: text for people, json for programs."
    )
    SECRET_KEY: str = _secret(
        "change-me", _name, "Signs sessions. Set a long random text in production."
    )
    HOST: str = _setting(
        "127.0.0.1", _name, "Address the server listens on; 0.0.0.0 for every network interface."
    )
    PORT: int = _setting(8000, _integer(1, 65535), "Port the server listens on.")
    CORS_ORIGINS: str = _setting(
        "*", _origins, "Web origins that may call the server: * or a comma-separated list."
    )
    API_KEYS: frozenset[str] = _secret(
        frozenset(),
        _api_keys,
        "Keys that callers must give, separated by commas; empty: the server is open to all.",
    )
    METRICS_KEY: str = _secret(
        "", _key, "Key that opens /metrics; empty: /metrics answers this machine only."
    )
    ALLOWED_HOSTS: str = _setting(
        "auto",
        _hosts,
        "Host names that requests may address: a comma-separated list, or * for all; auto: all "
        "where API_KEYS is set, else localhost and IP addresses.",
    )
    TRUSTED_PROXIES: int = _setting(
        0,
        _integer(0, 10),
        "Proxies in front whose X-Forwarded-For and X-Forwarded-Proto are believed; 0: none.",
    )
    RATE_LIMIT: str = _setting(
        "600/minute",
        _rate,
        "Requests of one client, but for polling, downloads and health; empty: no bound.",
    )
    RATE_LIMIT_WORK: str = _setting(
        "60/minute", _rate, "Uploads and job requests of one client; empty: no bound."
    )
    MAX_UPLOADS: int = _setting(8, _integer(1, 1000), "Uploads that may arrive at the same time.")
    MAX_CLIENT_UPLOADS: int = _setting(
        3,
        _integer(0, 1000),
        "Uploads of one client that may arrive at the same time; 0: no bound.",
    )
    MAX_CLIENT_JOBS: int = _setting(
        20, _integer(0, 1_000_000), "Jobs of one client that may wait or run; 0: no bound."
    )
    MAX_CLIENT_BYTES: int = _setting(
        0,
        _integer(0, 2**62),
        "Bytes that uploads and results of one API key may take; 0: no bound.",
    )
    MAX_CLIENT_MINUTES: int = _setting(
        0,
        _integer(0, 10**6),
        "Minutes that the jobs of one client may work in 24 hours before it gets no more; "
        "0: no bound.",
    )
    MAX_SEPARATION_S: int = _setting(
        43_200,
        _integer(1, 10**9),
        "Largest separation, in seconds of sound times shifts, over 1 - overlap.",
    )
    MAX_DURATION_S: int = _setting(
        21_600, _integer(1, 10**7), "Longest sound that is accepted, in seconds."
    )
    MAX_DECODED_BYTES: int = _setting(
        8 * 1024**3,
        _integer(1, 2**62),
        "Largest sound that is accepted, in bytes once decoded (4 a sample and channel).",
    )
    MAX_CONTENT_LENGTH: int = _setting(
        500 * 1024 * 1024, _integer(1, 2**50), "Largest request body, in bytes."
    )
    ALLOWED_EXTENSIONS: frozenset[str] = _setting(
        AUDIO_FILE_TYPES | {"txt"}, _file_types, "File name endings that may be uploaded."
    )
    UPLOAD_FOLDER: str = _setting(
        "uploads",
        _name,
        "Folder of the uploads. Relative paths start at the project folder, or at the current "
        "folder if the server was installed with pip.",
    )
    OUTPUT_FOLDER: str = _setting("outputs", _name, "Folder of the results and the job database.")
    MODEL_DIR: str = _setting(
        "weights", _name, "Folder with weights of your own, one folder a model inside."
    )
    HUB_REPOSITORIES: str = _setting(
        "auto",
        _hub_repositories,
        "Hugging Face repositories that jobs may name (hf://): a comma-separated list of "
        "NAMESPACE/NAME, * for all, empty for none; auto: all, but none under production.py.",
    )
    DATABASE_URL: str = _setting(
        "", _any, "SQLAlchemy address of the job database; empty: SQLite in OUTPUT_FOLDER."
    )
    MIN_FREE_BYTES: int = _setting(
        256 * 1024 * 1024,
        _integer(0, 2**62),
        "Uploads, jobs and formats are refused when less disk than this would be left, in bytes.",
    )
    MAX_STORED_BYTES: int = _setting(
        0,
        _integer(0, 2**62),
        "Bytes that uploads, results and hub downloads may take together; 0: no bound.",
    )
    RETENTION_HOURS: int = _setting(
        0,
        _integer(0, 10**6),
        "Hours after which an unused upload and its results are removed; 0: never.",
    )
    WORKERS: int = _setting(1, _integer(1, 64), "Jobs that run at the same time.")
    MAX_QUEUED_JOBS: int = _setting(
        100, _integer(1, 1_000_000), "Jobs that may wait; beyond it a new one is answered 429."
    )
    MODEL_IDLE_S: int = _setting(
        600, _integer(1, 10**9), "Seconds after which an unused model leaves memory."
    )
    TORCH_THREADS: int = _setting(
        0, _integer(0, 1024), "Threads of the engine for one network; 0: as many as it chooses."
    )
    DEVICE: str = _setting(
        "auto",
        _device,
        "What the models run on: auto (a CUDA device that works, else the CPU), cpu, cuda, or "
        "cuda:N for one of several.",
    )
    SEPARATION_ENGINE: str = _setting(
        "auto",
        _one_of("auto", "torch", "openvino"),
        "What Demucs runs on: auto (the fastest there is), torch or openvino.",
    )
    SEPARATION_PRECISION: str = _setting(
        "auto",
        _one_of("auto", "f32", "bf16"),
        "Arithmetic of OpenVINO: auto (bf16 where the processor has it), f32 or bf16.",
    )
    DEMUCS_MODEL: str = _setting("htdemucs", _name, "Demucs variant used when none is asked for.")
    WHISPER_ENGINE: str = _setting(
        "faster-whisper",
        _one_of("faster-whisper", "openai-whisper"),
        "What Whisper runs on: faster-whisper, or openai-whisper where that package is installed.",
    )
    WHISPER_RUNTIME: str = _setting(
        "auto",
        _one_of("auto", "ctranslate2", "openvino"),
        "What faster-whisper runs on without a CUDA device: auto (OpenVINO where the processor has "
        "AVX-512 VNNI, else CTranslate2), ctranslate2 or openvino.",
    )
    WHISPER_MODEL: str = _setting("base", _name, "Whisper variant used when none is asked for.")
    LIVE_SESSIONS: int = _setting(
        8, _integer(1, 1000), "Live transcriptions at the same time; each holds one thread."
    )
    LIVE_CLIENT_SESSIONS: int = _setting(
        4, _integer(0, 1000), "Live transcriptions of one client at the same time; 0: no bound."
    )
    LIVE_WAITING_S: int = _setting(
        60,
        _integer(5, 3600),
        "Seconds of speech that may wait in a live session; beyond it chunks are refused.",
    )
    LIVE_SILENCE_S: int = _setting(
        1, _integer(1, 600), "Seconds of silence that a live session keeps."
    )
    LIVE_LENGTH_S: int = _setting(
        14_400, _integer(10, 10**7), "Longest live session, in seconds of sound."
    )
    LIVE_IDLE_S: int = _setting(
        120, _integer(1, 10**6), "Seconds without a message after which a live session is closed."
    )
    LIVE_CHUNK_BYTES: int = _setting(
        512 * 1024, _integer(1024, 10**9), "Largest chunk of live sound, in bytes."
    )
    WEBHOOK_URL: str = _setting(
        "", _url, "Address that is told of the end of every job; empty: only those that jobs name."
    )
    WEBHOOK_SECRET: str = _secret(
        "", _webhook_secret, "Signs webhooks: whsec_ and base64; empty: webhooks are off."
    )
    WEBHOOK_ALLOW_PRIVATE: bool = _setting(
        False, _boolean, "Let the webhooks that jobs name go to private and local addresses."
    )
    MAX_CLIENT_WEBHOOKS: int = _setting(
        500, _integer(0, 1_000_000), "Webhooks of one client that may wait to be sent; 0: no bound."
    )
    MUSICGEN_ENGINE: str = _setting(
        "auto",
        _one_of("auto", "torch", "openvino"),
        "What MusicGen runs on: auto (the fastest there is), torch or openvino.",
    )
    MUSICGEN_PRECISION: str = _setting(
        "auto",
        _one_of("auto", "int8", "int4", "bf16", "f32"),
        "Arithmetic of MusicGen on OpenVINO: auto or int8 (weights of 8 bits), int4, bf16 or f32.",
    )
    MUSICGEN_MODEL: str = _setting("small", _name, "MusicGen variant used when none is asked for.")

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> "Config":
        """Read settings: the environment first, then the `.env` file, then the defaults.

        A relative `dotenv` starts at the base folder, and None reads no file.

        Raises ConfigError that names the key and the value when one cannot be used.
        """
        file = None if dotenv is None else base_folder() / dotenv
        from_file = dotenv_values(file) if file is not None and file.is_file() else {}
        given = {**from_file, **(os.environ if environ is None else environ)}
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = given.get(field.name)
            if text is None:
                continue
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                shown = "***" if "secret" in field.metadata else repr(text)
                raise ConfigError(f"{field.name}={shown} cannot be used: {error}.") from None
        config = cls(**values)
        if config.WEBHOOK_URL and not config.WEBHOOK_SECRET:
            raise ConfigError("WEBHOOK_URL cannot be used without WEBHOOK_SECRET, which signs it.")
        return config

    @property
    def upload_folder(self) -> Path:
        return base_folder() / self.UPLOAD_FOLDER

    @property
    def output_folder(self) -> Path:
        return base_folder() / self.OUTPUT_FOLDER

    @property
    def model_dir(self) -> Path:
        return base_folder() / self.MODEL_DIR

    @property
    def bundled_dir(self) -> Path:
        """Folder of the bundled models."""
        return _PRETRAINED if _PRETRAINED.is_dir() else ROOT / "studio" / "pretrained"

    @property
    def hub_folder(self) -> Path:
        """Where repositories are kept that jobs name."""
        return self.model_dir / ".hub"

    @property
    def hub_repositories(self) -> frozenset[str] | None:
        """The repositories that jobs may name; None for all."""
        if self.HUB_REPOSITORIES in ("auto", "*"):
            return None
        return frozenset(filter(None, self.HUB_REPOSITORIES.split(",")))

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """The hosts that requests may address besides localhost and IP addresses; None for all."""
        if self.ALLOWED_HOSTS == "*" or (self.ALLOWED_HOSTS == "auto" and self.API_KEYS):
            return None
        return frozenset([] if self.ALLOWED_HOSTS == "auto" else self.ALLOWED_HOSTS.split(","))

    @property
    def torch_checkpoints(self) -> Path:
        """Where PyTorch keeps its downloads, as `torch.hub` finds it."""
        home = Path(os.environ.get("TORCH_HOME", _cache() / "torch")).expanduser()
        return home / "hub" / "checkpoints"

    @property
    def whisper_cache(self) -> Path:
        """Where openai-whisper keeps its downloads."""
        return _cache() / "whisper"

    @property
    def database_url(self) -> str:
        return self.DATABASE_URL or f"sqlite:///{self.output_folder / '.jobs.sqlite3'}"

    @property
    def cors_origins(self) -> str | list[str]:
        """As Flask-CORS and Flask-SocketIO take it: "*" or a list."""
        origins = self.CORS_ORIGINS.split(",")
        return "*" if "*" in origins else origins
