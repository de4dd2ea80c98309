"""Serves the scripts and styles of the pages, compressed, with a version in their address.

Every change of a file changes the version, so browsers may keep what they have for good. Modules
refer to each other by relative paths, which keep the version.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from flask import Response, request

from studio.errors import UnknownRoute

STATIC = Path(__file__).resolve().parent / "static"
# Smaller files hardly shrink.
MIN_COMPRESSED_BYTES = 500
YEAR_S = 365 * 24 * 3600
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """A file; `compressed` is empty where compression does not pay."""

    content: bytes
    compressed: bytes
    media_type: str


class Assets:
    """The files below `folder`, read once."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._assets = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for name, asset in self._assets.items():
            digest.update(f"{name} {len(asset.content)} ".encode() + asset.content)
        self.version = digest.hexdigest()[:12]

    def __contains__(self, name: object) -> bool:
        return name in self._assets

    def path(self, name: str) -> str:
        """The address of an asset. Raises KeyError."""
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"

    def get(self, name: str) -> Asset:
        """An asset by its name. Raises UnknownRoute."""
        try:
            return self._assets[name]
        except KeyError:
            raise UnknownRoute(
                f"The pages of this server have no file {name!r}. Reload the page."
            ) from None

    def answer(self, version: str, name: str) -> Response:
        """The response to a request. A page of another version gets the current files, uncached.

        Raises UnknownRoute.
        """
        asset = self.get(name)
        answer = Response(asset.content, mimetype=asset.media_type)
        if asset.compressed and request.accept_encodings.quality("gzip") > 0:
            answer = Response(asset.compressed, mimetype=asset.media_type)
            answer.headers["Content-Encoding"] = "gzip"
        answer.vary.add("Accept-Encoding")
        if version == self.version:
            answer.cache_control.public = True
            answer.cache_control.max_age = YEAR_S
            answer.cache_control.immutable = True
        else:
            answer.cache_control.no_cache = True
        return answer


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    media_type = _TYPES.get(path.suffix, guessed)
    is_text = path.suffix in _TYPES and len(content) >= MIN_COMPRESSED_BYTES
    return Asset(content, gzip.compress(content, 9, mtime=0) if is_text else b"", media_type)
