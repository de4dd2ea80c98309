"""Builds the bag of a variant from weights files, on the fastest engine that can run it.

`Bag.note` says why a slower engine was used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from studio.inference.convert_process import cached_or_converted
from studio.inference.devices import Device
from studio.inference.engine_choice import run_on_best, torch_name
from studio.inference.engine_settings import EngineSettings
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

NetworkFormat = tuple[tuple[str, ...], int, int]
"""Sources, sample rate in Hz and channels, which the networks of a bag must have in common."""


@dataclass(frozen=True)
class Weights:
    """The weights file of one network, and how to load it into PyTorch."""

    path: Path
    segment_s: float | None
    load: Callable[[], Any]


def build(
    files: Sequence[Weights], weights: list[list[float]] | None, settings: EngineSettings
) -> Bag:
    """The bag of the files' networks, on the fastest engine that can run them."""
    torch_bag = partial(_torch_bag, files, weights, settings)
    return run_on_best(
        settings,
        "SEPARATION_ENGINE",
        on_gpu=torch_bag,
        on_openvino=partial(_openvino_bag, files, weights, settings),
        on_torch=partial(torch_bag, Device()),
        refusals=(RuntimeError, ValueError),
    )


def _torch_bag(
    files: Sequence[Weights],
    weights: list[list[float]] | None,
    settings: EngineSettings,
    device: Device,
    note: str | None = None,
) -> Bag:
    modules = [file.load() for file in files]
    networks = [torch_network(module, device.name, settings.threads) for module in modules]
    formats = [
        (tuple(module.sources), int(module.samplerate), int(module.audio_channels))
        for module in modules
    ]
    return Bag(
        _members(networks, weights, formats),
        *formats[0],
        engine=torch_name(device.name),
        precision="f16" if device.is_cuda else "f32",
        note=note,
        arrays=TorchArrays(device.name) if device.is_cuda else NUMPY,
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
    formats = [(graph.sources, graph.sample_rate_hz, graph.channels) for graph, _ in graphs]
    networks = [
        OpenVinoNetwork(graph, layers, precision, settings.threads) for graph, layers in graphs
    ]
    return Bag(
        _members(networks, weights, formats),
        *formats[0],
        engine="openvino",
        precision=precision,
        note=note,
    )


def _graph(file: Weights, graphs: Path) -> tuple[Graph, Any]:
    """The graph of a weights file, and its layers."""

    def convert_here() -> tuple[dict[str, Any], dict[str, Any]]:
        graph, layers = convert(file.load())
        return describe(graph), {LAYERS: layers}

    description, networks = cached_or_converted(
        graphs,
        key(file.path, file.segment_s),
        lambda: keep_graph(file.path, file.segment_s, graphs),
        convert_here,
    )
    return described(description), networks(LAYERS)


def _members(
    networks: Sequence[Network],
    weights: list[list[float]] | None,
    formats: list[NetworkFormat],
) -> tuple[Member, ...]:
    """The members of a bag. Raises ValueError if they do not fit together."""
    sources = len(formats[0][0])
    weights = weights or [[1.0] * sources for _ in networks]
    if len(set(formats)) > 1:
        raise ValueError("the networks of the bag differ in their stems, rate or channels")
    if [len(row) for row in weights] != [sources] * len(networks):
        raise ValueError("the bag needs a row of weights for each network, one for each stem")
    if not all(sum(column) > 0 for column in zip(*weights, strict=True)):
        raise ValueError("the bag has no weight for one of its stems")
    return tuple(
        Member(network, tuple(map(float, row)))
        for network, row in zip(networks, weights, strict=True)
    )
