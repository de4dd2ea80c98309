"""`python -m bench.eight_bits`: a trial of separation with 8-bit products, by NNCF.

It needs `pip install nncf==3.4.0` and the held-out songs (`python -m training.render --count 16
--held-out`). Activations are quantised with fixed scales, which are measured on the sample song.
Speed is that of the full-size htdemucs, and the loss that of the bundled model.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import material, measure, report
from bench.layers import full_size_graph
from bench.operations import kept
from studio.audio import Sound
from studio.inference.engine_settings import EngineSettings
from studio.inference.openvino_import import import_openvino
from studio.inference.process import disable_telemetry
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import load
from studio.separation.mixture import Statistics
from studio.separation.network import Bag, Stems
from studio.separation.openvino.conversion import keep_graph
from studio.separation.openvino.network import LAYERS, Graph, OpenVinoNetwork, described, key
from studio.separation.openvino.spectrum import Spectrogram
from studio.separation.stream import Separation
from tests.support.sounds import SONG, read_sound
from training.render import song_folder
from training.separation.evaluate import load_stems, sdr_db

TITLE = "Separation: a trial with 8 bits"
MINI = material.ROOT / "pretrained" / "demucs-mini"
# What stays in bf16.
VARIANTS = {
    "all products": {},
    "matrix products and attention, no convolutions": {"types": ["Convolution"]},
    "convolutions only": {"types": ["MatMul", "ScaledDotProductAttention"]},
}
ROUNDS = 7


def quantised(layers: Path, inputs: list[list[Any]], ignored: dict[str, list[str]]) -> Any:
    """A kept graph with products of 8 bits; `inputs` are windows to measure scales on."""
    nncf = importlib.import_module("nncf")
    return nncf.quantize(
        import_openvino().Core().read_model(layers),
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(**ignored) if ignored else None,
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
    )


def speed_ups(layers: Path) -> list[float]:
    """How many times as fast as bf16 each variant computes a window, in turns."""
    core = import_openvino().Core()
    exact = core.read_model(layers)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=tuple(one.shape)).astype(np.float32) for one in exact.inputs]
    models = [exact, *(quantised(layers, [inputs], ignored) for ignored in VARIANTS.values())]
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    requests = [core.compile_model(one, "CPU", settings).create_infer_request() for one in models]
    seconds = np.zeros((ROUNDS, len(requests)))
    for row in seconds:
        for number, request in enumerate(requests):
            began_s = time.perf_counter()
            request.infer(inputs)
            row[number] = time.perf_counter() - began_s
    return [float(np.median(seconds[:, 0] / own)) for own in seconds[:, 1:].T]


def windows_of(song: Sound, graph: Graph) -> Iterator[list[Any]]:
    """Inputs of the network from windows of a song, which overlap by two thirds."""
    mono = song.mean(0)
    normalised = (song - mono.mean()) / mono.std()
    spectrogram = Spectrogram(graph.segment_samples, graph.hop)
    last = song.shape[1] - graph.segment_samples
    for start in range(0, last, graph.segment_samples // 3):
        window = np.ascontiguousarray(normalised[:, start : start + graph.segment_samples])
        yield [window[None], spectrogram.forward(window)[None]]


def separated(bag: Bag, song: Sound) -> Stems:
    separation = Separation(bag, iter([song]), Statistics.of([song]), range(len(bag.sources)))
    return np.concatenate([stems for _, stems in separation.run(lambda _done: None)], axis=2)


def sdrs_db(true: torch.Tensor, found: Stems) -> list[float]:
    """Signal over error of each stem, NaN for one that does not sound."""
    return [
        sdr_db(stem, part) if stem.any() else float("nan")
        for stem, part in zip(true, torch.from_numpy(found), strict=True)
    ]


def losses(folder: Path, songs: list[Path]) -> list[Any]:
    """What each variant loses against bf16, in dB, (songs, stems)."""
    graphs, model = folder / "graphs", MINI / "model.safetensors"
    description, place = kept(graphs, key(model, None), lambda: keep_graph(model, None, graphs))
    graph, layers = described(description), place / f"{LAYERS}.xml"
    settings = EngineSettings("openvino", "bf16", 0, graphs)
    bag = load(DemucsCatalogue(MINI, folder / "none"), "mini", settings)
    [member] = bag.members
    inputs = list(windows_of(read_sound(SONG / "mixture.flac"), graph))
    bags = [bag]
    for ignored in VARIANTS.values():
        network = OpenVinoNetwork(graph, quantised(layers, inputs, ignored), "bf16", 0)
        bags.append(
            dataclasses.replace(bag, members=(dataclasses.replace(member, network=network),))
        )
    found = np.array(
        [
            [sdrs_db(true, separated(one, true.sum(0).numpy())) for one in bags]
            for true in map(load_stems, songs)
        ]
    )
    return [found[:, 0] - found[:, number] for number in range(1, len(bags))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    songs = sorted(song_folder(held_out=True).glob("*.npy"))
    if not songs or importlib.util.find_spec("nncf") is None:
        raise SystemExit(__doc__)
    # NNCF has the telemetry of OpenVINO.
    disable_telemetry()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ratios = speed_ups(full_size_graph(folder / "full"))
        lost = losses(folder, songs)
    lines = [
        f"Machine: {measure.machine(['openvino', 'nncf'])}.",
        "",
        "Speed of a window of the full-size htdemucs, the others in bf16, medians of "
        f"{ROUNDS} rounds; loss of SDR of the bundled model on {len(songs)} held-out songs, "
        "against bf16.",
        "",
        "| in 8 bits | speed-up | largest loss of a stem of a song | mean loss |",
        "|---|---:|---:|---:|",
    ]
    for title, ratio, loss in zip(VARIANTS, ratios, lost, strict=True):
        most, mean = np.nanmax(loss), np.nanmean(loss)
        lines.append(f"| {title} | {ratio:.2f} | {most:.3f} dB | {mean:.3f} dB |")
    print("\n".join([f"## {TITLE}", "", *lines]))
    if options.write:
        report.write("eight_bits", TITLE, lines)


if __name__ == "__main__":
    main()
