"""The network: Whisper's own classes, and what only training needs around them.

Three techniques let such a small model learn in minutes instead of days. The heads of the encoder
start out looking at near frames. Two linear heads name the phoneme (half way up the encoder) and
the word of every frame; they are thrown away. And the cross-attention of the last decoder layers
is pulled towards the frames of the token to predict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from whisper.model import ModelDimensions, MultiHeadAttention, Whisper, sinusoids

from . import tokens
from .words import VOCABULARY

MAX_PHONEMES = 96
FRAMES = 1500
DIMENSIONS = ModelDimensions(
    n_mels=80, n_audio_ctx=FRAMES, n_audio_state=128, n_audio_head=2, n_audio_layer=4,
    n_vocab=tokens.VOCABULARY_SIZE, n_text_ctx=448, n_text_state=128, n_text_head=2,
    n_text_layer=4,
)  # fmt: skip
# The reference implementation aligns words with all heads of the upper half of the decoder.
ALIGNED_LAYERS = range(DIMENSIONS.n_text_layer // 2, DIMENSIONS.n_text_layer)
FOLLOWING_LAYER = 1
# Offsets, in frames, at which the encoder's heads look at first, layer by layer.
_HEAD_OFFSETS = ((-2, 2), (-6, 6), (-4, 4), (-12, 12))
_HEAD_SHARPNESS = 10.0
# With the usual weights the sound would be drowned by the positions that are added to it.
_CONVOLUTION_GAINS = (2.5, 4.0)


@dataclass
class Outputs:
    """`logits` (batch, tokens, SIZE); word and phoneme logits (batch, frames, classes).

    `attention` holds the log cross-attention weights (batch, heads, tokens, frames) of the aligned
    layers, `following` those of the first head of the layer that follows what is already written.
    """

    logits: Tensor
    words: Tensor
    phonemes: Tensor
    attention: list[Tensor]
    following: Tensor


class MiniWhisper(nn.Module):  # type: ignore[misc]
    """Whisper over the tokens that occur. `offset` places a short window inside the 30 s."""

    def __init__(self) -> None:
        super().__init__()
        small = ModelDimensions(**{**DIMENSIONS.__dict__, "n_vocab": tokens.FIRST_TIMESTAMP})
        self.whisper = Whisper(small)
        width = small.n_text_state
        self.timestamp_projection = nn.Linear(width, width)
        self.word_head = nn.Linear(width, len(VOCABULARY) + 1)
        self.phoneme_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, MAX_PHONEMES))
        self.register_buffer("times", sinusoids(tokens.TIMESTAMPS, width), persistent=False)
        _initialise(self)

    def embeddings(self) -> Tensor:
        """The vectors of all training tokens; those of the timestamps follow from their time."""
        timestamps = self.timestamp_projection(self.times)
        return torch.cat([self.whisper.decoder.token_embedding.weight, timestamps.float()])

    def encode(self, mel: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel windows (batch, 80, 2 * frames) to (batch, frames, width).

        Returns the encoder's output and what its lower half has made of the sound.
        """
        encoder = self.whisper.encoder
        x = (
            functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel))))
            .transpose(1, 2)
            .float()
        )
        places = offset[:, None] + torch.arange(x.shape[1])
        x = x + encoder.positional_embedding[places]
        half = x
        for layer, block in enumerate(encoder.blocks, start=1):
            x = x + _attend(block.attn, block.attn_ln(x))
            x = x + block.mlp(block.mlp_ln(x))
            half = x if layer == DIMENSIONS.n_audio_layer // 2 else half
        return encoder.ln_post(x), half

    def forward(self, mel: Tensor, offset: Tensor, inputs: Tensor) -> Outputs:
        audio, half = self.encode(mel, offset)
        decoder, table = self.whisper.decoder, self.embeddings()
        x = functional.embedding(inputs, table) + decoder.positional_embedding[: inputs.shape[1]]
        attention = []
        following = torch.zeros(())
        for layer, block in enumerate(decoder.blocks):
            x = x + block.attn(block.attn_ln(x), mask=decoder.mask)[0]
            attended, weights = _cross_attention(block.cross_attn, block.cross_attn_ln(x), audio)
            x = x + attended
            x = x + block.mlp(block.mlp_ln(x))
            if layer in ALIGNED_LAYERS:
                attention.append(weights)
            elif layer == FOLLOWING_LAYER:
                following = weights[:, :1]
        logits = functional.linear(decoder.ln(x), table).float()
        # The vector of the unused tokens stands for tens of thousands of rivals in the softmax.
        rivals = torch.zeros(tokens.SIZE)
        rivals[tokens.UNUSED] = math.log(tokens.UNUSED_COUNT)
        return Outputs(
            logits + rivals, self.word_head(audio).float(), self.phoneme_head(half).float(),
            attention, following,
        )  # fmt: skip


def _split(part: Tensor, heads: int) -> Tensor:
    """(batch, places, width) to (batch, heads, places, width / heads)."""
    return part.unflatten(-1, (heads, -1)).transpose(1, 2)


def _attend(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """Self-attention of the encoder, written out.

    On CPUs the backward pass of the fused attention takes twice the time of this one.
    """
    query = _split(attention.query(x), attention.n_head)
    key, value = (_split(part(x), attention.n_head) for part in (attention.key, attention.value))
    with torch.autocast("cpu", enabled=False):
        weights = ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1)
        attended = weights @ value
    mixed: Tensor = attention.out(attended.transpose(1, 2).flatten(2))
    return mixed


def _cross_attention(
    attention: MultiHeadAttention, x: Tensor, audio: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-attention that also returns the logarithm of its weights."""
    heads = attention.n_head
    query, key = _split(attention.query(x), heads), _split(attention.key(audio), heads)
    scale = query.shape[-1] ** -0.5
    weights = ((query * scale) @ key.transpose(-1, -2)).float().log_softmax(-1)
    attended = weights.exp() @ _split(attention.value(audio), heads).float()
    return attention.out(attended.transpose(1, 2).flatten(2)), weights


def _initialise(model: MiniWhisper) -> None:
    decoder = model.whisper.decoder
    nn.init.normal_(decoder.token_embedding.weight, std=0.02)
    nn.init.normal_(decoder.positional_embedding, std=0.01)
    width = DIMENSIONS.n_text_state
    with torch.no_grad():
        model.timestamp_projection.weight.copy_(0.02 * torch.eye(width))
        model.timestamp_projection.bias.zero_()
        for layer, gain in zip(
            (model.whisper.encoder.conv1, model.whisper.encoder.conv2),
            _CONVOLUTION_GAINS,
            strict=True,
        ):
            layer.weight.mul_(gain)
        for block, offsets in zip(model.whisper.encoder.blocks, _HEAD_OFFSETS, strict=True):
            _look_near(block.attn, offsets)


def _look_near(attention: MultiHeadAttention, offsets: tuple[int, ...]) -> None:
    """Set query and key so that head h prefers frames `offsets[h]` away.

    With sinusoidal positions p, the sum over frequencies w of cos(w (j - i - offset)) is a bilinear
    form of p(i) and p(j) with its peak at j = i + offset.
    """
    width = attention.query.weight.shape[1]
    size, half = width // len(offsets), width // 2
    places = torch.linspace(0, 0.6 * half, size // 2).round().long()
    speeds = torch.exp(-math.log(10000) / (half - 1) * places)
    query, key = torch.zeros(width, width), torch.zeros(width, width)
    for head, offset in enumerate(offsets):
        rows = head * size + 2 * torch.arange(size // 2)
        turn = speeds * offset
        key[rows, places], key[rows + 1, half + places] = 1.0, 1.0
        query[rows, places], query[rows, half + places] = turn.cos(), turn.sin()
        query[rows + 1, half + places], query[rows + 1, places] = turn.cos(), -turn.sin()
    scale = math.sqrt(_HEAD_SHARPNESS * math.sqrt(size) / size)
    attention.query.weight.copy_(scale * query + 0.01 * torch.randn(width, width))
    attention.key.weight.copy_(scale * key + 0.01 * torch.randn(width, width))
    attention.query.bias.zero_()
