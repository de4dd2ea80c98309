"""Whisper's networks, compiled by OpenVINO: what a search needs of encoder and decoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.inference.graph_cache import RELEASED_WHOLE
from studio.inference.openvino_import import import_openvino
from studio.transcription.openvino.conversion import Precision, networks
from studio.transcription.openvino.graph import STATES, told_name
from studio.transcription.openvino.logits import Floats, Integers, Scores
from studio.transcription.openvino.weights import MODEL_FILE, read_weights

# Keys and values of what was heard may take so much, and so many hypotheses are followed at a time:
# more of them take more memory, and no less time. Further windows are decoded after those.
MOST_TOLD_BYTES = 256 * 2**20
MOST_ROWS = 24
# A file's and the live sessions'. More are made where they are needed, and not kept.
MOST_ROOMS = 2


class Networks:
    """The compiled networks of a CTranslate2 directory; any number of threads may use them.

    `threads` is how many they use, 0 for OpenVINO's own choice; `end` is the token that ends a
    text; large graphs are kept in `graphs`. Raises NotReadable, LookupError, ValueError or
    RuntimeError where the weights are of another kind.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        threads: int,
        end: int,
        graphs: Path | None,
        has_encoder: bool = True,
    ) -> None:
        _, decoder = read_weights(folder / MODEL_FILE)
        self._embeddings = decoder.table("embeddings/weight")
        self._positions = decoder.floats("position_encodings/encodings")
        self.layers = decoder.layers
        self.width = decoder.shape("layer_norm/gamma")[0]
        self.heads = decoder.number("num_heads")
        self.vocabulary = decoder.shape("embeddings/weight")[0]
        self.end = end
        self.no_bias: Floats = np.zeros((1, self.vocabulary), np.float32)
        self._threads = threads
        found = networks(folder, precision, end, graphs)
        self._encoding: Request | None = None
        if has_encoder:
            bits, kind = precision.encoder_bits, precision.encoder_kind
            self._encoding = Request(self._compiled(found["encoder"], bits, kind))
        bits, self._kind = precision.decoder_bits, precision.decoder_kind
        self._told = self._compiled(found["told"], bits, self._kind)
        self._decoder = self._compiled(found["decoder"], bits, self._kind, RELEASED_WHOLE)
        # In bf16 likely tokens would be equally likely.
        self._head = self._compiled(found["head"], bits, "f32")
        self._lock = Lock()
        self._free: SimpleQueue[Room] = SimpleQueue()

    def max_windows(self, hypotheses: int) -> int:
        """How many windows are best decoded at the same time."""
        each = 2 * self.layers * STATES * self.width * self._element.itemsize
        return max(1, min(MOST_TOLD_BYTES // each, MOST_ROWS // hypotheses))

    def encode(self, features: Floats) -> Floats:
        """Log-mel windows float32 (windows, mels, FRAMES) to states (windows, STATES, width)."""
        return np.concatenate([self._encode(one[None]) for one in features])

    def _encode(self, features: Floats) -> Floats:
        assert self._encoding is not None
        with self._lock:
            self._encoding.give("features", features)
            self._encoding.infer()
            return self._encoding.read("states")

    @property
    def _element(self) -> np.dtype[Any]:
        """What keys and values are kept in; NumPy has no bf16."""
        return np.dtype(np.uint16 if self._kind == "bf16" else np.float32)

    def _compiled(
        self, graph: Any, bits: int, kind: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        openvino = import_openvino()
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": kind,
            "KV_CACHE_PRECISION": kind,
            "PERFORMANCE_HINT": "LATENCY",
            # A whole row of what is multiplied shares a scale, like in CTranslate2.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.width if bits < 32 else 0,
            **more,
        }
        if self._threads:
            settings["INFERENCE_NUM_THREADS"] = self._threads
        return openvino.Core().compile_model(graph, "CPU", settings)

    def room(self) -> "Room":
        """Where a run of the decoder takes place; to be given back."""
        try:
            return self._free.get_nowait()
        except Empty:
            return Room(Request(self._told), Request(self._decoder), Request(self._head))

    def give_back(self, room: "Room") -> None:
        room.decoder.forget()
        if self._free.qsize() < MOST_ROOMS:
            self._free.put(room)

    def tell(self, states: Floats, room: "Room") -> None:
        """Leave in a room keys and values of all layers of (windows, STATES, width)."""
        shape = (len(states), self.heads, STATES, self.width // self.heads)
        if len(states) > room.most_windows:
            room.most_windows = len(states)
            room.told = {
                told_name(layer, part): np.empty(shape, self._element)
                for layer in range(self.layers)
                for part in "kv"
            }
        # One window after the other: together they do not fit into the processor's cache.
        for number in range(len(states)):
            for name, values in room.told.items():
                room.teller.share(name, self.told_tensor(values[number : number + 1]))
            room.teller.give("states", states[number : number + 1])
            room.teller.infer()

    def told_tensor(self, values: npt.NDArray[Any]) -> Any:
        openvino = import_openvino()
        kind = getattr(openvino.Type, self._kind)
        return openvino.Tensor(values, openvino.Shape(list(values.shape)), kind)

    def embed(self, tokens: Integers, start: int) -> Floats:
        """Tokens (rows, length) with the places from `start` on -> (rows, length, width)."""
        places = self._positions[start : start + tokens.shape[1]]
        return self._embeddings.rows(tokens) + places


class Request:
    """A request of a compiled network, and what it was given."""

    def __init__(self, network: Any) -> None:
        self._request = network.create_infer_request()
        self._given: dict[str, npt.NDArray[Any]] = {}

    def give(self, name: str, values: npt.NDArray[Any]) -> None:
        """Copy an input."""
        openvino = import_openvino()
        kept = self._given.get(name)
        if kept is not None and kept.shape == values.shape:
            kept[...] = values
        else:
            self._given[name] = kept = np.array(values, order="C")
            self._request.set_tensor(name, openvino.Tensor(kept, shared_memory=True))

    def share(self, name: str, tensor: Any) -> None:
        """Have an input or output in memory of the caller's, who keeps it."""
        self._request.set_tensor(name, tensor)

    def infer(self) -> None:
        self._request.infer(share_outputs=True)

    def read(self, name: str) -> npt.NDArray[Any]:
        return np.array(self._request.get_tensor(name).data)

    def forget(self) -> None:
        """Empty the state of the network."""
        self._request.reset_state()


@dataclass
class Room:
    """Requests of one run, and memory that is kept, because fresh memory is slow to come by.

    `told` has arrays (windows, heads, STATES, size of a head) by their inputs' names.
    """

    teller: Request
    decoder: Request
    head: Request
    most_windows: int = 0
    told: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


class Decoding:
    """One run of the decoder over windows of the same prompt's length; use as a context."""

    def __init__(self, networks: Networks, states: Floats) -> None:
        self._networks = networks
        self._states = states
        self._length = 0
        self.no_bias = networks.no_bias
        self._bias: Floats | None = None

    def __enter__(self) -> "Decoding":
        self._room = self._networks.room()
        self._networks.tell(self._states, self._room)
        self._listen_to(len(self._states))
        return self

    def __exit__(self, *_: object) -> None:
        self._networks.give_back(self._room)

    def _listen_to(self, windows: int) -> None:
        self._windows = windows
        for name, values in self._room.told.items():
            self._room.decoder.share(name, self._networks.told_tensor(values[:windows]))

    def keep(self, windows: Integers) -> None:
        """Go on with some of the windows only, in order; the next parents are rows of those."""
        for values in self._room.told.values():
            for number, window in enumerate(windows):
                if number != window:
                    values[number] = values[window]
        self._listen_to(len(windows))

    def step(self, tokens: Integers, parents: Integers, wanted: Integers | None = None) -> Floats:
        """States after tokens (rows, length), each row going on from a row of the last step.

        Rows are hypotheses, equally many of each window. The states are those after the `wanted`
        tokens, by default the last: (rows, wanted, width).
        """
        rows, added = tokens.shape
        total = self._length + added
        future = np.triu(np.ones((added, total), bool), self._length + 1)
        mask = np.where(future, np.finfo(np.float32).min, np.float32(0.0))
        wanted = np.array([added - 1]) if wanted is None else wanted
        decoder = self._room.decoder
        given = {
            "embedded": self._networks.embed(tokens, self._length),
            # In bf16 OpenVINO misreads one mask for all rows in all but the first of them.
            "mask": np.broadcast_to(mask, (rows, 1, added, total)),
            "parents": parents.astype(np.int32),
            "wanted": wanted.astype(np.int64),
            "windows": np.array([self._windows], np.int64),
        }
        for name, values in given.items():
            decoder.give(name, values)
        decoder.infer()
        self._length = total
        return decoder.read("hidden")

    def scores(self, hidden: Floats, bias: Floats) -> Scores:
        """What follows states (rows, width), with a bias, (rows or 1, vocabulary), added."""
        head = self._room.head
        head.give("hidden", hidden)
        if bias is not self._bias:
            head.give("bias", bias)
            self._bias = bias
        head.infer()
        best, places, total, rest = map(head.read, ("best", "places", "total", "rest"))
        return Scores(self._networks.end, best, places.astype(np.int64), total[:, 0], rest)
