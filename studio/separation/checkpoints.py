"""Reads a weights file of Demucs into a network of PyTorch.

A pickled checkpoint can run code of its author when it is loaded. `.th` files are therefore only
taken from Demucs's own releases, whose checksum is in the name, and from `MODEL_DIR`; from a hub
repository only safetensors are, and only with classes of the demucs package.
"""

import json
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable
from studio.separation.catalogue import safetensors_metadata
from studio.weights import BUNDLED

CLASSES = {"demucs.demucs.Demucs", "demucs.hdemucs.HDemucs", "demucs.htdemucs.HTDemucs"}


def load_file(path: Path, segment_s: float | None) -> Any:
    """A network in PyTorch. A transformer is never run longer than it was trained."""
    from demucs.htdemucs import HTDemucs

    module = _load_module(path)
    if segment_s is not None and (not isinstance(module, HTDemucs) or segment_s <= module.segment):
        module.segment = segment_s
    return module


def _load_module(path: Path) -> Any:
    from demucs.hf import load_safetensors_model
    from demucs.repo import check_checksum
    from demucs.states import load_model

    if path.suffix == ".safetensors":
        _check_classes(path)
        return load_safetensors_model(path)
    if path.suffix != ".th":
        raise ModelUnusable(f"{path.name} is no weights file: neither .safetensors nor .th.")
    _, dash, checksum = path.stem.rpartition("-")
    if dash:
        check_checksum(path, checksum)
    return load_model(path)


def _check_classes(path: Path) -> None:
    """Refuse a file that names a class outside of demucs's networks: it would be called."""
    metadata = safetensors_metadata(path)
    structure = json.loads(metadata.get("structure", "null"))
    helpers = {name for name in _classes_in(structure) if not name.startswith("diffq.")}
    if foreign := ({str(metadata.get("klass"))} | helpers) - CLASSES:
        raise ModelUnusable(
            f"{path.name} is not a Demucs network: it names {sorted(foreign)}. Replace it, or use "
            f"the bundled variant {BUNDLED!r}."
        )


def _classes_in(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _classes_in(item)]
    if isinstance(node, dict):
        own = [str(node["_class"])] if "_class" in node else []
        return own + [name for item in node.values() for name in _classes_in(item)]
    return []
