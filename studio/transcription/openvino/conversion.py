"""A CTranslate2 directory as OpenVINO graphs: which they are, and the process that makes them."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from studio.inference.convert_process import answer, convert_apart
from studio.inference.graph_cache import GraphCache, graph_key
from studio.inference.hardware import has_amx, native_bf16
from studio.transcription.openvino.graph import (
    build_decoder,
    build_encoder,
    build_head,
    build_told,
)
from studio.transcription.openvino.weights import MODEL_FILE, read_weights

GRAPH_VERSION = 1
# Graphs of smaller files are made sooner than a process is started.
KEPT_FROM_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Precision:
    """`bits` of the weights of encoder and decoder, and the `kind` of all that is no weight."""

    encoder_bits: int
    encoder_kind: str
    decoder_bits: int
    decoder_kind: str


EXACT = Precision(32, "f32", 32, "f32")
COMPACT = Precision(8, "f32", 8, "f32")


def fastest() -> Precision:
    """What this processor is quickest with; nothing has more error than CTranslate2's int8."""
    if has_amx():
        # Weights of 8 bits would be unpacked in every step to be multiplied in bf16.
        return Precision(32, "bf16", 8, "f32")
    kind = "bf16" if native_bf16() else "f32"
    return Precision(8, kind, 8, kind)


def networks(
    folder: Path, precision: Precision, end: int, graphs: Path | None
) -> Mapping[str, Any]:
    """Encoder, `told`, decoder and head: paths of kept graphs, or the graphs themselves.

    `end` is the token that ends a text. Raises NotReadable, LookupError, ValueError or RuntimeError
    where the weights are of another kind.
    """
    if graphs is None or (folder / MODEL_FILE).stat().st_size < KEPT_FROM_BYTES:
        return build(folder, precision, end)
    given = folder.absolute(), end, *astuple(precision)
    found = GraphCache(graphs).find_or_make(
        _key(folder, precision, end), lambda: convert_apart(__name__, graphs, *given)
    )
    if found:
        _, kept = found
        return {part.stem: part for part in kept.glob("*.xml")}
    return build(folder, precision, end)


def build(folder: Path, precision: Precision, end: int) -> dict[str, Any]:
    encoder, decoder = read_weights(folder / MODEL_FILE)
    bits, kind = precision.decoder_bits, precision.decoder_kind
    return {
        "encoder": build_encoder(encoder, precision.encoder_bits),
        "told": build_told(decoder, bits, kind),
        "decoder": build_decoder(decoder, bits, kind),
        "head": build_head(decoder, bits, end),
    }


def _key(folder: Path, precision: Precision, end: int) -> str:
    rest = ("whisper", GRAPH_VERSION, end, *astuple(precision))
    return graph_key([folder / MODEL_FILE], ("openvino",), *rest)


def main(graphs: str, folder: str, end: str, *precision: str) -> int:
    """What the process does; its exit code."""
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
