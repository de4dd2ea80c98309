"""The decoder's weights on a CUDA device, and the arithmetic of its layers."""

from pathlib import Path
from typing import Any, Protocol

from studio.generation import parts
from studio.generation.shape import EPSILON, MAX_PROMPT_TOKENS, Shape

NORM = ("weight", "bias")


class Caches(Protocol):
    """Keys and values of all layers on the device, (layers, rows, heads, length, head size)."""

    keys: Any
    values: Any
    cross_keys: Any
    cross_values: Any
    cross_mask: Any


class Network:
    """The weights on the device as numbers of a kind (torch.float16), and the arithmetic."""

    def __init__(self, folder: Path, shape: Shape, device: str, number: Any) -> None:
        import torch
        from transformers.models.musicgen.modeling_musicgen import (
            MusicgenSinusoidalPositionalEmbedding,
        )

        self._torch = torch
        self.shape = shape
        self.device = device
        self.number = number
        self.head_size = shape.hidden // shape.heads
        state = parts.read_state(folder, "decoder.")

        def weight(*names: str) -> Any:
            stacked = torch.cat([state[name] for name in names])
            return stacked.to(device, number)

        codebooks = range(shape.codebooks)
        self.embeddings = weight(*(f"model.decoder.embed_tokens.{n}.weight" for n in codebooks))
        self.starts = torch.arange(shape.codebooks, device=device) * (shape.vocabulary + 1)
        positions = min(shape.positions, MAX_PROMPT_TOKENS + 4096)
        table = MusicgenSinusoidalPositionalEmbedding.get_embedding(positions, shape.hidden)
        self.positions = table.to(device, number)
        self.heads = weight(*(f"lm_heads.{n}.weight" for n in codebooks))
        self.last_norm = [weight(f"model.decoder.layer_norm.{part}") for part in NORM]
        self.layers = [
            _layer_weights(weight, f"model.decoder.layers.{n}.", shape.is_prefixed)
            for n in range(shape.layers)
        ]

    def embed(self, tokens: Any) -> Any:
        """int64 (rows, codebooks, length) -> (rows, length, hidden), without positions."""
        embedded = self._torch.nn.functional.embedding(
            tokens + self.starts[None, :, None], self.embeddings
        )
        return embedded.sum(dim=1)

    def cross_attention(self, layer: int, states: Any) -> tuple[Any, Any]:
        """Cross-attention keys and values of a layer for states (rows, tokens, hidden)."""
        linear = self._torch.nn.functional.linear
        key, value = linear(states, self.layers[layer]["cross"]).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def logits(self, hidden: Any) -> Any:
        """(rows, hidden) -> float32 (rows, codebooks, vocabulary)."""
        shape = self.shape
        scores = self._torch.nn.functional.linear(self._norm(hidden, self.last_norm), self.heads)
        return scores.view(-1, shape.codebooks, shape.vocabulary).float()

    def __call__(self, hidden: Any, caches: Caches, places: Any, mask: Any) -> Any:
        """Run all layers over (rows, length, hidden) at `places`; `caches` are filled there.

        `mask` (length, positions) is true where a state may look.
        """
        hidden = hidden + self.positions[places]
        for number, layer in enumerate(self.layers):
            hidden = self._layer(hidden, layer, number, caches, places=places, mask=mask)
        return hidden

    def _layer(
        self,
        hidden: Any,
        layer: dict[str, Any],
        number: int,
        caches: Caches,
        *,
        places: Any,
        mask: Any,
    ) -> Any:
        functional = self._torch.nn.functional
        normed = self._norm(hidden, layer["norm"])
        query, key, value = functional.linear(normed, layer["qkv"]).chunk(3, dim=-1)
        keys, values = caches.keys[number], caches.values[number]
        keys.index_copy_(2, places, self._split(key))
        values.index_copy_(2, places, self._split(value))
        length = mask.shape[-1]
        attended = attention(self._split(query), keys[:, :, :length], values[:, :, :length], mask)
        hidden = hidden + functional.linear(self._joined(attended), layer["out"])
        if not self.shape.is_prefixed:
            normed = self._norm(hidden, layer["cross_norm"])
            query = self._split(functional.linear(normed, layer["cross_query"]))
            attended = attention(
                query, caches.cross_keys[number], caches.cross_values[number], caches.cross_mask
            )
            hidden = hidden + functional.linear(self._joined(attended), layer["cross_out"])
        wide = functional.linear(self._norm(hidden, layer["last_norm"]), layer["wide"])
        wide = functional.gelu(wide) if self.shape.activation == "gelu" else functional.relu(wide)
        return hidden + functional.linear(wide, layer["narrow"])

    def _norm(self, values: Any, norm: list[Any]) -> Any:
        return self._torch.nn.functional.layer_norm(
            values, (self.shape.hidden,), norm[0], norm[1], EPSILON
        )

    def _split(self, values: Any) -> Any:
        """(rows, length, hidden) -> (rows, heads, length, head size)."""
        return values.unflatten(-1, (self.shape.heads, self.head_size)).transpose(1, 2)

    def _joined(self, values: Any) -> Any:
        return values.transpose(1, 2).flatten(2)


def attention(query: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Attention where `mask` is true; it must be so somewhere for every query."""
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def _layer_weights(weight: Any, name: str, is_prefixed: bool) -> dict[str, Any]:
    """The weights of one layer; matrices that multiply the same values are put together."""
    weights = {
        "norm": [weight(f"{name}self_attn_layer_norm.{part}") for part in NORM],
        "qkv": weight(*(f"{name}self_attn.{part}_proj.weight" for part in "qkv")),
        "out": weight(f"{name}self_attn.out_proj.weight"),
        "last_norm": [weight(f"{name}final_layer_norm.{part}") for part in NORM],
        "wide": weight(f"{name}fc1.weight"),
        "narrow": weight(f"{name}fc2.weight"),
    }
    if not is_prefixed:
        weights |= {
            "cross_norm": [weight(f"{name}encoder_attn_layer_norm.{part}") for part in NORM],
            "cross_query": weight(f"{name}encoder_attn.q_proj.weight"),
            "cross": weight(*(f"{name}encoder_attn.{part}_proj.weight" for part in "kv")),
            "cross_out": weight(f"{name}encoder_attn.out_proj.weight"),
        }
    return weights
