"""Chooses the engine of a model: PyTorch on a GPU, OpenVINO, or PyTorch on the CPU.

`auto` uses a GPU that works, otherwise OpenVINO if it is installed, otherwise PyTorch on the CPU.
Networks that OpenVINO cannot run stay on PyTorch.
"""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

from studio.errors import ModelUnusable
from studio.inference.devices import (
    Device,
    choose_device,
    fallback_note,
    join_notes,
    release_memory,
)
from studio.inference.engine_settings import EngineSettings
from studio.inference.graph_cache import ConversionFailed, NotConvertible
from studio.settings.folders import pip_install

log = logging.getLogger(__name__)
_Model = TypeVar("_Model")


def run_on_best(
    settings: EngineSettings,
    setting: str,
    *,
    on_gpu: Callable[[Device], _Model],
    on_openvino: Callable[[str | None], _Model],
    on_torch: Callable[[str | None], _Model],
    refusals: tuple[type[Exception], ...] = (RuntimeError,),
) -> _Model:
    """Load a model with the function for the fastest engine that can run it.

    `setting` is the name of the setting with the engine. `on_openvino` and `on_torch` (for the CPU)
    get the note that says why a faster engine is not used. `refusals` are the errors of networks
    that OpenVINO cannot run. Raises ModelUnusable if OpenVINO is required but not installed.
    """
    note = None
    if settings.engine != "openvino":
        device = choose_device(settings.device)
        note = device.note
        if not device.is_cpu:
            try:
                return on_gpu(device)
            except RuntimeError as error:
                # Weights that cannot be read fail on the CPU as well, where they are reported.
                log.warning("%s cannot run the network", device.name, exc_info=error)
                note = fallback_note(error, device.name)
            release_memory()
    if settings.engine == "torch":
        return on_torch(note)
    if settings.engine == "auto" and not _has_openvino():
        missing = "OpenVINO is not installed; PyTorch was used, which is slower on a CPU."
        return on_torch(join_notes(note, missing))
    require_openvino(setting)
    try:
        return on_openvino(note)
    except (NotConvertible, ConversionFailed) as error:
        refusal = f"Fell back to PyTorch: {error}."
    except refusals as error:
        # Weights that cannot be read are refused by PyTorch as well, which says it best.
        log.warning("OpenVINO refused the network", exc_info=error)
        refusal = "OpenVINO cannot run this network; PyTorch was used, which is slower on a CPU."
    return on_torch(join_notes(note, refusal))


def expected_engine(settings: EngineSettings, suits_openvino: bool | None) -> str | None:
    """The engine that a model will run on; None if that is known only once it is loaded.

    `suits_openvino` says whether OpenVINO can run it; None if that is not known yet.
    """
    if settings.engine != "openvino":
        device = choose_device(settings.device)
        if not device.is_cpu:
            return torch_name(device.name)
        if settings.engine == "torch" or not _has_openvino():
            return torch_name("cpu")
    if suits_openvino is None:
        return None
    return "openvino" if suits_openvino else torch_name("cpu")


def torch_name(device: str) -> str:
    """The name of PyTorch on a device in results."""
    return "torch" if device == "cpu" else f"torch ({device})"


def require_openvino(setting: str) -> None:
    """Raise ModelUnusable if the package that a setting asks for is not installed."""
    if not _has_openvino():
        raise ModelUnusable(
            f"{setting} is openvino, but the package is not installed. Run "
            f"`{pip_install('openvino')}`, or set {setting}=auto."
        )


def _has_openvino() -> bool:
    return find_spec("openvino") is not None
