"""Settings, read once from the environment and `.env`.

The table below has the default and the help text of each setting; `docs/settings.md` repeats them.
This module needs only the standard library and python-dotenv.
"""

import dataclasses
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypedDict

from dotenv import dotenv_values

from studio.settings import values
from studio.settings.files import misspelled, read_utf_8
from studio.settings.table import secret, setting

ROOT = Path(__file__).resolve().parent
# In a checkout; the wheel keeps the bundled models inside the package.
_PRETRAINED = ROOT / "pretrained"

AUDIO_FILE_TYPES = values.AUDIO_FILE_TYPES


class ModelInfo(TypedDict):
    """The file extensions that a model accepts, and its purpose."""

    file_types: frozenset[str]
    purpose: str


MODELS: dict[str, ModelInfo] = {
    "demucs": {"file_types": AUDIO_FILE_TYPES, "purpose": "Audio source separation"},
    "whisper": {"file_types": AUDIO_FILE_TYPES, "purpose": "Speech-to-text transcription"},
    "musicgen": {"file_types": frozenset({"txt"}), "purpose": "Text-to-music generation"},
    "analysis": {"file_types": AUDIO_FILE_TYPES, "purpose": "Tempo, beats, key and chords"},
}


class ConfigError(ValueError):
    """A setting has an invalid value. The message names the key and the value."""


def base_folder() -> Path:
    """Start of relative paths: the project folder, or for an installed server the current one."""
    return ROOT if _PRETRAINED.is_dir() else Path.cwd()


def _given(environ: Mapping[str, str] | None, dotenv: Path | None) -> dict[str, str | None]:
    """The environment, over the `.env` file. Raises ConfigError if the file cannot be read."""
    file = None if dotenv is None else base_folder() / dotenv
    try:
        text = read_utf_8(file) if file is not None and file.is_file() else ""
    except (ValueError, OSError) as error:
        raise ConfigError(f"The settings cannot be read: {error}") from None
    from_file = dotenv_values(stream=StringIO(text))
    return {**from_file, **(os.environ if environ is None else environ)}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()


@dataclass(frozen=True)
class Config:
    """All settings. `Config()` has the defaults; `Config.load()` reads the environment and .env."""

    DEBUG: bool = setting(False, values.boolean, "Log debug messages. Not allowed in production.")
    LOG_FORMAT: str = setting(
        "text",
        values.one_of("text", "json"),
        "Format of log lines: text, or json for log processors.",
    )
    SECRET_KEY: str = secret(
        "change-me",
        values.name,
        "Signs links and sessions. Set a long random string in production.",
    )
    HOST: str = setting(
        "127.0.0.1", values.name, "Address to listen on; 0.0.0.0 listens on all network interfaces."
    )
    PORT: int = setting(8000, values.integer(1, 65535), "Port to listen on.")
    CORS_ORIGINS: str = setting(
        "*", values.origins, "Web origins that may call the server: * or a comma-separated list."
    )
    API_KEYS: frozenset[str] = secret(
        frozenset(),
        values.api_keys,
        "Accepted API keys, separated by commas; empty: no authentication.",
    )
    METRICS_KEY: str = secret(
        "", values.key, "Key for /metrics; empty: /metrics serves only this machine."
    )
    ALLOWED_HOSTS: str = setting(
        "auto",
        values.hosts,
        "Host names the server answers to: a comma-separated list, or * for any; auto: any if "
        "API_KEYS is set, otherwise localhost and IP addresses.",
    )
    TRUSTED_PROXIES: int = setting(
        0,
        values.integer(0, 10),
        "Number of proxies in front whose X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    RATE_LIMIT: str = setting(
        "600/minute",
        values.rate,
        "Requests per client, not counting polling, downloads and health checks; empty: no limit.",
    )
    RATE_LIMIT_WORK: str = setting(
        "60/minute", values.rate, "Uploads and job requests per client; empty: no limit."
    )
    RATE_STORAGE: str = secret(
        "",
        values.redis_url,
        "Redis in which several servers count the requests of a client together, as "
        "redis://HOST:PORT; empty: each server counts on its own.",
    )
    MAX_UPLOADS: int = setting(8, values.integer(1, 1000), "Simultaneous uploads.")
    MAX_CLIENT_UPLOADS: int = setting(
        3,
        values.integer(0, 1000),
        "Simultaneous uploads per client; 0: no limit.",
    )
    MAX_CLIENT_JOBS: int = setting(
        20, values.integer(0, 1_000_000), "Queued and processing jobs per client; 0: no limit."
    )
    MAX_CLIENT_BYTES: int = setting(
        0,
        values.integer(0, 2**62),
        "Storage per API key for uploads and results, in bytes; 0: no limit.",
    )
    MAX_CLIENT_MINUTES: int = setting(
        0,
        values.integer(0, 10**6),
        "Processing time per client within 24 hours, in minutes; 0: no limit.",
    )
    MAX_SEPARATION_S: int = setting(
        43_200,
        values.integer(1, 10**9),
        "Largest separation: seconds of audio times shifts, divided by 1 - overlap.",
    )
    MAX_DURATION_S: int = setting(
        21_600, values.integer(1, 10**7), "Longest accepted audio, in seconds."
    )
    MAX_DECODED_BYTES: int = setting(
        8 * 1024**3,
        values.integer(1, 2**62),
        "Largest accepted audio once decoded, in bytes (4 per sample and channel).",
    )
    MAX_CONTENT_LENGTH: int = setting(
        500 * 1024 * 1024, values.integer(1, 2**50), "Largest request body, in bytes."
    )
    ALLOWED_EXTENSIONS: frozenset[str] = setting(
        AUDIO_FILE_TYPES | values.MORE_FILE_TYPES | {"txt"},
        values.file_types,
        "Accepted file extensions.",
    )
    UPLOAD_FOLDER: str = setting(
        "uploads",
        values.name,
        "Folder for uploads. Relative paths start at the project folder, or at the current folder "
        "if the server was installed with pip.",
    )
    OUTPUT_FOLDER: str = setting("outputs", values.name, "Folder for results and the job database.")
    MODEL_DIR: str = setting(
        "weights", values.name, "Folder for your own weights, with one subfolder per model."
    )
    FONTS_DIR: str = setting(
        "",
        values.any_text,
        "Folder with more fonts for karaoke videos, such as those for Chinese, Japanese and "
        "Korean; empty: only the bundled fonts.",
    )
    HUB_REPOSITORIES: str = setting(
        "auto",
        values.hub_repositories,
        "Hugging Face repositories that jobs may use (hf://): a comma-separated list of "
        "NAMESPACE/NAME, * for any, empty for none; auto: any, but none under production.py.",
    )
    DATABASE_URL: str = setting(
        "", values.any_text, "SQLAlchemy URL of the job database; empty: SQLite in OUTPUT_FOLDER."
    )
    STORAGE_URL: str = setting(
        "",
        values.bucket,
        "Bucket for uploads and results, as s3://BUCKET/PREFIX; empty: UPLOAD_FOLDER and "
        "OUTPUT_FOLDER, which otherwise have only files in progress and local copies.",
    )
    STORAGE_ENDPOINT: str = setting(
        "", values.url, "URL of the S3 API of STORAGE_URL; empty: the one of AWS."
    )
    STORAGE_REGION: str = setting(
        "", values.region, "Region of STORAGE_URL; empty: as the configuration of AWS says."
    )
    STORAGE_CACHE_BYTES: int = setting(
        10 * 1024**3,
        values.integer(0, 2**62),
        "Local copies of files in STORAGE_URL to keep, in bytes, besides those in use.",
    )
    DOWNLOADS: str = setting(
        "proxy",
        values.one_of("proxy", "nginx"),
        "Who sends downloads from STORAGE_URL: proxy (the server) or nginx (nginx fetches them "
        "from the store; see docs/scaling.md).",
    )
    MIN_FREE_BYTES: int = setting(
        256 * 1024 * 1024,
        values.integer(0, 2**62),
        "Free disk space to preserve, in bytes; uploads, jobs and conversions that need it "
        "are rejected.",
    )
    MAX_STORED_BYTES: int = setting(
        0,
        values.integer(0, 2**62),
        "Total size of uploads, results and hub downloads, in bytes; 0: no limit.",
    )
    RETENTION_HOURS: int = setting(
        0,
        values.integer(0, 10**6),
        "Hours after which an unused upload and its results are deleted; 0: never.",
    )
    WORKERS: int = setting(1, values.integer(1, 64), "Jobs that run at the same time.")
    MAX_QUEUED_JOBS: int = setting(
        100, values.integer(1, 1_000_000), "Length of the job queue; further jobs get 429."
    )
    ROLE: str = setting(
        "all",
        values.one_of("all", "web", "live", "worker", "keeper"),
        "Role of this process: all (a server on one machine), or web, live, worker or keeper, "
        "which share a PostgreSQL database and the folders (docs/scaling.md).",
    )
    NODE: str = setting(
        "",
        values.node,
        "Name of a process with ROLE=live: the beginning of the IDs of its Socket.IO connections, "
        "by which nginx finds it. Clients can see it. Empty: made from host name and PORT.",
    )
    ROUTES: tuple[tuple[str, str], ...] = setting(
        (),
        values.routes,
        "Queues of jobs: MODEL.VARIANT=QUEUE, separated by commas, with * for any; the first match "
        "counts, and other jobs are in the queue default.",
    )
    WORKER_QUEUES: tuple[str, ...] = setting(
        (),
        values.queues,
        "Queues that a worker takes jobs from, separated by commas; empty: all.",
    )
    WORKER_HEARTBEAT_S: int = setting(
        10, values.integer(1, 600), "Seconds between the heartbeats of a worker."
    )
    WORKER_STALLED_S: int = setting(
        45,
        values.integer(2, 3600),
        "Seconds without a heartbeat after which the jobs of a worker run again elsewhere; at "
        "least twice WORKER_HEARTBEAT_S.",
    )
    MODEL_IDLE_S: int = setting(
        600, values.integer(1, 10**9), "Seconds after which an unused model is unloaded."
    )
    TORCH_THREADS: int = setting(
        0, values.integer(0, 1024), "Threads per network; 0: chosen by the engine."
    )
    DEVICE: str = setting(
        "auto",
        values.device,
        "Device for all models: auto (a working CUDA device, otherwise the CPU), cpu, cuda, "
        "cuda:N for the GPU with that index, or mps for the GPU of a Mac (not Whisper).",
    )
    SEPARATION_ENGINE: str = setting(
        "auto",
        values.one_of("auto", "torch", "openvino"),
        "Engine for Demucs: auto (the fastest available), torch or openvino.",
    )
    SEPARATION_PRECISION: str = setting(
        "auto",
        values.one_of("auto", "f32", "bf16"),
        "Precision of Demucs on OpenVINO: auto (bf16 if the CPU supports it), f32 or bf16.",
    )
    DEMUCS_MODEL: str = setting("htdemucs", values.name, "Default Demucs variant.")
    WHISPER_ENGINE: str = setting(
        "faster-whisper",
        values.one_of("faster-whisper", "openai-whisper"),
        "Engine for Whisper: faster-whisper, or openai-whisper if it is installed.",
    )
    WHISPER_RUNTIME: str = setting(
        "auto",
        values.one_of("auto", "ctranslate2", "openvino"),
        "Runtime of faster-whisper on a CPU: auto (OpenVINO on CPUs with AVX-512 VNNI, "
        "otherwise CTranslate2), ctranslate2 or openvino.",
    )
    WHISPER_MODEL: str = setting("base", values.name, "Default Whisper variant.")
    LIVE_SESSIONS: int = setting(
        8, values.integer(1, 1000), "Simultaneous live sessions; each uses one thread."
    )
    LIVE_CLIENT_SESSIONS: int = setting(
        4, values.integer(0, 1000), "Simultaneous live sessions per client; 0: no limit."
    )
    LIVE_WAITING_S: int = setting(
        60,
        values.integer(5, 3600),
        "Longest backlog of a live session, in seconds of speech; beyond it chunks are rejected.",
    )
    LIVE_SILENCE_S: int = setting(
        1, values.integer(1, 600), "Seconds of silence that a live session keeps."
    )
    LIVE_LENGTH_S: int = setting(
        14_400, values.integer(10, 10**7), "Longest live session, in seconds of audio."
    )
    LIVE_IDLE_S: int = setting(
        120,
        values.integer(1, 10**6),
        "Seconds without a message after which a live session is closed.",
    )
    LIVE_CHUNK_BYTES: int = setting(
        512 * 1024, values.integer(1024, 10**9), "Largest chunk of live audio, in bytes."
    )
    WEBHOOK_URL: str = setting(
        "",
        values.url,
        "URL that receives a request when a job ends that names no webhook of its own; empty: "
        "none.",
    )
    WEBHOOK_SECRET: str = secret(
        "",
        values.webhook_secret,
        "Signs webhooks: whsec_ followed by base64; empty: webhooks are off.",
    )
    WEBHOOK_ALLOW_PRIVATE: bool = setting(
        False, values.boolean, "Allow the webhooks of jobs to go to private and local addresses."
    )
    MAX_CLIENT_WEBHOOKS: int = setting(
        500, values.integer(0, 1_000_000), "Pending webhooks per client; 0: no limit."
    )
    MUSICGEN_ENGINE: str = setting(
        "auto",
        values.one_of("auto", "torch", "openvino"),
        "Engine for MusicGen: auto (the fastest available), torch or openvino.",
    )
    MUSICGEN_PRECISION: str = setting(
        "auto",
        values.one_of("auto", "int8", "int4", "bf16", "f32"),
        "Precision of MusicGen on OpenVINO: auto or int8 (8-bit weights), int4, bf16 or f32.",
    )
    MUSICGEN_MODEL: str = setting("small", values.name, "Default MusicGen variant.")

    WYOMING_PORT: int = setting(
        0,
        values.integer(0, 65535),
        "TCP port for speech to text over the Wyoming protocol (Home Assistant); 0: off.",
    )
    WYOMING_HOST: str = setting(
        "127.0.0.1",
        values.name,
        "Address for WYOMING_PORT. The protocol has no keys: whoever reaches it can use it.",
    )
    MCP_SERVER: str = setting(
        "",
        values.url,
        "URL of a server on which `audio-studio mcp` runs its jobs; empty: on this machine.",
    )
    MCP_KEY: str = secret("", values.key, "API key for MCP_SERVER; empty: none.")

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> "Config":
        """Read settings from the environment, then the `.env` file, then the defaults.

        A relative `dotenv` starts at the base folder, and None reads no file. Raises ConfigError if
        a value is invalid.
        """
        given = _given(environ, dotenv)
        chosen: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = given.get(field.name)
            if text is None:
                continue
            try:
                chosen[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                shown = "***" if "secret" in field.metadata else repr(text)
                raise ConfigError(f"{field.name}={shown} cannot be used: {error}.") from None
        config = cls(**chosen)
        if config.WEBHOOK_URL and not config.WEBHOOK_SECRET:
            raise ConfigError(
                "WEBHOOK_URL cannot be used without WEBHOOK_SECRET, which signs the webhooks."
            )
        config._check_role()
        config._check_folders()
        return config

    def _check_role(self) -> None:
        """Raise ConfigError if the role lacks what it needs."""
        if self.ROLE != "all" and not self.DATABASE_URL.startswith("postgresql"):
            raise ConfigError(
                f"ROLE={self.ROLE!r} cannot be used without PostgreSQL. Set DATABASE_URL to "
                "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
            )
        if self.WORKER_STALLED_S < 2 * self.WORKER_HEARTBEAT_S:
            raise ConfigError(
                f"WORKER_STALLED_S={self.WORKER_STALLED_S} cannot be used: it must be at least "
                f"twice WORKER_HEARTBEAT_S={self.WORKER_HEARTBEAT_S}."
            )

    def _check_folders(self) -> None:
        """Raise ConfigError if a folder that has to be there is missing."""
        if self.fonts_dir is not None and not self.fonts_dir.is_dir():
            raise ConfigError(
                f"FONTS_DIR={self.FONTS_DIR!r} cannot be used: there is no such folder. Leave it "
                "empty to use the bundled fonts only."
            )

    @classmethod
    def misspelled(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> list[str]:
        """Warnings about names in the environment and `.env` that resemble settings."""
        names = [field.name for field in dataclasses.fields(cls)]
        return [
            f"{name} is not a setting and has no effect. Did you mean {setting}?"
            for name, setting in misspelled(_given(environ, dotenv), names).items()
        ]

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
    def fonts_dir(self) -> Path | None:
        """The folder with more fonts."""
        return base_folder() / self.FONTS_DIR if self.FONTS_DIR else None

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
    def node(self) -> str:
        """The name of this process among those with ROLE=live."""
        made = re.sub(r"[^a-z0-9]+", "-", f"{socket.gethostname()}-{self.PORT}".lower())
        return self.NODE or made.strip("-")

    @property
    def cors_origins(self) -> str | list[str]:
        """As Flask-CORS and Flask-SocketIO take it: "*" or a list."""
        origins = self.CORS_ORIGINS.split(",")
        return "*" if "*" in origins else origins
