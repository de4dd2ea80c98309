"""The OpenVINO engine: HTDemucs as a compiled graph, its Fourier transforms outside of it.

A network is converted once from its weights (`torch` is needed only then) and kept on disk under a
key made of the weights' hash and the versions of everything that shapes the graph, so that another
start reads it back and an outdated one is never used.
"""

import hashlib
import json
import queue
import secrets
import shutil
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from studio.audio import Sound
from studio.separation.network import Stems, Windows
from studio.separation.spectrum import Spectrogram

GRAPH_VERSION = 1
PACKAGES = ("openvino", "torch", "demucs")
FILES = ("graph.xml", "graph.bin")


class NotConvertible(Exception):
    """This network cannot run as a graph; the text says why."""


@dataclass(frozen=True)
class Graph:
    """What a converted network is, besides its layers."""

    sources: tuple[str, ...]
    sample_rate_hz: int
    channels: int
    segment_samples: int
    hop: int


class GraphCache:
    """Converted networks on disk: `folder/KEY/{graph.xml,graph.bin,graph.json}`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self, weights: Path, segment_s: float | None) -> str:
        """Names the graph of a weights file under the installed versions."""
        versions = [f"{name}={version(name)}" for name in PACKAGES]
        parts = [_digest(weights), GRAPH_VERSION, segment_s, *versions]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def find(self, key: str) -> tuple[Graph, Path] | None:
        """A graph and the path of its layers; None when it is not there or was damaged."""
        folder = self._folder / key
        try:
            data = json.loads((folder / "graph.json").read_text("utf-8"))
            digests = data.pop("digests")
            if any(_digest(folder / name) != digests[name] for name in FILES):
                return None
            return Graph(**{**data, "sources": tuple(data["sources"])}), folder / FILES[0]
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def add(self, key: str, graph: Graph, layers: Any) -> Path:
        """Keep a converted network; it appears whole, by rename. The path of its layers."""
        import openvino

        unfinished = self._folder / f".{key}-{secrets.token_hex(4)}"
        unfinished.mkdir(parents=True)
        try:
            openvino.save_model(layers, unfinished / FILES[0], compress_to_fp16=False)
            digests = {name: _digest(unfinished / name) for name in FILES}
            described = json.dumps({**asdict(graph), "digests": digests})
            (unfinished / "graph.json").write_text(described, encoding="utf-8")
            target = self._folder / key
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return target / FILES[0]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(module: Any) -> tuple[Graph, Any]:
    """A loaded HTDemucs as a graph. Raises NotConvertible for other networks."""
    import openvino
    import torch
    from demucs.htdemucs import HTDemucs

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
    mixture = torch.zeros(1, graph.channels, segment)
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes are fixed on purpose, and a trace is what OpenVINO's converter reads.
        warnings.simplefilter("ignore")
        spectrum = module._magnitude(module._spec(mixture))
        example = (mixture, spectrum)
        traced = torch.jit.trace(_core(module), example, check_trace=False)
        shapes = [list(tensor.shape) for tensor in example]
        return graph, openvino.convert_model(traced, example_input=example, input=shapes)


def _core(module: Any) -> Any:
    """The network between the Fourier transforms: (mixture, spectrum) -> (spectra, waves).

    It is the module's own `forward`; the transforms around it are replaced by what they get and
    give.
    """
    import torch

    class Core(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = module
            module._spec = lambda _mixture: self.spectrum
            module._magnitude = lambda spectrum: spectrum
            module._mask = self.keep
            module._ispec = lambda _spectra, _length: torch.zeros(())

        def keep(self, _spectrum: Any, spectra: Any) -> Any:
            self.spectra = spectra
            return spectra

        def forward(self, mixture: Any, spectrum: Any) -> Any:
            self.spectrum = spectrum
            waves = self.network(mixture)
            return self.spectra, waves

    return Core().eval()


@cache
def native_bf16() -> bool:
    """Whether the processor multiplies bfloat16 by itself."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoNetwork:
    """A compiled graph behind the `Network` protocol; any number of threads may call it.

    `layers` is the path of a kept graph, or the converted one itself.
    """

    batch = 1

    def __init__(self, graph: Graph, layers: Any, precision: str, threads: int) -> None:
        import openvino

        self.segment_samples = graph.segment_samples
        self._spectrogram = Spectrogram(graph.segment_samples, graph.hop)
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(layers, "CPU", settings)
        self.parallel = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests: queue.Queue[Any] = queue.Queue()
        for _ in range(self.parallel):
            self._requests.put(compiled.create_infer_request())

    def window_samples(self, length: int) -> int:
        return self.segment_samples

    def __call__(self, windows: Windows) -> Stems:
        return np.stack([self._separate(window) for window in windows])

    def _separate(self, window: Sound) -> Stems:
        spectrum = self._spectrogram.forward(window)
        request = self._requests.get()
        try:
            request.infer([window[None], spectrum[None]], share_inputs=True)
            spectra = np.array(request.get_output_tensor(0).data[0], dtype=np.float32)
            waves = np.array(request.get_output_tensor(1).data[0], dtype=np.float32)
        finally:
            self._requests.put(request)
        waves += self._spectrogram.inverse(spectra)
        return waves
