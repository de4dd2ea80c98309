"""Writes Whisper as OpenVINO graphs, from the weights of a CTranslate2 directory.

The network of Radford et al. 2022, section 2.2, in four parts: encoder; `told`, the keys and values
that the decoder reads of what was heard; decoder, with its key-value cache as state; and head, from
the decoder's states to tokens.
"""

from typing import Any

import numpy as np

from studio.inference.openvino_builder import GraphWriter
from studio.inference.openvino_import import import_openvino
from studio.inference.quantization import constant
from studio.transcription.openvino.logits import MOST_BEST
from studio.transcription.openvino.weights import NotReadable, Weights

FRAMES = 3000
STATES = FRAMES // 2

_EPSILON = 1e-5
# CTranslate2's number of the exact GELU.
_GELU = 3


def build_encoder(weights: Weights, bits: int) -> Any:
    """Log-mel `features` float32 (1, mels, FRAMES) -> states (1, STATES, width)."""
    graph = _Graph(weights, bits)
    mels = weights.shape("conv1/weight")[1]
    x = graph.input("features", [1, mels, FRAMES], "f32")
    x = graph.convolution(graph.convolution(x, "conv1", 1), "conv2", 2)
    x = graph.ops.transpose(x, graph.integers([0, 2, 1]))
    x = graph.ops.add(x, graph.floats("position_encodings/encodings"))
    for layer in graph.layers():
        query, key, value = graph.split(graph.norm(x, f"{layer}/self_attention"), layer)
        found = graph.ops.scaled_dot_product_attention(query, key, value)
        x = graph.add(x, graph.joined(found), f"{layer}/self_attention/linear_1")
        x = graph.fed_forward(x, layer)
    return graph.model("encoder", {"states": graph.norm(x, "")})


def build_told(weights: Weights, bits: int, kind: str) -> Any:
    """The encoder's `states` (windows, STATES, width) -> `told.LAYER.k` and `.v`.

    Each (windows, heads, STATES, size of a head), of the type `kind`.
    """
    graph = _Graph(weights, bits)
    states = graph.input("states", [-1, STATES, graph.width], "f32")
    outputs = {}
    for number, layer in enumerate(graph.layers()):
        both = graph.linear(states, f"{layer}/attention/linear_1")
        parts = graph.ops.split(both, graph.integers(-1), 2).outputs()
        for name, part in zip("kv", parts, strict=True):
            outputs[told_name(number, name)] = graph.ops.convert(graph.heads(part), kind)
    return graph.model("told", outputs)


def told_name(layer: int, part: str) -> str:
    return f"told.{layer}.{part}"


def build_decoder(weights: Weights, bits: int, kind: str) -> Any:
    """`embedded` tokens (rows, length, width) -> `hidden` (rows, wanted, width).

    Rows are `hypotheses` of each window, one window after the other. Further inputs: `told.*` of
    the `windows`, of which this is the number; `mask` (rows, 1, length, all so far); `parents`:
    which row of the cache each row goes on from; `wanted`: places whose states are given.
    """
    if weights.number("activation") != _GELU or weights.number("alibi", missing=0):
        raise NotReadable("the decoder is not laid out like Whisper's")
    graph = _Graph(weights, bits)
    x = graph.input("embedded", [-1, -1, graph.width], "f32")
    mask = graph.input("mask", [-1, 1, -1, -1], "f32")
    parents = graph.input("parents", [-1], "i32")
    wanted = graph.input("wanted", [-1], "i64")
    windows = graph.input("windows", [1], "i64")
    for number, layer in enumerate(graph.layers()):
        query, key, value = graph.split(graph.norm(x, f"{layer}/self_attention"), layer)
        keys = graph.remembered(key, parents, f"{number}.k")
        values = graph.remembered(value, parents, f"{number}.v")
        found = graph.ops.scaled_dot_product_attention(query, keys, values, mask)
        x = graph.add(x, graph.joined(found), f"{layer}/self_attention/linear_1")
        x = graph.add(x, graph.listening(x, windows, number, kind), f"{layer}/attention/linear_2")
        x = graph.fed_forward(x, layer)
    return graph.model("decoder", {"hidden": graph.ops.gather(x, wanted, graph.integers(1))})


def build_head(weights: Weights, bits: int, end: int) -> Any:
    """`hidden` (rows, width) -> logits, to which `bias` (rows or 1, vocabulary) is added.

    Of tokens before `end` the `best` MOST_BEST, at `places`, and `total`, the logarithm of the sum
    of all exponentials; `rest`, those from `end` on. All logits would take long to write down.
    """
    graph = _Graph(weights, bits)
    ops = graph.ops
    hidden = graph.input("hidden", [-1, graph.width], "f32")
    matrix = weights.floats("projection/weight", scale="embeddings/weight")
    bias = graph.input("bias", [-1, len(matrix)], "f32")
    found = ops.matmul(graph.norm(hidden, ""), constant(matrix, bits), False, True)
    sizes = graph.integers([end, len(matrix) - end])
    text, rest = ops.variadic_split(ops.add(found, bias), graph.integers(1), sizes).outputs()
    most = ops.reduce_max(text, graph.integers([1]), True)
    total = ops.reduce_sum(ops.exp(ops.subtract(text, most)), graph.integers([1]), True)
    best = ops.topk(text, ops.constant(np.int32(MOST_BEST)), 1, "max", "value")
    return graph.model(
        "head",
        {
            "best": best.output(0),
            "places": best.output(1),
            "total": ops.add(ops.log(total), most),
            "rest": rest,
        },
    )


class _Graph(GraphWriter):
    """Writes parts of a network; names are those of the weights."""

    def __init__(self, weights: Weights, bits: int) -> None:
        super().__init__(weights.number("num_heads"), weights.shape("layer_norm/gamma")[0])
        self._weights = weights
        self._bits = bits

    def layers(self) -> list[str]:
        return [f"layer_{number}" for number in range(self._weights.layers)]

    def model(self, name: str, outputs: dict[str, Any]) -> Any:
        openvino = import_openvino()
        results = []
        for key, value in outputs.items():
            result = self.ops.result(value)
            result.output(0).set_names({key})
            results.append(result)
        return openvino.Model(results, self.sinks, self.inputs, name)

    def floats(self, name: str) -> Any:
        return self.ops.constant(self._weights.floats(name))

    def convolution(self, x: Any, name: str, stride: int) -> Any:
        made = self.ops.convolution(x, self.floats(f"{name}/weight"), [stride], [1], [1], [1])
        bias = self._weights.floats(f"{name}/bias").reshape(1, -1, 1)
        return self.ops.gelu(self.ops.add(made, self.ops.constant(bias)), "erf")

    def linear(self, x: Any, name: str) -> Any:
        weight = constant(self._weights.floats(f"{name}/weight"), self._bits)
        return self.ops.add(self.ops.matmul(x, weight, False, True), self.floats(f"{name}/bias"))

    def add(self, x: Any, y: Any, name: str) -> Any:
        """x and y, times the weights of that name."""
        return self.ops.add(x, self.linear(y, name))

    def norm(self, x: Any, name: str) -> Any:
        """The norm before a part of a layer; without a name, the last one."""
        name = f"{name}/layer_norm" if name else "layer_norm"
        plain = self.ops.mvn(x, self.integers([-1]), True, _EPSILON, "inside_sqrt")
        scaled = self.ops.multiply(plain, self.floats(f"{name}/gamma"))
        return self.ops.add(scaled, self.floats(f"{name}/beta"))

    def fed_forward(self, x: Any, layer: str) -> Any:
        inner = self.linear(self.norm(x, f"{layer}/ffn"), f"{layer}/ffn/linear_0")
        return self.add(x, self.ops.gelu(inner, "erf"), f"{layer}/ffn/linear_1")

    def split(self, x: Any, layer: str) -> list[Any]:
        """Query, key and value of a layer's self-attention, by heads."""
        together = self.linear(x, f"{layer}/self_attention/linear_0")
        parts = self.ops.split(together, self.integers(-1), 3).outputs()
        return [self.heads(part) for part in parts]

    def listening(self, x: Any, windows: Any, number: int, kind: str) -> Any:
        """Attention to what was heard. Hypotheses of a window are queries of one product."""
        ops = self.ops
        layer = f"layer_{number}"
        query = self.linear(self.norm(x, f"{layer}/attention"), f"{layer}/attention/linear_0")
        sizes = ops.concat([windows, self.integers([-1, self.head_count, self.head_size])], 0)
        query = ops.transpose(ops.reshape(query, sizes, False), self.integers([0, 2, 1, 3]))
        shape = [-1, self.head_count, STATES, self.head_size]
        key, value = (
            ops.convert(self.input(told_name(number, part), shape, kind), "f32") for part in "kv"
        )
        found = self.joined(ops.scaled_dot_product_attention(query, key, value))
        return ops.reshape(found, ops.shape_of(x), False)
