"""A model's directory as graphs of OpenVINO: which they are, and the process that makes them."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.generation import parts
from studio.generation.model import Kind
from studio.generation.openvino.graph import Shape, build_decoder, build_told, convert_codec
from studio.generation.torch_engine import TorchCodec
from studio.inference.convert_process import answer, convert_apart
from studio.inference.graph_cache import GraphCache, graph_key

GRAPH_VERSION = 3
PACKAGES = ("openvino", "torch", "transformers")
# A prompt has 2,000 characters at most, and a token is one at least, or a byte of one.
MOST_PROMPT_TOKENS = 8192

Description = dict[str, Any]
"""What is kept beside the graphs; `memory`: layers and size of the codec's recurrent part."""


def shape_of(config: Any, kind: Kind) -> Shape:
    """The sizes of a directory's decoder. Raises NotConvertible."""
    is_prefixed = config.model_type == parts.MELODY
    before = config.chroma_length + MOST_PROMPT_TOKENS if is_prefixed else 0
    needed = kind.window_frames + kind.codebooks + 1 + before
    positions = max(int(config.decoder.max_position_embeddings), needed)
    return Shape.of(config.decoder, is_prefixed, positions)


def key(folder: Path, shape: Shape, bits: int) -> str:
    """Names the graphs of a directory in the cache."""
    return graph_key(parts.weight_files(folder), PACKAGES, GRAPH_VERSION, bits, asdict(shape))


def convert(
    folder: Path, config: Any, shape: Shape, bits: int
) -> tuple[Description, dict[str, Any]]:
    """The graphs of a directory by name, the decoder with weights of so many bits."""
    codec = TorchCodec(folder, config, "cpu")
    lstm = codec.recurrent.lstm
    networks = convert_codec(codec)
    weights = parts.read_state(folder, "decoder.")
    networks["decoder"] = build_decoder(shape, weights, bits)
    if not shape.is_prefixed:
        networks["told"] = build_told(shape, weights, bits)
    return {"memory": [int(lstm.num_layers), int(lstm.hidden_size)]}, networks


def keep_graphs(folder: Path, bits: int, graphs: Path) -> bool:
    """Convert a directory and keep its graphs in `graphs`; whether they could be kept.

    Raises NotConvertible, ValueError where the weights cannot be read, or RuntimeError where the
    conversion fails.
    """
    return convert_apart(__name__, graphs, folder.absolute(), bits)


def main(graphs: str, folder: str, bits: str) -> int:
    """What the process does; its exit code."""
    path = Path(folder)

    def convert_folder() -> Callable[[], object]:
        config = parts.read_config(path)
        shape = shape_of(config, parts.read_kind(path, config))
        described, networks = convert(path, config, shape, int(bits))
        cache, name = GraphCache(Path(graphs)), key(path, shape, int(bits))
        return lambda: cache.add(name, described, networks)

    return answer(convert_folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
