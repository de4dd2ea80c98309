"""Settings, read once from the environment and `.env`.

The table below has the default and the help text of each setting; `docs/settings.md` repeats them.
This module uses only the standard library and python-dotenv.
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

MIN_KEY_CHARACTERS = 16
MIN_WEBHOOK_SECRET_BYTES = 24

AUDIO_FILE_TYPES = frozenset({"mp3", "wav", "flac", "m4a", "ogg"})


class ModelInfo(TypedDict):
    """The file extensions that a model accepts, and its purpose."""

    file_types: frozenset[str]
    purpose: str


MODELS: dict[str, ModelInfo] = {
    "demucs": {"file_types": AUDIO_FILE_TYPES, "purpose": "Audio source separation"},
    "whisper": {"file_types": AUDIO_FILE_TYPES, "purpose": "Speech-to-text transcription"},
    "musicgen": {"file_types": frozenset({"txt"}), "purpose": "Text-to-music generation"},
}


class ConfigError(ValueError):
    """A setting has an invalid value. The message names the key and the value."""


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
        raise ValueError("use auto, cpu, cuda, or cuda:N with the index of a GPU")
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
            raise ValueError("an origin is http:// or https:// followed by a host, or *")
    return ",".join(origins)


def _api_keys(text: str) -> frozenset[str]:
    keys = frozenset(part.strip() for part in text.split(",") if part.strip())
    for key in keys:
        if len(key) < MIN_KEY_CHARACTERS or not re.fullmatch(r"[!-~]+", key):
            raise ValueError(
                f"each key must have at least {MIN_KEY_CHARACTERS} ASCII characters and no spaces; "
                "generate one with `openssl rand -hex 32`"
            )
    return keys


def _key(text: str) -> str:
    if not text.strip():
        return ""
    keys = _api_keys(text)
    if len(keys) != 1:
        raise ValueError("use a single key")
    return next(iter(keys))


def _hub_repositories(text: str) -> str:
    repositories = [part.strip() for part in text.split(",") if part.strip()]
    if repositories in (["auto"], ["*"]):
        return repositories[0]
    for repository in repositories:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError("a repository is NAMESPACE/NAME; or use auto, *, or an empty value")
    return ",".join(repositories)


def _hosts(text: str) -> str:
    hosts = [part.strip().lower() for part in text.split(",") if part.strip()]
    if hosts in (["auto"], ["*"]):
        return hosts[0]
    if not hosts:
        raise ValueError("use auto, *, or a comma-separated list of host names")
    for host in hosts:
        if not re.fullmatch(r"(?=.*\w)[\w.-]+|\[[\da-f:.]+\]", host):
            raise ValueError(
                "a host is a name or an address without a port; put IPv6 addresses in [...]"
            )
    return ",".join(hosts)


def _rate(text: str) -> str:
    if text.strip() and not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", text.strip()):
        raise ValueError(
            "use a number per second, minute, hour or day, such as 60/minute, or an empty value"
        )
    return text.strip()


def _url(text: str) -> str:
    if text.strip() and not re.match(r"https?://[^/\s]", text.strip()):
        raise ValueError("use a URL that begins with https:// or http://, or an empty value")
    return text.strip()


def _webhook_secret(text: str) -> str:
    if not text.strip():
        return ""
    encoded = text.strip().removeprefix("whsec_")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if encoded == text.strip() or len(secret) < MIN_WEBHOOK_SECRET_BYTES:
        raise ValueError(
            f"use whsec_ followed by at least {MIN_WEBHOOK_SECRET_BYTES} random bytes in base64; "
            "generate one with `echo whsec_$(openssl rand -base64 32)`"
        )
    return text.strip()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()


def _any(text: str) -> str:
    return text.strip()


def _setting(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "help": help_text})


def _secret(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    """A setting whose value never appears in errors or in the repr."""
    metadata = {"parse": parse, "help": help_text, "secret": True}
    return dataclasses.field(default=default, repr=False, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """All settings. `Config()` has the defaults; `Config.load()` reads the environment and .env."""

    DEBUG: bool = _setting(False, _boolean, "Log debug messages. Not allowed in production.")
    LOG_FORMAT: str = _setting(
        "text", _one_of("text", "json"), "Format of log lines: text, or json for log processors."
    )
    SECRET_KEY: str = _secret(
        "change-me", _name, "Signs sessions. Set a long random string in production."
    )
    HOST: str = _setting(
        "127.0.0.1", _name, "Address to listen on; 0.0.0.0 listens on all network interfaces."
    )
    PORT: int = _setting(8000, _integer(1, 65535), "Port to listen on.")
    CORS_ORIGINS: str = _setting(
        "*", _origins, "Web origins that may call the server: * or a comma-separated list."
    )
    API_KEYS: frozenset[str] = _secret(
        frozenset(),
        _api_keys,
        "Accepted API keys, separated by commas; empty: no authentication.",
    )
    METRICS_KEY: str = _secret(
        "", _key, "Key for /metrics; empty: /metrics serves only this machine."
    )
    ALLOWED_HOSTS: str = _setting(
        "auto",
        _hosts,
        "Host names the server answers to: a comma-separated list, or * for any; auto: any if "
        "API_KEYS is set, otherwise localhost and IP addresses.",
    )
    TRUSTED_PROXIES: int = _setting(
        0,
        _integer(0, 10),
        "Number of proxies in front whose X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    RATE_LIMIT: str = _setting(
        "600/minute",
        _rate,
        "Requests per client, not counting polling, downloads and health checks; empty: no limit.",
    )
    RATE_LIMIT_WORK: str = _setting(
        "60/minute", _rate, "Uploads and job requests per client; empty: no limit."
    )
    MAX_UPLOADS: int = _setting(8, _integer(1, 1000), "Simultaneous uploads.")
    MAX_CLIENT_UPLOADS: int = _setting(
        3,
        _integer(0, 1000),
        "Simultaneous uploads per client; 0: no limit.",
    )
    MAX_CLIENT_JOBS: int = _setting(
        20, _integer(0, 1_000_000), "Queued and processing jobs per client; 0: no limit."
    )
    MAX_CLIENT_BYTES: int = _setting(
        0,
        _integer(0, 2**62),
        "Storage per API key for uploads and results, in bytes; 0: no limit.",
    )
    MAX_CLIENT_MINUTES: int = _setting(
        0,
        _integer(0, 10**6),
        "Processing time per client within 24 hours, in minutes; 0: no limit.",
    )
    MAX_SEPARATION_S: int = _setting(
        43_200,
        _integer(1, 10**9),
        "Largest separation: seconds of audio times shifts, divided by 1 - overlap.",
    )
    MAX_DURATION_S: int = _setting(
        21_600, _integer(1, 10**7), "Longest accepted audio, in seconds."
    )
    MAX_DECODED_BYTES: int = _setting(
        8 * 1024**3,
        _integer(1, 2**62),
        "Largest accepted audio once decoded, in bytes (4 per sample and channel).",
    )
    MAX_CONTENT_LENGTH: int = _setting(
        500 * 1024 * 1024, _integer(1, 2**50), "Largest request body, in bytes."
    )
    ALLOWED_EXTENSIONS: frozenset[str] = _setting(
        AUDIO_FILE_TYPES | {"txt"}, _file_types, "Accepted file extensions."
    )
    UPLOAD_FOLDER: str = _setting(
        "uploads",
        _name,
        "Folder for uploads. Relative paths start at the project folder, or at the current folder "
        "if the server was installed with pip.",
    )
    OUTPUT_FOLDER: str = _setting("outputs", _name, "Folder for results and the job database.")
    MODEL_DIR: str = _setting(
        "weights", _name, "Folder for your own weights, with one subfolder per model."
    )
    HUB_REPOSITORIES: str = _setting(
        "auto",
        _hub_repositories,
        "Hugging Face repositories that jobs may use (hf://): a comma-separated list of "
        "NAMESPACE/NAME, * for any, empty for none; auto: any, but none under production.py.",
    )
    DATABASE_URL: str = _setting(
        "", _any, "SQLAlchemy URL of the job database; empty: SQLite in OUTPUT_FOLDER."
    )
    MIN_FREE_BYTES: int = _setting(
        256 * 1024 * 1024,
        _integer(0, 2**62),
        "Free disk space to preserve, in bytes; uploads, jobs and conversions that need it "
        "are rejected.",
    )
    MAX_STORED_BYTES: int = _setting(
        0,
        _integer(0, 2**62),
        "Total size of uploads, results and hub downloads, in bytes; 0: no limit.",
    )
    RETENTION_HOURS: int = _setting(
        0,
        _integer(0, 10**6),
        "Hours after which an unused upload and its results are deleted; 0: never.",
    )
    WORKERS: int = _setting(1, _integer(1, 64), "Jobs that run at the same time.")
    MAX_QUEUED_JOBS: int = _setting(
        100, _integer(1, 1_000_000), "Length of the job queue; further jobs get 429."
    )
    MODEL_IDLE_S: int = _setting(
        600, _integer(1, 10**9), "Seconds after which an unused model is unloaded."
    )
    TORCH_THREADS: int = _setting(
        0, _integer(0, 1024), "Threads per network; 0: chosen by the engine."
    )
    DEVICE: str = _setting(
        "auto",
        _device,
        "Device for all models: auto (a working CUDA device, otherwise the CPU), cpu, cuda, "
        "or cuda:N for the GPU with that index.",
    )
    SEPARATION_ENGINE: str = _setting(
        "auto",
        _one_of("auto", "torch", "openvino"),
        "Engine for Demucs: auto (the fastest available), torch or openvino.",
    )
    SEPARATION_PRECISION: str = _setting(
        "auto",
        _one_of("auto", "f32", "bf16"),
        "Precision of Demucs on OpenVINO: auto (bf16 if the CPU supports it), f32 or bf16.",
    )
    DEMUCS_MODEL: str = _setting("htdemucs", _name, "Default Demucs variant.")
    WHISPER_ENGINE: str = _setting(
        "faster-whisper",
        _one_of("faster-whisper", "openai-whisper"),
        "Engine for Whisper: faster-whisper, or openai-whisper if it is installed.",
    )
    WHISPER_RUNTIME: str = _setting(
        "auto",
        _one_of("auto", "ctranslate2", "openvino"),
        "Runtime of faster-whisper on a CPU: auto (OpenVINO on CPUs with AVX-512 VNNI, "
        "otherwise CTranslate2), ctranslate2 or openvino.",
    )
    WHISPER_MODEL: str = _setting("base", _name, "Default Whisper variant.")
    LIVE_SESSIONS: int = _setting(
        8, _integer(1, 1000), "Simultaneous live sessions; each uses one thread."
    )
    LIVE_CLIENT_SESSIONS: int = _setting(
        4, _integer(0, 1000), "Simultaneous live sessions per client; 0: no limit."
    )
    LIVE_WAITING_S: int = _setting(
        60,
        _integer(5, 3600),
        "Longest backlog of a live session, in seconds of speech; beyond it chunks are rejected.",
    )
    LIVE_SILENCE_S: int = _setting(
        1, _integer(1, 600), "Seconds of silence that a live session keeps."
    )
    LIVE_LENGTH_S: int = _setting(
        14_400, _integer(10, 10**7), "Longest live session, in seconds of audio."
    )
    LIVE_IDLE_S: int = _setting(
        120, _integer(1, 10**6), "Seconds without a message after which a live session is closed."
    )
    LIVE_CHUNK_BYTES: int = _setting(
        512 * 1024, _integer(1024, 10**9), "Largest chunk of live audio, in bytes."
    )
    WEBHOOK_URL: str = _setting(
        "",
        _url,
        "URL that receives a request when a job ends that names no webhook of its own; empty: "
        "none.",
    )
    WEBHOOK_SECRET: str = _secret(
        "", _webhook_secret, "Signs webhooks: whsec_ followed by base64; empty: webhooks are off."
    )
    WEBHOOK_ALLOW_PRIVATE: bool = _setting(
        False, _boolean, "Allow the webhooks of jobs to go to private and local addresses."
    )
    MAX_CLIENT_WEBHOOKS: int = _setting(
        500, _integer(0, 1_000_000), "Pending webhooks per client; 0: no limit."
    )
    MUSICGEN_ENGINE: str = _setting(
        "auto",
        _one_of("auto", "torch", "openvino"),
        "Engine for MusicGen: auto (the fastest available), torch or openvino.",
    )
    MUSICGEN_PRECISION: str = _setting(
        "auto",
        _one_of("auto", "int8", "int4", "bf16", "f32"),
        "Precision of MusicGen on OpenVINO: auto or int8 (8-bit weights), int4, bf16 or f32.",
    )
    MUSICGEN_MODEL: str = _setting("small", _name, "Default MusicGen variant.")

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> "Config":
        """Read settings from the environment, then the `.env` file, then the defaults.

        A relative `dotenv` starts at the base folder, and None reads no file. Raises ConfigError if
        a value is invalid.
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
            raise ConfigError(
                "WEBHOOK_URL cannot be used without WEBHOOK_SECRET, which signs the webhooks."
            )
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
        """The folder for hub repositories that jobs use."""
        return self.model_dir / ".hub"

    @property
    def hub_repositories(self) -> frozenset[str] | None:
        """The hub repositories that jobs may use; None: any."""
        if self.HUB_REPOSITORIES in ("auto", "*"):
            return None
        return frozenset(filter(None, self.HUB_REPOSITORIES.split(",")))

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Host names the server answers to, besides localhost and IP addresses; None: any."""
        if self.ALLOWED_HOSTS == "*" or (self.ALLOWED_HOSTS == "auto" and self.API_KEYS):
            return None
        return frozenset([] if self.ALLOWED_HOSTS == "auto" else self.ALLOWED_HOSTS.split(","))

    @property
    def torch_checkpoints(self) -> Path:
        """The download folder of `torch.hub`."""
        home = Path(os.environ.get("TORCH_HOME", _cache() / "torch")).expanduser()
        return home / "hub" / "checkpoints"

    @property
    def whisper_cache(self) -> Path:
        """The download folder of openai-whisper."""
        return _cache() / "whisper"

    @property
    def database_url(self) -> str:
        return self.DATABASE_URL or f"sqlite:///{self.output_folder / '.jobs.sqlite3'}"

    @property
    def cors_origins(self) -> str | list[str]:
        """As Flask-CORS and Flask-SocketIO take it: "*" or a list."""
        origins = self.CORS_ORIGINS.split(",")
        return "*" if "*" in origins else origins
