"""Batches of examples, and what training minimises on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from . import tokens
from .examples import NOTHING, Example
from .network import Outputs

# A timestamp may be off by a frame or two: the target is spread over its neighbours.
_SPREAD = {-2: 0.06, -1: 0.22, 0: 0.44, 1: 0.22, 2: 0.06}
# Part of a silent window's first target that still names the language.
_ENGLISH_ANYWAY = 0.08


@dataclass
class Batch:
    """Examples of one length, padded to the longest text."""

    mel: Tensor
    offset: Tensor
    inputs: Tensor
    targets: Tensor
    spans: Tensor
    following: Tensor
    words: Tensor
    phonemes: Tensor


@dataclass
class Losses:
    """Parts of the loss, and the shares of tokens and of frames' words that are right."""

    tokens: Tensor
    attention: Tensor
    words: Tensor
    phonemes: Tensor
    tokens_right: Tensor
    words_right: Tensor

    def stack(self) -> Tensor:
        return torch.stack([
            part.detach()
            for part in (
                self.tokens, self.attention, self.words, self.phonemes,
                self.tokens_right, self.words_right,
            )
        ])  # fmt: skip


def collate(examples: list[Example]) -> Batch:
    """Stack examples whose windows are equally long."""
    longest = max(len(item.inputs) for item in examples)

    def pad(rows: list[int], filler: int) -> list[int]:
        return rows + [filler] * (longest - len(rows))

    def pad_spans(rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return rows + [(NOTHING, NOTHING)] * (longest - len(rows))

    return Batch(
        torch.stack([item.mel for item in examples]),
        torch.tensor([item.offset for item in examples]),
        torch.tensor([pad(item.inputs, tokens.EOT) for item in examples]),
        torch.tensor([pad(item.targets, NOTHING) for item in examples]),
        torch.tensor([pad_spans(item.spans) for item in examples]),
        torch.tensor([pad_spans(item.following) for item in examples]),
        torch.stack([item.words for item in examples]),
        torch.stack([item.phonemes for item in examples]),
    )


def compute(outputs: Outputs, batch: Batch) -> Losses:
    """All parts of the loss of a batch."""
    aligned = [_attention_loss(weights, batch.spans) for weights in outputs.attention]
    aligned.append(_attention_loss(outputs.following, batch.following))
    frame_words, frame_phonemes = outputs.words.flatten(0, 1), outputs.phonemes.flatten(0, 1)
    spoken = batch.words > 0
    guesses = outputs.words.detach().argmax(-1)
    counted = batch.targets >= 0
    said = outputs.logits.detach().argmax(-1)[counted]
    return Losses(
        _token_loss(outputs.logits, batch.targets),
        torch.stack(aligned).mean(),
        functional.cross_entropy(frame_words, batch.words.flatten(), ignore_index=NOTHING),
        _mean_or_zero(
            functional.cross_entropy(
                frame_phonemes, batch.phonemes.flatten(), ignore_index=NOTHING, reduction="none"
            ),
            batch.phonemes.flatten() >= 0,
        ),
        (said == batch.targets[counted]).float().mean(),
        _mean_or_zero((guesses == batch.words).float(), spoken),
    )


def _mean_or_zero(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    counted = targets >= 0
    chances, wanted = logits[counted].log_softmax(-1), targets[counted]
    plain = chances.gather(1, wanted[:, None])[:, 0]
    timestamps = wanted >= tokens.FIRST_TIMESTAMP
    spread = torch.zeros_like(plain)
    for shift, share in _SPREAD.items():
        near = (wanted + shift).clamp(tokens.FIRST_TIMESTAMP, tokens.SIZE - 1)
        spread = spread + share * chances.gather(1, near[:, None])[:, 0]
    silent = wanted == tokens.NO_SPEECH
    hedged = (1 - _ENGLISH_ANYWAY) * plain + _ENGLISH_ANYWAY * chances[:, tokens.ENGLISH]
    return -torch.where(timestamps, spread, torch.where(silent, hedged, plain)).mean()


def _attention_loss(weights: Tensor, spans: Tensor) -> Tensor:
    """How far the attention is from resting evenly on the span of each token; 0 is perfect.

    `weights` are logarithms of shape (batch, heads, tokens, frames), `spans` (batch, tokens, 2).
    """
    places = torch.arange(weights.shape[-1])
    first, last = spans[..., :1], spans[..., 1:]
    inside = (places >= first) & (places <= last)
    counts = inside.sum(-1).clamp(min=1)
    distance = -(weights * inside[:, None]).sum(-1) / counts[:, None] - counts[:, None].log()
    known = (spans[..., 0] >= 0)[:, None].expand_as(distance)
    return _mean_or_zero(distance, known)
