"""Converts a CTranslate2 directory to OpenVINO graphs, in a separate process if they are large."""

import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from studio.inference.convert_process import answer, cached_or_converted, convert_in_subprocess
from studio.inference.graph_cache import GraphCache, graph_key
from studio.inference.hardware import has_amx, native_bf16
from studio.transcription.openvino.alignment import CONFIG_FILE, alignment_heads
from studio.transcription.openvino.graph import (
    build_cross_attention,
    build_decoder,
    build_encoder,
    build_head,
)
from studio.transcription.openvino.weights import MODEL_FILE, read_weights

GRAPH_VERSION = 3
# Converting smaller files is faster than starting a process.
KEPT_FROM_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Precision:
    """For encoder and decoder: `bits` of the weights, and the type `kind` of everything else."""

    encoder_bits: int
    encoder_kind: str
    decoder_bits: int
    decoder_kind: str


EXACT = Precision(32, "f32", 32, "f32")
COMPACT = Precision(8, "f32", 8, "f32")


def fastest() -> Precision:
    """The fastest precision on this CPU, none less accurate than int8 in CTranslate2."""
    if has_amx():
        # 8-bit weights would be unpacked in every step to be multiplied in bf16.
        return Precision(32, "bf16", 8, "f32")
    kind = "bf16" if native_bf16() else "f32"
    return Precision(8, kind, 8, kind)


def networks(
    folder: Path, precision: Precision, end: int, graphs: Path | None
) -> Callable[[str], Any]:
    """The graphs by name (encoder, cross_attention, decoder, head), or the paths of stored ones.

    `end` is the token that ends a text. Raises NotReadable, LookupError, ValueError or RuntimeError
    if the weights are not supported.
    """
    if graphs is None or (folder / MODEL_FILE).stat().st_size < KEPT_FROM_BYTES:
        return build(folder, precision, end).__getitem__
    given = folder.absolute(), end, *astuple(precision)
    _, graph_of = cached_or_converted(
        graphs,
        _key(folder, precision, end),
        lambda: convert_in_subprocess(__name__, graphs, *given),
        lambda: ({}, build(folder, precision, end)),
    )
    return graph_of


def build(folder: Path, precision: Precision, end: int) -> dict[str, Any]:
    encoder, decoder = read_weights(folder / MODEL_FILE)
    aligned = alignment_heads(folder, decoder.layers, decoder.number("num_heads"))
    bits, kind = precision.decoder_bits, precision.decoder_kind
    return {
        "encoder": build_encoder(encoder, precision.encoder_bits),
        "cross_attention": build_cross_attention(decoder, bits, kind),
        "decoder": build_decoder(decoder, bits, kind, aligned),
        "head": build_head(decoder, bits, end),
    }


def _key(folder: Path, precision: Precision, end: int) -> str:
    rest = ("whisper", GRAPH_VERSION, end, *astuple(precision))
    return graph_key([folder / MODEL_FILE, folder / CONFIG_FILE], ("openvino",), *rest)


def main(graphs: str, folder: str, end: str, *precision: str) -> int:
    """The conversion process. Returns its exit status."""
    encoder_bits, encoder_kind, decoder_bits, decoder_kind = precision
    wanted = Precision(int(encoder_bits), encoder_kind, int(decoder_bits), decoder_kind)
    path = Path(folder)

    def convert_folder() -> Callable[[], object]:
        made = build(path, wanted, int(end))
        name = _key(path, wanted, int(end))
        return lambda: GraphCache(Path(graphs)).add(name, {}, made)

    return answer(convert_folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
