"""Parses the values of settings. Each function raises ValueError that says what to use instead."""

import base64
import binascii
import re
from collections.abc import Callable

MIN_KEY_CHARACTERS = 16
MIN_WEBHOOK_SECRET_BYTES = 24

AUDIO_FILE_TYPES = frozenset({"mp3", "wav", "flac", "m4a", "ogg"})
# Other names of audio files, and of videos whose sound is used.
MORE_FILE_TYPES = frozenset(
    {"aac", "aif", "aiff", "amr", "mka", "mkv", "mov", "mp4", "mpeg", "mpg", "mpga", "oga"}
    | {"opus", "webm"}
)


def boolean(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    if text.strip().lower() not in known:
        raise ValueError("use true or false")
    return known[text.strip().lower()]


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,20}\s*", text):
            raise ValueError("use a whole number")
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError(f"use a number from {minimum} to {maximum}")
        return number

    return parse


def name(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be empty")
    return text.strip()


def bucket(text: str) -> str:
    text = text.strip()
    if text and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9._/-]*)?", text):
        raise ValueError("use s3://BUCKET or s3://BUCKET/PREFIX")
    return text


def region(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]*", text.strip()):
        raise ValueError("use letters, digits and hyphens, such as eu-central-1, or an empty value")
    return text.strip()


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"use one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?|mps", text.strip().lower()):
        raise ValueError("use auto, cpu, cuda, cuda:N with the index of a GPU, or mps")
    return text.strip().lower()


def file_types(text: str) -> frozenset[str]:
    chosen = frozenset(part.lower().lstrip(".") for part in _parts(text))
    known = AUDIO_FILE_TYPES | MORE_FILE_TYPES | {"txt"}
    if not chosen or not chosen <= known:
        raise ValueError(f"use a comma-separated list of {', '.join(sorted(known))}")
    return chosen


def origins(text: str) -> str:
    origins = [part.rstrip("/").lower() for part in _parts(text)]
    if not origins:
        raise ValueError("use * or a comma-separated list of origins")
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[\w.:\[\]-]+", origin):
            raise ValueError("an origin is http:// or https:// followed by a host, or *")
    return ",".join(origins)


def api_keys(text: str) -> frozenset[str]:
    keys = frozenset(_parts(text))
    for key in keys:
        if len(key) < MIN_KEY_CHARACTERS or not re.fullmatch(r"[!-~]+", key):
            raise ValueError(
                f"each key must have at least {MIN_KEY_CHARACTERS} ASCII characters and no spaces; "
                "generate one with `openssl rand -hex 32`"
            )
    return keys


def key(text: str) -> str:
    if not text.strip():
        return ""
    keys = api_keys(text)
    if len(keys) != 1:
        raise ValueError("use a single key")
    return next(iter(keys))


def hub_repositories(text: str) -> str:
    repositories = _parts(text)
    if repositories in (["auto"], ["*"]):
        return repositories[0]
    for repository in repositories:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError("a repository is NAMESPACE/NAME; or use auto, *, or an empty value")
    return ",".join(repositories)


def hosts(text: str) -> str:
    hosts = [part.lower() for part in _parts(text)]
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


def rate(text: str) -> str:
    if text.strip() and not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", text.strip()):
        raise ValueError(
            "use a number per second, minute, hour or day, such as 60/minute, or an empty value"
        )
    return text.strip()


def url(text: str) -> str:
    if text.strip() and not re.match(r"https?://[^/\s]", text.strip()):
        raise ValueError("use a URL that begins with https:// or http://, or an empty value")
    return text.strip()


def redis_url(text: str) -> str:
    if text.strip() and not re.match(r"(redis|rediss|redis\+unix)://[^\s]", text.strip()):
        raise ValueError("use redis://HOST:PORT, rediss:// for TLS, or an empty value")
    return text.strip()


def webhook_secret(text: str) -> str:
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


def routes(text: str) -> tuple[tuple[str, str], ...]:
    """Patterns of models and variants with their queues, in order."""
    parts = _parts(text)
    for part in parts:
        if not re.fullmatch(r"[\w*?.:/-]+=[\w-]+", part):
            raise ValueError(
                "a route is MODEL.VARIANT=QUEUE with * for any, such as "
                "demucs.htdemucs_ft=gpu,whisper.*=cpu,*=cpu"
            )
    return tuple((pattern, queue) for pattern, queue in (part.rsplit("=", 1) for part in parts))


def queues(text: str) -> tuple[str, ...]:
    names = tuple(_parts(text))
    for name in names:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError("a queue has letters, digits, - and _ in its name")
    return names


def node(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{0,63}", text.strip()):
        raise ValueError(
            "use at most 63 lower-case letters, digits and hyphens, such as live-1, or an empty "
            "value"
        )
    return text.strip()


def any_text(text: str) -> str:
    return text.strip()


def _parts(text: str) -> list[str]:
    """The parts of a comma-separated list, without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]
