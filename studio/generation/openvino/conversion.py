"""Converts a model directory to OpenVINO graphs, in a separate process."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.generation import parts
from studio.generation.openvino.graph import build_cross_attention, build_decoder, convert_codec
from studio.generation.shape import Shape, shape_of
from studio.generation.torch_engine import TorchCodec
from studio.inference.convert_process import answer, convert_in_subprocess
from studio.inference.graph_cache import GraphCache, graph_key

GRAPH_VERSION = 4
PACKAGES = ("openvino", "torch", "transformers")

Description = dict[str, Any]
"""Stored beside the graphs; `memory` is the layers and size of the codec's recurrent part."""


def key(folder: Path, shape: Shape, bits: int) -> str:
    """The cache key of the graphs of a directory."""
    return graph_key(parts.weight_files(folder), PACKAGES, GRAPH_VERSION, bits, asdict(shape))


def convert(
    folder: Path, config: Any, shape: Shape, bits: int
) -> tuple[Description, dict[str, Any]]:
    """The graphs of a directory by name; `bits` of the decoder weights."""
    codec = TorchCodec(folder, config, "cpu")
    lstm = codec.recurrent.lstm
    networks = convert_codec(codec)
    weights = parts.read_state(folder, "decoder.")
    networks["decoder"] = build_decoder(shape, weights, bits)
    if not shape.is_prefixed:
        networks["cross_attention"] = build_cross_attention(shape, weights, bits)
    return {"memory": [int(lstm.num_layers), int(lstm.hidden_size)]}, networks


def keep_graphs(folder: Path, bits: int, graphs: Path) -> bool:
    """Convert a directory and keep its graphs in `graphs`; whether they could be kept.

    Raises NotConvertible, ValueError where the weights cannot be read, or RuntimeError where the
    conversion fails.
    """
    return convert_in_subprocess(__name__, graphs, folder.absolute(), bits)


def main(graphs: str, folder: str, bits: str) -> int:
    """The conversion process. Returns its exit status."""
    path = Path(folder)

    def convert_folder() -> Callable[[], object]:
        config = parts.read_config(path)
        shape = shape_of(config, parts.read_codec_spec(path, config))
        described, networks = convert(path, config, shape, int(bits))
        cache, name = GraphCache(Path(graphs)), key(path, shape, int(bits))
        return lambda: cache.add(name, described, networks)

    return answer(convert_folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
