"""Converted networks on disk, so that another start reads them back.

A key is made of the weights' hash and the versions of everything that shapes the graphs; the files
are hashed again when they are read. An outdated or damaged graph is never used. Graphs that no
process has read for 30 days, such as those for older versions, are deleted when others are added.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studio.inference.content_hash import content_hash, read_hash
from studio.inference.openvino_import import import_openvino

DESCRIPTION = "graph.json"
# For stateful graphs. Their fused attention and OpenVINO's cache of primitives hold each other, so
# that a thread and some memory of each compiled network would outlive it.
RELEASED_WHOLE: dict[str, Any] = {"CPU_RUNTIME_CACHE_CAPACITY": 0}
# No graph takes longer to write.
UNFINISHED_S = 3600.0
UNUSED_S = 30 * 86400.0


class NotConvertible(Exception):
    """This network cannot run as a graph; the text says why."""


class ConversionFailed(RuntimeError):
    """A conversion could not run or did not end, whatever the network is; the text says why."""


def graph_key(weights: Sequence[Path], packages: Sequence[str], *rest: Any) -> str:
    """Names the graphs of weights files under the installed versions of packages."""
    versions = [f"{name}={version(name)}" for name in packages]
    parts = [*map(content_hash, weights), *rest, *versions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class GraphCache:
    """Converted networks: `folder/KEY/`, each as NAME.xml and NAME.bin, with a description."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> tuple[dict[str, Any], Path] | None:
        """The description of a key's networks and their folder; None if missing or damaged."""
        folder = self._folder / key
        # Marked first: another process that deletes unused graphs then leaves these, or has already
        # renamed them.
        with suppress(OSError):
            os.utime(folder)
        try:
            described = json.loads((folder / DESCRIPTION).read_text("utf-8"))
            digests = described.pop("digests")
            if not digests or any(read_hash(folder / name) != digests[name] for name in digests):
                return None
            return described, folder
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return None

    def find_or_make(
        self, key: str, make: Callable[[], object]
    ) -> tuple[dict[str, Any], Path] | None:
        """As `find`, but calls `make` first if nothing is cached."""
        if cached := self.find(key):
            return cached
        make()
        # Whether or not it could keep them, another server may have done so meanwhile.
        return self.find(key)

    def add(self, key: str, described: dict[str, Any], networks: Mapping[str, Any]) -> Path:
        """Store converted networks atomically (by rename). Returns their folder."""
        openvino = import_openvino()
        self._forget_unused(key)
        self._forget_unfinished()
        unfinished = self._folder / f".{key}-{secrets.token_hex(4)}"
        unfinished.mkdir(parents=True)
        try:
            for name, network in networks.items():
                openvino.save_model(network, unfinished / f"{name}.xml", compress_to_fp16=False)
            digests = {path.name: read_hash(path) for path in unfinished.iterdir()}
            text = json.dumps({**described, "digests": digests})
            (unfinished / DESCRIPTION).write_text(text, encoding="utf-8")
            target = self._folder / key
            try:
                unfinished.rename(target)
            except OSError:
                # Another server may be reading these files: only damaged ones are replaced.
                if self.find(key) is None:
                    shutil.rmtree(target, ignore_errors=True)
                    unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return target

    def _forget_unused(self, key: str) -> None:
        """Rename graphs other than the key's that were not read lately, so that they are removed.

        Processes that have them open can go on using them.
        """
        for folder in self._folder.glob("[!.]*"):
            # Another server may have done it, or the folder cannot be written.
            with suppress(OSError):
                if folder.name != key and time.time() - folder.stat().st_mtime > UNUSED_S:
                    folder.rename(self._folder / f".{folder.name}-{secrets.token_hex(4)}")

    def _forget_unfinished(self) -> None:
        """Remove what is no longer used, and what processes that were killed while writing left."""
        for folder in self._folder.glob(".*-*"):
            # Another server may remove the same one.
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > UNFINISHED_S:
                    shutil.rmtree(folder, ignore_errors=True)
