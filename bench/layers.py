"""`python -m bench.layers`: where the time of the separation network goes, by kind of layer.

OpenVINO times each layer of the compiled graph. A layer multiplies as much as the operations that
were fused into it, so each kind has a rate, to compare with that of large products on this
processor (`bench.bound`).
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import bound, material, measure, report
from bench.operations import kept
from studio.inference.hardware import native_bf16
from studio.inference.openvino_import import import_openvino
from studio.separation.openvino.conversion import keep_graph
from studio.separation.openvino.network import LAYERS, key

TITLE = "Separation: time by kind of layer"
ROUNDS = 8
# Kinds that take less are added up.
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Layer:
    """A layer as it was executed: its kind, mean time, and additions and multiplications."""

    kind: str
    name: str
    seconds: float
    operations: float


def full_size_graph(folder: Path) -> Path:
    """The layers of a full-size htdemucs with random weights, converted into the folder."""
    weights = material.full_size_weights(folder) / "demucs" / f"{material.SIGNATURE}.safetensors"
    _, graph = kept(folder, key(weights, None), lambda: keep_graph(weights, None, folder))
    return graph / f"{LAYERS}.xml"


def executed(layers: Path, precision: str) -> list[Layer]:
    """The layers of a kept graph that took time on this processor."""
    core = import_openvino().Core()
    model = core.read_model(layers)
    operations = {node.get_friendly_name(): bound.products_of(node) for node in model.get_ops()}
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": True,
    }
    compiled = core.compile_model(model, "CPU", settings)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=tuple(one.shape)).astype(np.float32) for one in compiled.inputs]
    request = compiled.create_infer_request()
    for _ in range(ROUNDS):
        request.infer(inputs)
    return list(_layers(compiled, operations))


def _layers(compiled: Any, operations: dict[str, float]) -> Iterator[Layer]:
    nodes = [
        (node.get_friendly_name(), {key: text.astype(str) for key, text in info.items()})
        for node in compiled.get_runtime_model().get_ordered_ops()
        if (info := node.get_rt_info())
    ]
    fused = {name: info["originalLayersNames"].split(",") for name, info in nodes}
    counted = {name: sum(operations.pop(one, 0.0) for one in of) for name, of in fused.items()}
    # OpenVINO forgets the product of some layers and names them by what follows in their module.
    modules = {_module(name): name for name, count in counted.items() if not count}
    for name, count in operations.items():
        if count:
            counted[modules[_module(name)]] += count
    for name, info in nodes:
        if info["execTimeMcs"].isdigit():
            kind = f"{info['layerType']}, {info['runtimePrecision']}"
            yield Layer(kind, name, int(info["execTimeMcs"]) / 1e6, counted[name])


def _module(name: str) -> str:
    return name.rpartition("/")[0]


def table(layers: list[Layer], limit: float) -> list[str]:
    """A row for each kind, the slowest first. `limit` is the rate of large products."""
    kinds: dict[str, list[Layer]] = defaultdict(list)
    total_s = sum(layer.seconds for layer in layers)
    for layer in layers:
        kinds[layer.kind].append(layer)
    small = [kind for kind, of in kinds.items() if _seconds(of) < LEAST_SHARE * total_s]
    kinds["others"] = [layer for kind in small for layer in kinds.pop(kind)]
    lines = ["| layers | number | time | share | rate | of the limit |", "|---|---:|" + "---:|" * 4]
    for kind, of in sorted(kinds.items(), key=lambda item: -_seconds(item[1])):
        lines.append(f"| {kind} | {len(of)} | {_cells(of, total_s, limit)} |")
    lines.append(f"| all | {len(layers)} | {_cells(layers, total_s, limit)} |")
    return lines


def _seconds(layers: list[Layer]) -> float:
    return sum(layer.seconds for layer in layers)


def _cells(layers: list[Layer], total_s: float, limit: float) -> str:
    seconds = _seconds(layers)
    rate = sum(layer.operations for layer in layers) / seconds
    rates = f"{rate / 1e9:,.0f} GFLOP/s | {rate / limit:.0%}" if rate else "|"
    return f"{1e3 * seconds:,.0f} ms | {seconds / total_s:.0%} | {rates}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="bf16" if native_bf16() else "f32")
    parser.add_argument("--slowest", type=int, default=0, help="list so many single layers")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        layers = executed(full_size_graph(Path(name)), options.precision)
    limit = bound.per_second(options.precision)
    lines = [
        f"Machine: {measure.machine(['openvino'])}.",
        "",
        f"One window of the full-size htdemucs in {options.precision}, mean of {ROUNDS} runs. The "
        f"limit is the rate of large matrix products, {limit / 1e9:,.0f} GFLOP/s.",
        "",
        *table(layers, limit),
    ]
    print("\n".join([f"## {TITLE}", "", *lines]))
    for layer in sorted(layers, key=lambda layer: -layer.seconds)[: options.slowest]:
        rate = layer.operations / layer.seconds / 1e9
        print(f"{1e3 * layer.seconds:7.1f} ms {rate:5.0f} GFLOP/s {layer.kind} {layer.name}")
    if options.write:
        report.write("layers", TITLE, lines)


if __name__ == "__main__":
    main()
