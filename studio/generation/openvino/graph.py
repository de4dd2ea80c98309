"""Writes the networks of a MusicGen as OpenVINO graphs, from its weights.

The decoder is built operation by operation, so that its key-value cache is state inside the graph,
its weights may have 8 or 4 bits, and PyTorch's tracing is not needed. The codec is traced.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.generation.shape import EPSILON, Shape
from studio.inference.openvino_builder import GraphWriter, Model, Node
from studio.inference.openvino_import import import_openvino
from studio.inference.quantization import constant

Weights = dict[str, Any]
"""PyTorch tensors by their names in transformers."""


def build_decoder(shape: Shape, weights: Weights, bits: int) -> Model:
    """The decoder: tokens int64 (rows, codebooks, length) -> logits (rows, codebooks, vocabulary).

    Further inputs are `places` (length of all states), `mask` (rows, 1, states, all states so far),
    `rows` (0, 1, ... for the cache) and `prefix` (rows, tokens, hidden) or, for each layer, the
    cross-attention keys and values. `bits` of the weights: 4, 8 or 32.
    """
    openvino = import_openvino()
    return openvino.Model(*_DecoderGraph(shape, weights, bits).build(), "decoder")


def build_cross_attention(shape: Shape, weights: Weights, bits: int) -> Model:
    """Encoder states (rows, tokens, hidden) -> cross-attention keys and values of every layer."""
    openvino = import_openvino()
    graph = _DecoderGraph(shape, weights, bits)
    states = graph.input("states", [-1, -1, shape.hidden], "f32")
    results = []
    for layer in range(shape.layers):
        for part in ("k", "v"):
            name = f"model.decoder.layers.{layer}.encoder_attn.{part}_proj.weight"
            projected = graph.heads(graph.linear(states, [name]))
            projected.output(0).set_names({_cross_attention_name(layer, part)})
            results.append(graph.ops.result(projected))
    return openvino.Model(results, graph.inputs, "cross_attention")


def _cross_attention_name(layer: int, part: str) -> str:
    return f"cross_attention.{layer}.{part}"


class _DecoderGraph(GraphWriter):
    """Builds the decoder; each method adds one of its parts."""

    def __init__(self, shape: Shape, weights: Weights, bits: int) -> None:
        super().__init__(shape.heads, shape.hidden)
        self._shape = shape
        self._weights = weights
        self._bits = bits

    def build(self) -> tuple[list[Node], list[Node], list[Node]]:
        """Results, sinks and parameters of the model."""
        shape, ops = self._shape, self.ops
        tokens = self.input("tokens", [-1, shape.codebooks, -1], "i64")
        self._mask = self.input("mask", [-1, 1, -1, -1], "f32")
        self._rows = self.input("rows", [-1], "i32")
        hidden = ops.add(self._embed(tokens), self._positions())
        for layer in range(shape.layers):
            hidden = self._layer(hidden, f"model.decoder.layers.{layer}.", layer)
        last = ops.gather(hidden, self.integers(-1), self.integers(1))
        last = self._norm(last, "model.decoder.layer_norm.")
        names = [f"lm_heads.{number}.weight" for number in range(shape.codebooks)]
        sizes = self.integers([-1, shape.codebooks, shape.vocabulary])
        # Errors here directly affect the codes, and the heads are only a fiftieth of all weights.
        logits = ops.reshape(self.linear(last, names, min_bits=8), sizes, special_zero=False)
        logits.output(0).set_names({"logits"})
        return [ops.result(logits)], self.sinks, self.inputs

    def linear(self, values: Node, names: list[str], min_bits: int = 4) -> Node:
        """Multiply values with the concatenated weights of these names."""
        weight = np.concatenate([_array(self._weights[name]) for name in names])
        bits = max(self._bits, min_bits)
        return self.ops.matmul(values, constant(weight, bits), False, True)

    def _embed(self, tokens: Node) -> Node:
        """The sum of the codebook embeddings, after the prefix if there is one."""
        ops, shape = self.ops, self._shape
        names = [f"model.decoder.embed_tokens.{n}.weight" for n in range(shape.codebooks)]
        tables = np.concatenate([_array(self._weights[name]) for name in names])
        starts = np.arange(shape.codebooks)[None, :, None] * (shape.vocabulary + 1)
        places = ops.add(tokens, self.integers(starts))
        rows = ops.gather(ops.constant(tables), places, self.integers(0))
        embedded = ops.reduce_sum(rows, self.integers([1]), False)
        if not shape.is_prefixed:
            return embedded
        prefix = self.input("prefix", [-1, -1, shape.hidden], "f32")
        return ops.concat([prefix, embedded], 1)

    def _positions(self) -> Node:
        """Sinusoids, as transformers computes them."""
        from transformers.models.musicgen.modeling_musicgen import (
            MusicgenSinusoidalPositionalEmbedding,
        )

        table = MusicgenSinusoidalPositionalEmbedding.get_embedding(
            self._shape.positions, self._shape.hidden
        )
        places = self.input("places", [-1], "i64")
        return self.ops.gather(self.ops.constant(_array(table)), places, self.integers(0))

    def _layer(self, hidden: Node, name: str, layer: int) -> Node:
        ops = self.ops
        normed = self._norm(hidden, f"{name}self_attn_layer_norm.")
        hidden = ops.add(hidden, self._attention(normed, f"{name}self_attn.", layer))
        if not self._shape.is_prefixed:
            normed = self._norm(hidden, f"{name}encoder_attn_layer_norm.")
            hidden = ops.add(hidden, self._cross_attention(normed, f"{name}encoder_attn.", layer))
        normed = self._norm(hidden, f"{name}final_layer_norm.")
        wide = self.linear(normed, [f"{name}fc1.weight"])
        wide = ops.gelu(wide, "erf") if self._shape.activation == "gelu" else ops.relu(wide)
        return ops.add(hidden, self.linear(wide, [f"{name}fc2.weight"]))

    def _norm(self, values: Node, name: str) -> Node:
        ops = self.ops
        normed = ops.mvn(values, self.integers([-1]), True, EPSILON, "inside_sqrt")
        scaled = ops.multiply(normed, ops.constant(_array(self._weights[f"{name}weight"])))
        return ops.add(scaled, ops.constant(_array(self._weights[f"{name}bias"])))

    def _attention(self, values: Node, name: str, layer: int) -> Node:
        """Self-attention; keys and values are state of the graph."""
        names = [f"{name}{part}_proj.weight" for part in "qkv"]
        together = self.linear(values, names)
        query, key, value = (
            self.heads(part) for part in self.ops.split(together, self.integers(-1), 3).outputs()
        )
        keys = self.remembered(key, self._rows, f"{layer}.k")
        kept = self.remembered(value, self._rows, f"{layer}.v")
        attended = self.ops.scaled_dot_product_attention(query, keys, kept, self._mask)
        return self._joined(attended, name)

    def _cross_attention(self, values: Node, name: str, layer: int) -> Node:
        """Cross-attention to the encoder states."""
        shape = self._shape
        sizes = [-1, shape.heads, -1, self.head_size]
        query = self.heads(self.linear(values, [f"{name}q_proj.weight"]))
        key, value = (
            self.input(_cross_attention_name(layer, part), sizes, "f32") for part in ("k", "v")
        )
        return self._joined(self.ops.scaled_dot_product_attention(query, key, value), name)

    def _joined(self, attended: Node, name: str) -> Node:
        return self.linear(self.joined(attended), [f"{name}out_proj.weight"])


def _array(tensor: Any) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return values


def convert_codec(codec: Any) -> dict[str, Any]:
    """The three parts of a `TorchCodec`, by name, for any number of rows and frames."""
    import torch

    openvino = import_openvino()
    hidden = codec.recurrent.lstm.hidden_size
    codebooks = len(codec.embedding.quantizer.layers)
    state = torch.zeros(codec.recurrent.lstm.num_layers, 2, hidden)
    examples = {
        "embed": (codec.embedding, (torch.zeros(2, codebooks, 20, dtype=torch.long),)),
        "recur": (codec.recurrent, (torch.zeros(2, hidden, 20), state, state)),
        "synthesise": (codec.synthesis, (torch.zeros(2, hidden, 20),)),
    }
    graphs = {}
    with torch.no_grad(), warnings.catch_warnings():
        # Lengths become constants while tracing, but only affect the padding of very short audio.
        warnings.simplefilter("ignore")
        for name, (module, example) in examples.items():
            traced = torch.jit.trace(module, example, check_trace=False)
            graphs[name] = openvino.convert_model(traced, example_input=example)
    return graphs
