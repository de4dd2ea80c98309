"""Chooses what a model runs on, and builds its bag from weights files.

`auto` takes PyTorch where there is a GPU that works, else OpenVINO where it is installed,
else PyTorch. A network that OpenVINO cannot run stays on PyTorch. The bag says in `note` why it
does not run on the best there is.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.errors import ModelUnusable
from studio.inference.convert_process import kept_or_converted
from studio.inference.devices import (
    Device,
    choose_device,
    fallback_note,
    join_notes,
    release_memory,
)
from studio.inference.engine_settings import EngineSettings
from studio.inference.graph_cache import ConversionFailed, NotConvertible
from studio.inference.hardware import native_bf16
from studio.separation.arrays import NUMPY, TorchArrays
from studio.separation.network import Bag, Member, Network
from studio.separation.openvino.conversion import keep_graph
from studio.separation.openvino.network import (
    LAYERS,
    Graph,
    OpenVinoNetwork,
    convert,
    describe,
    described,
    key,
)
from studio.separation.torch_engine import torch_network

log = logging.getLogger(__name__)

Kind = tuple[tuple[str, ...], int, int]
"""What the networks of a bag must agree in: sources, sample rate in Hz, channels."""


@dataclass(frozen=True)
class Weights:
    """The weights file of one network, and how to load it into PyTorch."""

    path: Path
    segment_s: float | None
    load: Callable[[], Any]


@dataclass(frozen=True)
class _Choice:
    """The engine for networks that it can run, PyTorch's device, and why it is not the fastest."""

    engine: str
    device: str = "cpu"
    note: str | None = None


def build(
    files: Sequence[Weights], weights: list[list[float]] | None, settings: EngineSettings
) -> Bag:
    """The bag of the files' networks, on the engine that serves it best."""
    choice = _choose(settings)
    if choice.device != "cpu":
        try:
            return _torch_bag(files, weights, settings, choice.device, None)
        except RuntimeError as error:
            # Weights that cannot be read fail on the CPU as well, where they are reported.
            log.warning("%s cannot run the network", choice.device, exc_info=error)
            note = fallback_note(error, choice.device)
        release_memory()
        choice = _choose_on_cpu(settings, note)
    return _on_cpu(files, weights, settings, choice)


def _on_cpu(
    files: Sequence[Weights],
    weights: list[list[float]] | None,
    settings: EngineSettings,
    choice: _Choice,
) -> Bag:
    if choice.engine == "torch":
        return _torch_bag(files, weights, settings, "cpu", choice.note)
    if find_spec("openvino") is None:
        raise ModelUnusable(
            "SEPARATION_ENGINE is openvino, but the package is not installed. Run `pip install "
            "openvino`, or set SEPARATION_ENGINE=auto."
        )
    try:
        return _openvino_bag(files, weights, settings, choice.note)
    except (NotConvertible, ConversionFailed) as error:
        note = f"Fell back to PyTorch: {error}."
    except (RuntimeError, ValueError) as error:
        # Weights that cannot be read are refused by PyTorch as well, which says it best.
        log.warning("OpenVINO refused the network", exc_info=error)
        note = "OpenVINO cannot run this network; PyTorch was used, which is slower on a CPU."
    return _torch_bag(files, weights, settings, "cpu", join_notes(choice.note, note))


def expected(settings: EngineSettings, is_transformer: bool | None) -> str | None:
    """The engine that a variant will run on; None where only loading it would tell."""
    choice = _choose(settings)
    if choice.engine == "torch":
        return _torch_name(choice.device)
    if is_transformer is None:
        return None
    return "openvino" if is_transformer else _torch_name(choice.device)


def _choose(settings: EngineSettings) -> _Choice:
    """What the settings and this machine lead to, before the network is known."""
    if settings.engine == "openvino":
        return _Choice("openvino")
    device = choose_device(settings.device)
    if not device.is_cpu:
        return _Choice("torch", device.name)
    return _choose_on_cpu(settings, device.note)


def _choose_on_cpu(settings: EngineSettings, note: str | None) -> _Choice:
    """The same without a GPU; `note` says why there is none."""
    if settings.engine == "torch":
        return _Choice("torch", note=note)
    if find_spec("openvino") is None:
        slow = "OpenVINO is not installed; PyTorch was used, which is slower on a CPU."
        return _Choice("torch", note=join_notes(note, slow))
    return _Choice("openvino", note=note)


def _torch_name(device: str) -> str:
    return "torch" if device == "cpu" else f"torch ({device})"


def _torch_bag(
    files: Sequence[Weights],
    weights: list[list[float]] | None,
    settings: EngineSettings,
    device: str,
    note: str | None,
) -> Bag:
    modules = [file.load() for file in files]
    networks = [torch_network(module, device, settings.threads) for module in modules]
    kinds = [
        (tuple(module.sources), int(module.samplerate), int(module.audio_channels))
        for module in modules
    ]
    return Bag(
        _members(networks, weights, kinds),
        *kinds[0],
        engine=_torch_name(device),
        precision="f16" if Device(device).is_cuda else "f32",
        note=note,
        arrays=TorchArrays(device) if Device(device).is_cuda else NUMPY,
    )


def _openvino_bag(
    files: Sequence[Weights],
    weights: list[list[float]] | None,
    settings: EngineSettings,
    note: str | None,
) -> Bag:
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if native_bf16() else "f32"
    graphs = [_graph(file, settings.graphs) for file in files]
    kinds = [(graph.sources, graph.sample_rate_hz, graph.channels) for graph, _ in graphs]
    networks = [
        OpenVinoNetwork(graph, layers, precision, settings.threads) for graph, layers in graphs
    ]
    return Bag(
        _members(networks, weights, kinds),
        *kinds[0],
        engine="openvino",
        precision=precision,
        note=note,
    )


def _graph(file: Weights, graphs: Path) -> tuple[Graph, Any]:
    """The graph of a weights file, and its layers."""

    def convert_here() -> tuple[dict[str, Any], dict[str, Any]]:
        graph, layers = convert(file.load())
        return describe(graph), {LAYERS: layers}

    description, networks = kept_or_converted(
        graphs,
        key(file.path, file.segment_s),
        lambda: keep_graph(file.path, file.segment_s, graphs),
        convert_here,
    )
    return described(description), networks(LAYERS)


def _members(
    networks: Sequence[Network], weights: list[list[float]] | None, kinds: list[Kind]
) -> tuple[Member, ...]:
    """The members of a bag. Raises ValueError where they do not fit together."""
    sources = len(kinds[0][0])
    weights = weights or [[1.0] * sources for _ in networks]
    if len(set(kinds)) > 1:
        raise ValueError("the networks of the bag differ in their stems, rate or channels")
    if [len(row) for row in weights] != [sources] * len(networks):
        raise ValueError("the bag needs a row of weights for each network, one for each stem")
    if not all(sum(column) > 0 for column in zip(*weights, strict=True)):
        raise ValueError("the bag has no weight for one of its stems")
    return tuple(
        Member(network, tuple(map(float, row)))
        for network, row in zip(networks, weights, strict=True)
    )
