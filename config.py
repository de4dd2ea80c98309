"""Settings, read once from the environment and `.env`.

The sections in `studio/settings/sections/` have the default and the help text of each setting;
`docs/settings.md` repeats them. This module needs only the standard library and python-dotenv.
"""

import dataclasses
import os
import re
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypedDict

from dotenv import dotenv_values

from studio.settings import folders, values
from studio.settings.files import misspelled, read_utf_8
from studio.settings.sections.access import Access
from studio.settings.sections.jobs import Jobs
from studio.settings.sections.limits import Limits
from studio.settings.sections.live import Live
from studio.settings.sections.models import Models
from studio.settings.sections.programs import Programs
from studio.settings.sections.storage import Storage

ROOT = folders.ROOT
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


def _given(environ: Mapping[str, str] | None, dotenv: Path | None) -> dict[str, str | None]:
    """The environment, over the `.env` file. Raises ConfigError if the file cannot be read."""
    file = None if dotenv is None else folders.base_folder() / dotenv
    try:
        text = read_utf_8(file) if file is not None and file.is_file() else ""
    except (ValueError, OSError) as error:
        raise ConfigError(f"The settings cannot be read: {error}") from None
    from_file = dotenv_values(stream=StringIO(text))
    return {**from_file, **(os.environ if environ is None else environ)}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()


# A dataclass has the fields of its last base first.
@dataclass(frozen=True)
class Config(Programs, Live, Models, Jobs, Storage, Limits, Access):
    """All settings. `Config()` has the defaults; `Config.load()` reads the environment and .env."""

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: Path | None = Path(".env"),
        only: Collection[str] | None = None,
    ) -> "Config":
        """Read settings from the environment, then the `.env` file, then the defaults.

        A relative `dotenv` starts at the base folder, and None reads no file. Settings that are not
        in `only` have their defaults. Raises ConfigError if a value is invalid.
        """
        given = _given(environ, dotenv)
        chosen: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = given.get(field.name)
            if text is None or (only is not None and field.name not in only):
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
        """Raise ConfigError if a required folder is missing."""
        if self.fonts_dir is not None and not self.fonts_dir.is_dir():
            raise ConfigError(
                f"FONTS_DIR={self.FONTS_DIR!r} cannot be used: there is no such folder. Leave it "
                "empty to use the bundled fonts only."
            )

    @classmethod
    def misspelled(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: Path | None = Path(".env"),
        only: Collection[str] | None = None,
    ) -> list[str]:
        """Warnings about names in the environment and `.env` that resemble settings (in `only`)."""
        names = [field.name for field in dataclasses.fields(cls)]
        return [
            f"{name} is not a setting and has no effect. Did you mean {setting}?"
            for name, setting in misspelled(_given(environ, dotenv), names).items()
            if only is None or setting in only
        ]

    @property
    def node(self) -> str:
        """The name of this process among those with ROLE=live."""
        made = re.sub(r"[^a-z0-9]+", "-", f"{socket.gethostname()}-{self.PORT}".lower())
        return self.NODE or made.strip("-")

    @property
    def torch_checkpoints(self) -> Path:
        """The download folder of `torch.hub`."""
        home = Path(os.environ.get("TORCH_HOME", _cache() / "torch")).expanduser()
        return home / "hub" / "checkpoints"

    @property
    def whisper_cache(self) -> Path:
        """The download folder of openai-whisper."""
        return _cache() / "whisper"
