"""Writes Whisper as OpenVINO graphs, from the weights of a CTranslate2 directory.

The network of Radford et al. 2022, section 2.2, in four parts: the encoder; `cross_attention`, the
decoder's keys and values of the encoder states; the decoder, with its key-value cache as state; and
the head, from decoder states to tokens.
"""

from collections.abc import Collection

import numpy as np

from studio.inference.openvino_builder import GraphWriter, Model, Node
from studio.inference.openvino_import import import_openvino
from studio.inference.quantization import constant
from studio.transcription.openvino.logits import MAX_BEST
from studio.transcription.openvino.weights import NotReadable, Weights

FRAMES = 3000
STATES = FRAMES // 2

_EPSILON = 1e-5
# CTranslate2's number of the exact GELU.
_GELU = 3


def build_encoder(weights: Weights, bits: int) -> Model:
    """Log-mel `features` float32 (1, mels, FRAMES) -> states (1, STATES, width)."""
    graph = _Graph(weights, bits)
    mels = weights.shape("conv1/weight")[1]
    x = graph.input("features", [1, mels, FRAMES], "f32")
    x = graph.convolution(graph.convolution(x, "conv1", 1), "conv2", 2)
    x = graph.ops.transpose(x, graph.integers([0, 2, 1]))
    x = graph.ops.add(x, graph.floats("position_encodings/encodings"))
    for layer in graph.layers():
        query, key, value = graph.split(graph.norm(x, f"{layer}/self_attention"), layer)
        attended = graph.ops.scaled_dot_product_attention(query, key, value)
        x = graph.add(x, graph.joined(attended), f"{layer}/self_attention/linear_1")
        x = graph.fed_forward(x, layer)
    return graph.model("encoder", {"states": graph.norm(x, "")})


def build_cross_attention(weights: Weights, bits: int, kind: str) -> Model:
    """The encoder's `states` (windows, STATES, width) -> `cross_attention.LAYER.k` and `.v`.

    Each (windows, heads, STATES, size of a head), of the type `kind`.
    """
    graph = _Graph(weights, bits)
    states = graph.input("states", [-1, STATES, graph.width], "f32")
    outputs = {}
    for number, layer in enumerate(graph.layers()):
        both = graph.linear(states, f"{layer}/attention/linear_1")
        parts = graph.ops.split(both, graph.integers(-1), 2).outputs()
        for name, part in zip("kv", parts, strict=True):
            outputs[cross_attention_name(number, name)] = graph.ops.convert(graph.heads(part), kind)
    return graph.model("cross_attention", outputs)


def cross_attention_name(layer: int, part: str) -> str:
    return f"cross_attention.{layer}.{part}"


def query_name(layer: int) -> str:
    return f"query.{layer}"


def build_decoder(weights: Weights, bits: int, kind: str, aligned: Collection[int]) -> Model:
    """`embedded` tokens (rows, length, width) -> `hidden` (rows, wanted, width).

    `query.LAYER` (rows, length, width) has the queries of the cross-attention of each layer in
    `aligned`. Its weights are computed from them outside the graph, for the final tokens only.

    Rows are hypotheses, grouped by window. Further inputs: `cross_attention.*` of the windows;
    `windows`, their number; `mask` (rows, 1, length, total length); `parents`, the cache row that
    each row continues; `wanted`, the positions whose states are returned.
    """
    if weights.number("activation") != _GELU or weights.number("alibi", missing=0):
        raise NotReadable("the decoder is not laid out like Whisper's")
    graph = _Graph(weights, bits)
    x = graph.input("embedded", [-1, -1, graph.width], "f32")
    mask = graph.input("mask", [-1, 1, -1, -1], "f32")
    parents = graph.input("parents", [-1], "i32")
    wanted = graph.input("wanted", [-1], "i64")
    windows = graph.input("windows", [1], "i64")
    outputs = {}
    for number, layer in enumerate(graph.layers()):
        query, key, value = graph.split(graph.norm(x, f"{layer}/self_attention"), layer)
        keys = graph.remembered(key, parents, f"{number}.k")
        values = graph.remembered(value, parents, f"{number}.v")
        attended = graph.ops.scaled_dot_product_attention(query, keys, values, mask)
        x = graph.add(x, graph.joined(attended), f"{layer}/self_attention/linear_1")
        queries = graph.linear(graph.norm(x, f"{layer}/attention"), f"{layer}/attention/linear_0")
        if number in aligned:
            outputs[query_name(number)] = queries
        attended = graph.cross_attention(queries, windows, number, kind)
        x = graph.add(x, attended, f"{layer}/attention/linear_2")
        x = graph.fed_forward(x, layer)
    outputs["hidden"] = graph.ops.gather(x, wanted, graph.integers(1))
    return graph.model("decoder", outputs)


def build_head(weights: Weights, bits: int, end: int) -> Model:
    """`hidden` (rows, width) -> logits, to which `bias` (rows or 1, vocabulary) is added.

    Outputs for the tokens before `end`: the `best` MAX_BEST logits, their token numbers in
    `places`, and `total`, the log of the sum of all exponentials. `rest` has the logits from `end`
    on, and `chosen` (rows, 1) those of the input `tokens`, one for each row. Copying all logits
    out of the graph would be slow.
    """
    graph = _Graph(weights, bits)
    ops = graph.ops
    hidden = graph.input("hidden", [-1, graph.width], "f32")
    matrix = weights.floats("projection/weight", scale="embeddings/weight")
    bias = graph.input("bias", [-1, len(matrix)], "f32")
    logits = ops.matmul(graph.norm(hidden, ""), constant(matrix, bits), False, True)
    tokens = graph.input("tokens", [-1, 1], "i64")
    logits = ops.add(logits, bias)
    sizes = graph.integers([end, len(matrix) - end])
    text, rest = ops.variadic_split(logits, graph.integers(1), sizes).outputs()
    highest = ops.reduce_max(text, graph.integers([1]), True)
    total = ops.reduce_sum(ops.exp(ops.subtract(text, highest)), graph.integers([1]), True)
    best = ops.topk(text, ops.constant(np.int32(MAX_BEST)), 1, "max", "value")
    return graph.model(
        "head",
        {
            "best": best.output(0),
            "places": best.output(1),
            "total": ops.add(ops.log(total), highest),
            "rest": rest,
            "chosen": ops.gather_elements(logits, tokens, 1),
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

    def model(self, name: str, outputs: dict[str, Node]) -> Model:
        openvino = import_openvino()
        results = []
        for key, value in outputs.items():
            result = self.ops.result(value)
            result.output(0).set_names({key})
            results.append(result)
        return openvino.Model(results, self.sinks, self.inputs, name)

    def floats(self, name: str) -> Node:
        return self.ops.constant(self._weights.floats(name))

    def convolution(self, x: Node, name: str, stride: int) -> Node:
        made = self.ops.convolution(x, self.floats(f"{name}/weight"), [stride], [1], [1], [1])
        bias = self._weights.floats(f"{name}/bias").reshape(1, -1, 1)
        return self.ops.gelu(self.ops.add(made, self.ops.constant(bias)), "erf")

    def linear(self, x: Node, name: str) -> Node:
        weight = constant(self._weights.floats(f"{name}/weight"), self._bits)
        return self.ops.add(self.ops.matmul(x, weight, False, True), self.floats(f"{name}/bias"))

    def add(self, x: Node, y: Node, name: str) -> Node:
        """x and y, times the weights of that name."""
        return self.ops.add(x, self.linear(y, name))

    def norm(self, x: Node, name: str) -> Node:
        """The norm before a part of a layer; without a name, the last one."""
        name = f"{name}/layer_norm" if name else "layer_norm"
        plain = self.ops.mvn(x, self.integers([-1]), True, _EPSILON, "inside_sqrt")
        scaled = self.ops.multiply(plain, self.floats(f"{name}/gamma"))
        return self.ops.add(scaled, self.floats(f"{name}/beta"))

    def fed_forward(self, x: Node, layer: str) -> Node:
        inner = self.linear(self.norm(x, f"{layer}/ffn"), f"{layer}/ffn/linear_0")
        return self.add(x, self.ops.gelu(inner, "erf"), f"{layer}/ffn/linear_1")

    def split(self, x: Node, layer: str) -> list[Node]:
        """Query, key and value of a layer's self-attention, by heads."""
        together = self.linear(x, f"{layer}/self_attention/linear_0")
        parts = self.ops.split(together, self.integers(-1), 3).outputs()
        return [self.heads(part) for part in parts]

    def cross_attention(self, queries: Node, windows: Node, number: int, kind: str) -> Node:
        """What a layer's queries find. All hypotheses of a window are queries of one product."""
        ops = self.ops
        sizes = ops.concat([windows, self.integers([-1, self.head_count, self.head_size])], 0)
        query = ops.transpose(ops.reshape(queries, sizes, False), self.integers([0, 2, 1, 3]))
        shape = [-1, self.head_count, STATES, self.head_size]
        key, value = (
            ops.convert(self.input(cross_attention_name(number, part), shape, kind), "f32")
            for part in "kv"
        )
        attended = self.joined(ops.scaled_dot_product_attention(query, key, value))
        return ops.reshape(attended, ops.shape_of(queries), False)
