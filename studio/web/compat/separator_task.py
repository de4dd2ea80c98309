"""What a request of audio-separator's client means, kept in the ID of its task.

The ID has everything that the answers need besides the jobs, so tasks outlive a restart and need
no store of their own. The jobs belong to the key that started them, whatever an ID says.
"""

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from posixpath import splitext
from typing import Any, Self

from studio.errors import InvalidOption
from studio.jobs.job import Job
from studio.storage.folders import is_id
from studio.web.compat.form_requests import ReceivedFile

DEMUCS = "demucs"
FORMATS = ("flac", "wav", "mp3", "ogg")
INSTRUMENTAL = "instrumental"
# Both follow from the vocals, and are what the models of UVR usually produce.
PAIR = ("vocals", INSTRUMENTAL)
MAX_MODELS = 4
# Longest file name; programs find the stems by its beginning.
MAX_NAME_CHARACTERS = 150
MAX_EXTENSION_CHARACTERS = 20
# Web servers take request lines of 4 kB.
MAX_ID_CHARACTERS = 3500
JOB_ID_CHARACTERS = 32
# Parts of the names of models and presets that do not separate instruments.
OTHERS = (
    ("karaoke", "lead and backing vocals apart"),
    ("bve", "lead and backing vocals apart"),
    ("reverb", "reverberation removed"),
    ("echo", "echoes removed"),
    ("noise", "noise removed"),
    ("crowd", "a crowd removed"),
    ("aspiration", "breathing removed"),
    ("drumsep", "the parts of a drum kit apart"),
    ("wind_inst", "wind instruments apart"),
)


@dataclass(frozen=True)
class SeparationRequest:
    """What is wanted. `models` are names as they were sent, `variants` those of Demucs that
    replace them (None: the default). `refusal` says why it is not available."""

    models: tuple[str, ...]
    variants: tuple[str | None, ...]
    file_format: str = "flac"
    stem: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None

    @classmethod
    def of(cls, received: ReceivedFile, known: Collection[str]) -> Self:
        """The request in the fields of a form. Raises InvalidOption."""
        preset = received.field("preset")
        models = [f"preset:{preset}"] if preset else _models(received)
        file_format = (received.field("output_format") or "flac").lower()
        if file_format not in FORMATS:
            raise InvalidOption(
                f"`output_format` is {file_format!r:.100}; use one of {', '.join(FORMATS)}."
            )
        stem = received.field("output_single_stem")
        variants = tuple(_variant(model, known) for model in models)
        replaced = (name for name, variant in zip(models, variants, strict=True) if not variant)
        return cls(
            tuple(models),
            variants,
            file_format,
            stem.lower() if stem else None,
            _names(received.field("custom_output_names")),
            next(filter(None, map(_refusal, replaced)), None),
        )

    def options(self) -> Iterator[dict[str, Any]]:
        """The options of each job."""
        for variant in self.variants:
            options: dict[str, Any] = {"format": self.file_format}
            if variant is not None:
                options["model_variant"] = variant
            if self.stem == INSTRUMENTAL or (self.stem is None and variant is None):
                options["stems"] = ["vocals"]
            elif self.stem is not None:
                options["stems"] = [self.stem]
            yield options

    def models_used(self, default: str) -> list[str]:
        """The models, with those that replaced others."""
        return [
            model if variant is not None else f"{default} (instead of {model})"
            for model, variant in zip(self.models, self.variants, strict=True)
        ]


@dataclass(frozen=True)
class Output:
    """A file of a task: its key and its name, and the track of a job that it is."""

    key: str
    filename: str
    job: Job
    track: str


@dataclass(frozen=True)
class Task:
    wanted: SeparationRequest
    filename: str
    job_ids: tuple[str, ...]

    @classmethod
    def of(cls, wanted: SeparationRequest, filename: str) -> Self:
        """A task without its jobs. Raises InvalidOption if its ID would be too long."""
        task = cls(wanted, _shortened(filename), ())
        with_jobs = replace(task, job_ids=("0" * JOB_ID_CHARACTERS,) * len(wanted.models))
        if len(with_jobs.to_id()) > MAX_ID_CHARACTERS:
            raise InvalidOption(
                "`custom_output_names`, the names of the models and the file name are too long "
                "together. Use shorter ones."
            )
        return task

    def to_id(self) -> str:
        wanted = self.wanted
        data = [
            self.filename, self.job_ids, wanted.models, wanted.variants, wanted.file_format,
            wanted.stem, wanted.names, wanted.refusal,
        ]  # fmt: skip
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_id(cls, task_id: str) -> Self | None:
        """The task with an ID; None if there was none."""
        try:
            if len(task_id) > MAX_ID_CHARACTERS:
                return None
            text = base64.urlsafe_b64decode(task_id + "=" * (-len(task_id) % 4)).decode()
            filename, job_ids, models, variants, file_format, stem, names, refusal = json.loads(
                text
            )
            wanted = SeparationRequest(
                tuple(models), tuple(variants), file_format, stem, dict(names), refusal
            )
            texts = [filename, *job_ids, *models, file_format, *names, *names.values()]
            optional = [*variants, stem, refusal]
            is_valid = (
                all(isinstance(one, str) for one in texts)
                and all(one is None or isinstance(one, str) for one in optional)
                and len(models) == len(variants)
                and len(job_ids) == (0 if refusal else len(models))
                and all(is_id(one) for one in job_ids)
                and file_format in FORMATS
            )
            task = cls(wanted, filename, tuple(job_ids))
            # Nothing else is an ID; a lone surrogate cannot be encoded.
            return task if is_valid and task.to_id() == task_id else None
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None

    def outputs(
        self, index: int, job: Job, tracks: Collection[str], default: str
    ) -> Iterator[Output]:
        """The files that are made of the tracks of its job with that number."""
        wanted = self.wanted
        variant = wanted.variants[index]
        stems = [one for one in tracks if not one.startswith("no_")]
        if wanted.stem is not None:
            stems = [one for one in stems if one == wanted.stem]
        elif variant is None:
            stems = [one for one in PAIR if one in stems]
        else:
            stems = [one for one in stems if one != INSTRUMENTAL]
        model = _stem_of(wanted.models[index].removeprefix("preset:"))
        for stem in stems:
            name = self._name(stem, model if model != "default" else default)
            yield Output(f"{index}-{stem}", f"{name}.{wanted.file_format}", job, stem)

    def _name(self, stem: str, model: str) -> str:
        custom = {key.lower(): name for key, name in self.wanted.names.items()}.get(stem)
        if custom is None:
            # A stem's mark in the name of the source would be taken for that of an output.
            base = re.sub(r"_\([^)]+\)_", "_", _stem_of(self.filename))
            return f"{base}_({stem.capitalize()})_{model}"
        return f"{custom}_{model}" if len(self.wanted.models) > 1 else custom


def _models(received: ReceivedFile) -> list[str]:
    """The names of models in a form. Raises InvalidOption."""
    listed = received.field("models")
    if listed is None:
        return [received.field("model") or "default"]
    models = _json(listed, "models")
    if not isinstance(models, list) or not all(isinstance(one, str) for one in models):
        raise InvalidOption("`models` must be a JSON list of names.")
    if len(models) > MAX_MODELS:
        raise InvalidOption(f"`models` has {len(models)} names; at most {MAX_MODELS} are allowed.")
    return [one[:200] for one in dict.fromkeys(models)] or ["default"]


def _names(text: str | None) -> dict[str, str]:
    """The names of outputs by stem. Raises InvalidOption."""
    names = _json(text, "custom_output_names") if text else {}
    if not isinstance(names, dict) or not all(isinstance(one, str) for one in names.values()):
        raise InvalidOption("`custom_output_names` must be a JSON object of texts.")
    return {stem: re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", name) for stem, name in names.items()}


def _json(text: str, name: str) -> Any:
    try:
        value = json.loads(text)
        # Raises ValueError for lone surrogates, which no ID or file name can contain.
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        raise InvalidOption(f"`{name}` is not JSON: {text!r:.100}.") from None


def _variant(model: str, known: Collection[str]) -> str | None:
    """The variant of Demucs with that name, with or without `.yaml`; None if there is none."""
    name = model.removesuffix(".yaml")
    return name if name in known else None


def _refusal(model: str) -> str | None:
    """Why a model or preset is not available; None if Demucs can replace it."""
    for mark, wanted in OTHERS:
        if mark in model.lower():
            return (
                f"{model[:200]!r} gives {wanted}, which this server cannot do. It separates "
                "vocals, drums, bass and other instruments."
            )
    return None


def _shortened(name: str) -> str:
    """A file name that is not too long. It keeps its extension, without which a dot in the title
    would begin one."""
    stem, extension = splitext(name)
    extension = extension[:MAX_EXTENSION_CHARACTERS]
    return stem[: MAX_NAME_CHARACTERS - len(extension)] + extension


def _stem_of(name: str) -> str:
    """A file name without its folder and its extension."""
    return PurePosixPath(name.replace("\\", "/")).stem or "audio"
