"""The whole model: a small text encoder, the codec, and the decoder that writes its codes."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    T5Config,
)

from .codec import CODEBOOKS, CODES, CONFIG
from .prompts import vocabulary

NO_CODE = CODES
TEXT_WIDTH = 64
WIDTH = 192
_SPECIAL_WORDS = 3

TEXT_CONFIG = T5Config(
    vocab_size=_SPECIAL_WORDS + len(vocabulary()),
    d_model=TEXT_WIDTH,
    d_kv=16,
    d_ff=128,
    num_layers=2,
    num_heads=4,
    dropout_rate=0.1,
    feed_forward_proj="relu",
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
)
DECODER_CONFIG = MusicgenDecoderConfig(
    vocab_size=CODES,
    max_position_embeddings=2048,
    num_hidden_layers=4,
    ffn_dim=4 * WIDTH,
    num_attention_heads=6,
    hidden_size=WIDTH,
    dropout=0.05,
    num_codebooks=CODEBOOKS,
    pad_token_id=NO_CODE,
    bos_token_id=NO_CODE,
    is_decoder=True,
    add_cross_attention=True,
)
GENERATION_CONFIG = GenerationConfig(
    do_sample=True,
    guidance_scale=1.5,
    max_length=503,
    top_k=250,
    pad_token_id=NO_CODE,
    bos_token_id=NO_CODE,
    decoder_start_token_id=NO_CODE,
)


def build_model() -> MusicgenForConditionalGeneration:
    """The model with random weights."""
    model = MusicgenForConditionalGeneration(
        MusicgenConfig(text_encoder=TEXT_CONFIG, audio_encoder=CONFIG, decoder=DECODER_CONFIG)
    )
    model.generation_config = GENERATION_CONFIG
    return model


def delayed(codes: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder reads and what it is to write, for codes (batch, codebooks, frames).

    As in generation: a column without codes comes first, and each codebook is one frame later than
    the one before. Both are (batch, codebooks, frames + codebooks - 1); the targets are -100 where
    a codebook has no code.
    """
    batch, codebooks, frames = codes.shape
    columns = torch.full((batch, codebooks, frames + codebooks), NO_CODE)
    for codebook in range(codebooks):
        columns[:, codebook, codebook + 1 : codebook + 1 + frames] = codes[:, codebook]
    targets = columns[..., 1:]
    return columns[..., :-1], targets.masked_fill(targets == NO_CODE, -100)
