"""`python -m bench.operations`: the operations of the bundled models' graphs, on small inputs.

Unlike times, these numbers do not depend on the machine, so a test compares them with those in
operations.json. After an intended change, `--write` replaces them.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.bound import products
from bench.material import ROOT
from studio.generation import parts
from studio.generation.openvino import conversion as generation
from studio.generation.shape import shape_of
from studio.inference.graph_cache import GraphCache
from studio.inference.openvino_import import import_openvino
from studio.separation.openvino import conversion as separation
from studio.separation.openvino.network import LAYERS, key
from studio.transcription.openvino import conversion as transcription
from studio.transcription.openvino.graph import STATES

NUMBERS = Path(__file__).with_name("operations.json")
BUNDLED = ROOT / "pretrained"
DEMUCS = BUNDLED / "demucs-mini" / "model.safetensors"
WHISPER = BUNDLED / "whisper-mini" / "ctranslate2"
MUSICGEN = BUNDLED / "musicgen-mini"
# These hold values and compute nothing.
SILENT = {"Constant", "Parameter", "Result"}
# The hypotheses of a window, and the tokens so far.
ROWS, TOKENS = 5, 20
# With and without the prompt.
BRANCHES, PROMPT_TOKENS, FRAMES = 2, 8, 50
END_OF_TEXT = 50_257
BITS = 8

Numbers = dict[str, dict[str, int]]
"""For each graph, the number of operations of each type, and of all `multiply_adds`."""

Shapes = Mapping[str, list[int]]


def count(graphs: Path) -> Numbers:
    """The numbers of all bundled models; graphs that take long to convert are kept in `graphs`."""
    models = [*_separation(graphs), *_transcription(), *_generation(graphs)]
    return {name: of_graph(model) for name, model in models}


def of_graph(model: Any) -> dict[str, int]:
    """The numbers of a graph whose inputs have fixed shapes."""
    types = Counter(node.get_type_name() for node in model.get_ordered_ops())
    numbers = {name: types[name] for name in sorted(types.keys() - SILENT)}
    return {**numbers, "multiply_adds": round(products(model) / 2)}


def _separation(graphs: Path) -> Iterator[tuple[str, Any]]:
    _, folder = kept(graphs, key(DEMUCS, None), lambda: separation.keep_graph(DEMUCS, None, graphs))
    yield "separation", _read(folder, LAYERS)


def _transcription() -> Iterator[tuple[str, Any]]:
    networks = transcription.build(WHISPER, transcription.COMPACT, END_OF_TEXT)
    width = networks["encoder"].output(0).get_partial_shape()[2].get_length()
    heads = networks["decoder"].input("cross_attention.0.k").get_partial_shape()[1].get_length()
    vocabulary = networks["head"].input("bias").get_partial_shape()[1].get_length()
    shapes: dict[str, Shapes] = {
        "encoder": {},
        "cross_attention": {"states": [1, STATES, width]},
        "decoder": {
            "embedded": [ROWS, 1, width],
            "mask": [ROWS, 1, 1, TOKENS],
            "parents": [ROWS],
            "wanted": [1],
        },
        "head": {"hidden": [ROWS, width], "bias": [1, vocabulary], "tokens": [ROWS, 1]},
    }
    cached = [1, heads, STATES, width // heads]
    for name, given in shapes.items():
        yield f"whisper {name}", _shaped(networks[name], given, cached)


def _generation(graphs: Path) -> Iterator[tuple[str, Any]]:
    config = parts.read_config(MUSICGEN)
    shape = shape_of(config, parts.read_codec_spec(MUSICGEN, config))
    described, folder = kept(
        graphs,
        generation.key(MUSICGEN, shape, BITS),
        lambda: generation.keep_graphs(MUSICGEN, BITS, graphs),
    )
    layers, size = described["memory"]
    memory = [layers, 1, size]
    shapes: dict[str, Shapes] = {
        "cross_attention": {"states": [BRANCHES, PROMPT_TOKENS, shape.hidden]},
        "decoder": {
            "tokens": [BRANCHES, shape.codebooks, 1],
            "mask": [BRANCHES, 1, 1, TOKENS],
            "rows": [BRANCHES],
            "places": [1],
        },
        "embed": {"codes": [1, shape.codebooks, FRAMES]},
        "recur": {"hidden": [1, size, FRAMES], "short": memory, "long": memory},
        "synthesise": {"hidden.1": [1, size, FRAMES]},
    }
    cached = [BRANCHES, shape.heads, PROMPT_TOKENS, shape.hidden // shape.heads]
    for name, given in shapes.items():
        yield f"musicgen {name}", _shaped(_read(folder, name), given, cached)


def kept(graphs: Path, name: str, keep: Callable[[], object]) -> tuple[dict[str, Any], Path]:
    """What describes a stored graph and its folder; `keep` converts and stores it."""
    kept = GraphCache(graphs).find_or_make(name, keep)
    if kept is None:
        raise RuntimeError(f"the graphs could not be stored in {graphs}")
    return kept


def _read(folder: Path, name: str) -> Any:
    return import_openvino().Core().read_model(folder / f"{name}.xml")


def _shaped(model: Any, given: Shapes, cached: list[int]) -> Any:
    """The graph for inputs of the shapes `given`; keys and values of cross-attention are `cached`.

    The number of windows, an input of Whisper's decoder, decides about other shapes.
    """
    ops = import_openvino().opset15
    shapes = {}
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name()
        if name == "windows":
            parameter.output(0).replace(ops.constant(np.array([1], np.int64)).output(0))
            model.remove_parameter(parameter)
        elif name.startswith("cross_attention."):
            shapes[name] = cached
        elif name in given:
            shapes[name] = given[name]
    model.reshape(shapes)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace bench/operations.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        text = json.dumps(count(Path(name)), indent=1)
    print(text)
    if options.write:
        NUMBERS.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
