"""Reads a weights file of Demucs into a network of PyTorch.

A pickled checkpoint can run code of its author when it is loaded. `.th` files are therefore only
taken from Demucs's own releases, whose checksum is in the name, and from `MODEL_DIR`; from a hub
repository only safetensors are, and only with classes of the demucs package.
"""

import inspect
import json
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable
from studio.inference.variants import BUNDLED
from studio.separation import limits
from studio.separation.catalogue import safetensors_metadata

CLASSES = {"demucs.demucs.Demucs", "demucs.hdemucs.HDemucs", "demucs.htdemucs.HTDemucs"}


def load_file(path: Path, segment_s: float | None) -> Any:
    """A network in PyTorch. A transformer is never run longer than it was trained.

    Raises ModelUnusable when the file names foreign code or a network beyond the bounds.
    """
    from demucs.htdemucs import HTDemucs

    module = _load_module(path, segment_s)
    if segment_s is not None and (not isinstance(module, HTDemucs) or segment_s <= module.segment):
        module.segment = segment_s
    try:
        limits.check_segment(module.segment, f"the segment of {path.name}")
    except limits.OutOfBounds as error:
        raise ModelUnusable(f"The network is not allowed: {error}. Use another variant.") from None
    return module


def _load_module(path: Path, segment_s: float | None) -> Any:
    from demucs.hf import load_safetensors_model
    from demucs.repo import check_checksum
    from demucs.states import load_model

    if path.suffix == ".safetensors":
        metadata = safetensors_metadata(path)
        _check_classes(path, metadata)
        _check_size(path, metadata, segment_s)
        with _without_initial_values():
            return load_safetensors_model(path)
    if path.suffix != ".th":
        raise ModelUnusable(f"{path.name} is not a weights file: it must be .safetensors or .th.")
    _, dash, checksum = path.stem.rpartition("-")
    if dash:
        check_checksum(path, checksum)
    return load_model(path)


def _check_classes(path: Path, metadata: dict[str, Any]) -> None:
    """Refuse a file that names a class outside of demucs's networks: loading would call it."""
    structure = json.loads(metadata.get("structure", "null"))
    helpers = {name for name in _classes_in(structure) if not name.startswith("diffq.")}
    if foreign := ({str(metadata.get("klass"))} | helpers) - CLASSES:
        raise ModelUnusable(
            f"{path.name} is not a Demucs network: it names the classes {sorted(foreign)}. Replace "
            f"it, or use the bundled variant {BUNDLED!r}."
        )


def _check_size(path: Path, metadata: dict[str, Any], segment_s: float | None) -> None:
    """Refuse a network that is too large, before any of it is allocated."""
    import torch
    from demucs.hf import _decode_json

    module, _, name = metadata["klass"].rpartition(".")
    network = getattr(import_module(module), name)
    given = _decode_json(json.loads(metadata.get("args", "[]")))
    named = _decode_json(json.loads(metadata.get("kwargs", "{}")))
    signature = inspect.signature(network)
    known = {key: value for key, value in named.items() if key in signature.parameters}
    bound = signature.bind(*given, **known)
    bound.apply_defaults()
    # Both shape initial values only, for which the meta device would need PyTorch's compiler.
    plain = {"emb_smooth": False, "rescale": 0}
    bound.arguments.update({key: plain[key] for key in plain if key in bound.arguments})
    try:
        limits.check_arguments(bound.arguments, None if name == "HTDemucs" else segment_s)
        # On this device tensors have shapes and no memory.
        with torch.device("meta"), _without_initial_values():
            outline = network(*bound.args, **bound.kwargs)
        parameters = sum(tensor.numel() for tensor in outline.parameters())
        if parameters > limits.MAX_PARAMETERS:
            raise limits.OutOfBounds(
                f"it has {parameters:,} parameters; the maximum is {limits.MAX_PARAMETERS:,}"
            )
    except limits.OutOfBounds as error:
        raise ModelUnusable(
            f"The network {path.name} is not allowed: {error}. Use another variant."
        ) from None


def _without_initial_values() -> AbstractContextManager[Any]:
    """Parameters of networks made inside get no values: a file holds values for all of them.

    Drawing and scaling them takes half a second. On the meta device PyTorch would import its
    compiler for it, which takes two seconds.
    """
    import torch
    from torch.nn import init
    from torch.overrides import TorchFunctionMode

    filling = {init.normal_, init.uniform_, init.kaiming_uniform_}
    filling |= {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.div_}

    class WithoutInitialValues(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if function in filling:
                return args[0] if args else kwargs["tensor"]
            return function(*args, **kwargs)

    return WithoutInitialValues()


def _classes_in(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _classes_in(item)]
    if isinstance(node, dict):
        own = [str(node["_class"])] if "_class" in node else []
        return own + [name for item in node.values() for name in _classes_in(item)]
    return []
