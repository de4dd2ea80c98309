"""The OpenVINO engine: HTDemucs as a compiled graph, its Fourier transforms outside of it.

A network is converted once from its weights (`torch` is needed only then) and kept on disk.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from studio.inference.graph_cache import NotConvertible, graph_key
from studio.inference.hardware import cores
from studio.inference.openvino_import import compile_graph, import_openvino
from studio.inference.quantization import halve_constants
from studio.separation.network import Stems, Windows
from studio.separation.openvino.channels_last import rearrange
from studio.separation.openvino.spectrum import Spectrogram

GRAPH_VERSION = 6
PACKAGES = ("openvino", "torch", "demucs")
LAYERS = "graph"
# Two cores compute two windows at most 8 % faster than one after the other, with twice the memory.
CORES_PER_WINDOW = 2
# Each window takes memory: 0.33 GB with htdemucs.
MAX_WINDOWS = 4
# Periods of the remainders in the short window that is traced.
SHORT_PERIODS = 2


@dataclass(frozen=True)
class Graph:
    """What a converted network is, besides its layers."""

    sources: tuple[str, ...]
    sample_rate_hz: int
    channels: int
    segment_samples: int
    hop: int


def key(weights: Path, segment_s: float | None) -> str:
    """Names the graph of a weights file in the cache."""
    return graph_key([weights], PACKAGES, GRAPH_VERSION, segment_s)


def describe(graph: Graph) -> dict[str, Any]:
    """A graph as the cache keeps it beside its layers."""
    return asdict(graph)


def described(data: dict[str, Any]) -> Graph:
    """The reverse of `describe`. Raises TypeError or LookupError where it is no such graph."""
    return Graph(**{**data, "sources": tuple(data["sources"])})


def convert(module: Any) -> tuple[Graph, Any]:
    """A loaded HTDemucs as a graph; it is rearranged in place.

    Raises NotConvertible for other networks.
    """
    import torch
    from demucs.htdemucs import HTDemucs

    openvino = import_openvino()
    if not isinstance(module, HTDemucs):
        raise NotConvertible(f"{type(module).__name__} runs on PyTorch only")
    if not (module.cac and module.use_train_segment):
        raise NotConvertible("this HTDemucs masks magnitudes or has no fixed segment")
    segment = int(module.segment * module.samplerate)
    graph = Graph(
        tuple(module.sources),
        int(module.samplerate),
        int(module.audio_channels),
        segment,
        int(module.hop_length),
    )
    rearrange(module)
    shapes = _input_shapes(graph, segment)
    # A trace computes the network. OpenVINO derives the sizes of a whole window from the shapes.
    example = tuple(map(torch.zeros, _input_shapes(graph, _short_samples(module, segment))))
    with torch.no_grad(), warnings.catch_warnings(), _plain_attention():
        # Which branches are taken is fixed on purpose, and OpenVINO's converter reads a trace.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(_core(module), example, check_trace=False)
        layers = openvino.convert_model(traced, example_input=example, input=shapes)
    halve_constants(layers)
    return graph, layers


def _input_shapes(graph: Graph, samples: int) -> list[list[int]]:
    """The shapes of a window of `samples` and of its spectrum."""
    spectrogram = Spectrogram(samples, graph.hop)
    spectrum = [1, 2 * graph.channels, spectrogram.bins, spectrogram.frames]
    return [[1, graph.channels, samples], spectrum]


def _short_samples(module: Any, segment: int) -> int:
    """The length of a short window on which an HTDemucs takes the branches of a whole one.

    A layer pads a length that is not a multiple of its stride, so in each layer both windows must
    leave the same remainder.
    """
    from demucs.hdemucs import HEncLayer

    in_time = math.prod(layer.stride for layer in module.tencoder)
    in_frames = math.prod(
        layer.stride for layer in module.encoder if isinstance(layer, HEncLayer) and not layer.freq
    )
    period = math.lcm(in_time, in_frames * module.hop_length)
    return min(segment, SHORT_PERIODS * period + segment % period)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """PyTorch's fused attention is off: its keys would be moved around before OpenVINO fuses it."""
    import torch

    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)


def _core(module: Any) -> Any:
    """The network between the Fourier transforms: (mixture, spectrum) -> (spectra, waves).

    It is the module's own `forward`; the transforms around it are replaced by what they get and
    give. The spectra come from the last layer as it leaves them, (1, bins, frames, channels):
    their order is changed by the inverse transform, which has to read them anyway.
    """
    import torch

    class Core(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = module
            self.last_layer = module.decoder[-1].forward
            module.decoder[-1].forward = self.keep
            # Windows are as long as they have to be; this would fix the length in the trace.
            module.use_train_segment = False
            module._spec = lambda _mixture: self.spectrum
            module._magnitude = lambda spectrum: spectrum
            module._mask = lambda _spectrum, spectra: spectra
            module._ispec = lambda _spectra, _length: torch.zeros(())

        def keep(self, *given: Any) -> tuple[Any, Any]:
            self.spectra, before = self.last_layer(*given)
            return self.spectra, before

        def forward(self, mixture: Any, spectrum: Any) -> Any:
            self.spectrum = spectrum
            waves = self.network(mixture)
            everything = (1, 2, 3)
            mean = spectrum.mean(everything, keepdim=True)
            spectra = self.spectra * spectrum.std(everything, keepdim=True) + mean
            return spectra.permute(0, 2, 3, 1), waves

    return Core().eval()


def windows_at_once(cores: int) -> int:
    """How many windows that many cores compute at the same time."""
    return min(MAX_WINDOWS, max(1, cores // CORES_PER_WINDOW))


class OpenVinoNetwork:
    """A compiled graph behind the `Network` protocol; any number of threads may call it.

    `layers` is the path of a kept graph, or the converted one itself.
    """

    batch = 1
    note: str | None = None

    def __init__(self, graph: Graph, layers: Any, precision: str, threads: int) -> None:
        openvino = import_openvino()
        self.segment_samples = graph.segment_samples
        self._spectrogram = Spectrogram(graph.segment_samples, graph.hop)
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "PERFORMANCE_HINT_NUM_REQUESTS": windows_at_once(threads or cores()),
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        compiled = compile_graph(layers, settings)
        requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # While the device runs, the transforms of one more window are computed.
        self.parallel = requests + 1
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(requests):
            self._requests.put(compiled.create_infer_request())
        self._outputs: SimpleQueue[list[Any]] = SimpleQueue()
        for _ in range(self.parallel):
            self._outputs.put(
                [openvino.Tensor(one.element_type, one.shape) for one in compiled.outputs]
            )

    def window_samples(self, length: int) -> int:
        return self.segment_samples

    def __call__(self, windows: Windows) -> Stems:
        (window,) = windows
        outputs = self._outputs.get()
        try:
            self._infer([window[None], self._spectrogram.forward(window)[None]], outputs)
            spectra, waves = (tensor.data for tensor in outputs)
            stems: Stems = self._spectrogram.inverse(spectra[0]).reshape(waves.shape)
            stems += waves
        finally:
            self._outputs.put(outputs)
        return stems

    def _infer(self, inputs: list[Any], outputs: list[Any]) -> None:
        request = self._requests.get()
        try:
            for number, tensor in enumerate(outputs):
                request.set_output_tensor(number, tensor)
            request.infer(inputs, share_inputs=True, share_outputs=True)
        finally:
            self._requests.put(request)
