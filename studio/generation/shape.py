"""The sizes of a decoder, which its engines on OpenVINO and CUDA share."""

from dataclasses import dataclass
from typing import Any

from studio.generation import parts
from studio.generation.model import CodecSpec
from studio.inference.graph_cache import NotConvertible

ACTIVATIONS = ("gelu", "relu")
EPSILON = 1e-5
# A prompt has at most 2,000 characters, and a token covers at least one byte.
MAX_PROMPT_TOKENS = 8192


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder. With `is_prefixed`, the encoder states precede the codes; otherwise
    every layer attends to them.
    """

    layers: int
    hidden: int
    heads: int
    codebooks: int
    vocabulary: int
    positions: int
    activation: str
    is_prefixed: bool


def shape_of(config: Any, spec: CodecSpec) -> Shape:
    """The sizes of the decoder in a directory. Raises NotConvertible."""
    is_prefixed = config.model_type == parts.MELODY
    before = config.chroma_length + MAX_PROMPT_TOKENS if is_prefixed else 0
    needed = spec.window_frames + spec.codebooks + 1 + before
    decoder = config.decoder
    if decoder.activation_function not in ACTIVATIONS:
        raise NotConvertible(f"its activation is {decoder.activation_function}")
    return Shape(
        layers=int(decoder.num_hidden_layers),
        hidden=int(decoder.hidden_size),
        heads=int(decoder.num_attention_heads),
        codebooks=int(decoder.num_codebooks),
        vocabulary=int(decoder.vocab_size),
        positions=max(int(decoder.max_position_embeddings), needed),
        activation=str(decoder.activation_function),
        is_prefixed=is_prefixed,
    )
