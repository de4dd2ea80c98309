"""The OpenVINO engine: decoder and codec as compiled graphs with a key-value cache inside."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from studio.generation.model import CodecSpec, Codes, Decoding, Hidden, Logits, Sounds, States
from studio.generation.openvino.conversion import Description, convert, keep_graphs, key
from studio.generation.shape import Shape, shape_of
from studio.generation.torch_engine import TorchCodec
from studio.inference.convert_process import cached_or_converted
from studio.inference.graph_cache import RELEASED_WHOLE
from studio.inference.hardware import native_bf16
from studio.inference.openvino_import import compile_graph, import_openvino
from studio.inference.quantization import GROUP_SIZE

BITS = {"int8": 8, "int4": 4, "bf16": 32, "f32": 32}
CODEC_PARTS = ("embed", "recur", "synthesise")

Networks = Callable[[str], Any]
"""Gives a network by name: a path, or the network itself where it could not be kept."""


class OpenVinoDecoder:
    """The compiled decoder behind the `Decoder` protocol; each run has a request of its own."""

    def __init__(self, shape: Shape, networks: Networks, settings: dict[str, Any]) -> None:
        self.shape = shape
        self.network = compile_graph(networks("decoder"), {**settings, **RELEASED_WHOLE})
        self.cross_attention = None
        if not shape.is_prefixed:
            self.cross_attention = compile_graph(networks("cross_attention"), settings)

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        return _OpenVinoDecoding(self, np.repeat(states[: 1 + guided], rows, axis=0))


class _OpenVinoDecoding:
    """One run: the request's state remembers what was given."""

    def __init__(self, decoder: OpenVinoDecoder, states: States) -> None:
        openvino = import_openvino()
        self._tensor = openvino.Tensor
        self._request = decoder.network.create_infer_request()
        self._rows = states.shape[0]
        self._length = 0
        self._prefix: States | None = None
        self._hidden = decoder.shape.hidden
        # The request reads these arrays in every step, so they must stay.
        self._kept: dict[str, Any] = {"rows": np.arange(self._rows, dtype=np.int32)}
        if decoder.cross_attention is None:
            self._prefix = states
        else:
            outputs = decoder.cross_attention.create_infer_request().infer({"states": states})
            for output in decoder.cross_attention.outputs:
                self._kept[output.get_any_name()] = np.array(outputs[output])
        for name, values in self._kept.items():
            self._request.set_tensor(name, openvino.Tensor(values, shared_memory=True))

    def __call__(self, tokens: Codes) -> Logits:
        branches = self._rows // tokens.shape[0]
        given: dict[str, Any] = {"tokens": np.tile(tokens, (branches, 1, 1))}
        added = tokens.shape[2]
        if self._prefix is not None:
            given["prefix"] = self._prefix
            added += self._prefix.shape[1]
            self._prefix = np.zeros((self._rows, 0, self._hidden), np.float32)
        total = self._length + added
        given["places"] = np.arange(self._length, total)
        future = np.triu(np.ones((added, total), bool), self._length + 1)
        mask = np.where(future, np.finfo(np.float32).min, np.float32(0.0))
        # In bf16 OpenVINO misreads one mask for all rows in all but the first of them.
        given["mask"] = np.tile(mask, (self._rows, 1, 1, 1))
        self._length = total
        for name, values in given.items():
            self._request.set_tensor(name, self._tensor(np.ascontiguousarray(values)))
        self._request.infer()
        return np.array(self._request.get_tensor("logits").data, dtype=np.float32)


class OpenVinoCodec:
    """EnCodec's decoding half as compiled graphs; sound is encoded by PyTorch, when it comes.

    `memory` is the number of layers and the size of its recurrent part.
    """

    def __init__(
        self,
        networks: Networks,
        settings: dict[str, Any],
        memory: tuple[int, int],
        encoder: Callable[[], TorchCodec],
    ) -> None:
        self._memory = memory
        self._load_encoder = encoder
        self._embed, self._recur, self._synthesise = (
            compile_graph(networks(name), settings) for name in CODEC_PARTS
        )

    @cached_property
    def _encoder(self) -> TorchCodec:
        return self._load_encoder()

    def encode(self, sound: Sounds) -> Codes:
        return self._encoder.encode(sound)

    def embed(self, codes: Codes) -> Hidden:
        hidden: Hidden = _run(self._embed, codes)[0]
        return hidden

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        if state is None:
            layers, size = self._memory
            state = [np.zeros((layers, hidden.shape[0], size), np.float32) for _ in range(2)]
        output, *state = _run(self._recur, hidden, *state)
        return output, state

    def synthesise(self, hidden: Hidden) -> Sounds:
        audio: Sounds = _run(self._synthesise, hidden)[0]
        return audio


def _run(network: Any, *given: Any) -> list[Any]:
    """The outputs of a compiled network; each call has a request of its own."""
    arrays = [np.ascontiguousarray(values) for values in given]
    outputs = network.create_infer_request().infer(arrays)
    return [np.array(outputs[output], dtype=np.float32) for output in network.outputs]


def build(
    folder: Path, config: Any, spec: CodecSpec, *, precision: str, threads: int, graphs: Path
) -> tuple[OpenVinoDecoder, OpenVinoCodec, str]:
    """Decoder and codec of a directory, and the precision. Raises NotConvertible."""
    precision = "int8" if precision == "auto" else precision
    shape = shape_of(config, spec)
    described, networks = _networks(folder, config, shape, BITS[precision], graphs)
    exact: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        # By itself OpenVINO keeps the cache, and multiplies by 8-bit weights, with less.
        "KV_CACHE_PRECISION": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        exact["INFERENCE_NUM_THREADS"] = threads
    changed: dict[str, Any] = {}
    if BITS[precision] < 32:
        # In bf16 the weights would be unpacked in every step, which takes longer than to multiply.
        changed = {"KV_CACHE_PRECISION": "u8", "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE}
    elif precision == "bf16" and native_bf16():
        changed = {"INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": "bf16"}
    else:
        precision = "f32"
    decoder = OpenVinoDecoder(shape, networks, {**exact, **changed})
    layers, size = described["memory"]
    codec = OpenVinoCodec(
        networks, exact, (layers, size), lambda: TorchCodec(folder, config, "cpu")
    )
    return decoder, codec, precision


def _networks(
    folder: Path, config: Any, shape: Shape, bits: int, graphs: Path
) -> tuple[Description, Networks]:
    """The graphs of a directory: from the cache, or converted and kept there."""
    return cached_or_converted(
        graphs,
        key(folder, shape, bits),
        lambda: keep_graphs(folder, bits, graphs),
        lambda: convert(folder, config, shape, bits),
    )
