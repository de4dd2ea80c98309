"""The small EnCodec. Its weights are not trained by gradients, they are computed.

With biases that keep every ELU in its linear half, an EncodecModel can be any lapped linear
transform. This one is the MDCT, of which the principal components over the training pieces are
kept; the codebooks are k-means of those, each one of what the one before left over. For a few
hundred notes that always begin on a frame that is enough, and takes a minute.

Run it as `python -m training.musicgen.codec`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecModel

from .pieces import write_piece
from .prompts import split_combinations
from .sounds import FRAME_SAMPLES, RATE_HZ, Player

STATE_FILE = Path(__file__).parents[1] / "runs" / "musicgen-mini" / "codec.pt"
CODEBOOKS = 4
CODES = 256
_BITS = 8
_FRAMES_PER_S = RATE_HZ // FRAME_SAMPLES
_COMPONENTS = 128
_FILTERS = 12
_OFFSET = 1.0
_LOUDEST = 8.0
_PIECE_FRAMES = 400
_PIECES_PER_COMBINATION = 2
_KMEANS_ROUNDS = 15
_SAMPLES_PER_COLUMN = (1, 4, 16, 80)

CONFIG = EncodecConfig(
    target_bandwidths=[CODEBOOKS * _BITS * _FRAMES_PER_S / 1000],
    sampling_rate=RATE_HZ,
    audio_channels=1,
    hidden_size=_COMPONENTS,
    num_filters=_FILTERS,
    upsampling_ratios=[8, 5, 4, 4],
    use_causal_conv=False,
    use_conv_shortcut=False,
    num_lstm_layers=1,
    codebook_size=CODES,
)


def build_codec() -> EncodecModel:
    """A codec with random weights."""
    return EncodecModel(CONFIG)


def fit_codec() -> Path:
    """Compute the codec from training pieces; returns the file that it is in."""
    torch.manual_seed(0)
    spectra = _spectra(_training_sounds())
    weights = _weights()
    components = _components(spectra * weights)
    latents = spectra * weights @ components
    model = build_codec()
    _set_encoder(model, (components.T * weights) @ _mdct())
    _set_decoder(model, _mdct().T @ (components / weights[:, None]))
    _set_codebooks(model, latents)
    STATE_FILE.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), STATE_FILE)
    return STATE_FILE


def load_codec() -> EncodecModel:
    """The codec that `fit_codec` made."""
    codec = build_codec()
    codec.load_state_dict(torch.load(STATE_FILE, weights_only=True))
    return codec.eval()


def _training_sounds() -> Tensor:
    player, rng = Player(), np.random.default_rng(0)
    combinations = split_combinations().train * _PIECES_PER_COMBINATION
    pieces = [write_piece(combination, rng, _PIECE_FRAMES) for combination in combinations]
    return torch.from_numpy(np.stack([player.perform(piece) for piece in pieces]))


def _mdct() -> Tensor:
    """The lapped transform of two frames to as many numbers as one has samples, orthonormal."""
    size = FRAME_SAMPLES
    place = torch.arange(2 * size, dtype=torch.float64) + 0.5
    window = torch.sin(math.pi * place / (2 * size))
    number = torch.arange(size, dtype=torch.float64)[:, None] + 0.5
    waves = torch.cos(math.pi / size * (place + size / 2) * number)
    return (window * waves * math.sqrt(2 / size)).float()


def _spectra(sounds: Tensor) -> Tensor:
    """The MDCT of all frames of sounds (pieces, samples): (frames, FRAME_SAMPLES)."""
    half = FRAME_SAMPLES // 2
    around = nn.functional.pad(sounds, (half, half)).unfold(1, 2 * FRAME_SAMPLES, FRAME_SAMPLES)
    return torch.cat([piece @ _mdct().T for piece in around])


def _weights() -> Tensor:
    """How much an error counts at each frequency of the MDCT; the treble is quiet, but heard."""
    frequencies_hz = (torch.arange(FRAME_SAMPLES) + 0.5) * RATE_HZ / (2 * FRAME_SAMPLES)
    return (1 + frequencies_hz / 1000).sqrt()


def _components(vectors: Tensor) -> Tensor:
    """The principal components (size, _COMPONENTS) of vectors (count, size)."""
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    return directions[:, -_COMPONENTS:].flip(1)


def _set(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Set a convolution under weight normalisation; a row of zeros needs a direction too."""
    lengths = weight.flatten(1).norm(dim=1)
    direction = torch.where(
        lengths[:, None, None] > 0, weight, torch.full_like(weight, weight[0].numel() ** -0.5)
    )
    with torch.no_grad():
        layer.conv.parametrizations.weight.original0.copy_(lengths[:, None, None])
        layer.conv.parametrizations.weight.original1.copy_(direction)
        layer.conv.bias.copy_(bias)


def _pass_on(layers: nn.ModuleList) -> None:
    """Make the recurrent and the residual blocks add nothing to what goes through them."""
    for layer in layers:
        if hasattr(layer, "lstm"):
            for parameter in layer.lstm.parameters():
                nn.init.zeros_(parameter)
        elif hasattr(layer, "block"):
            last = layer.block[-1]
            _set(last, torch.zeros_like(last.conv.weight), torch.zeros_like(last.conv.bias))


def _convolutions(layers: nn.ModuleList) -> list[nn.Module]:
    return [layer for layer in layers if hasattr(layer, "conv")]


def _set_encoder(model: EncodecModel, analysis: Tensor) -> None:
    """`analysis` is (_COMPONENTS, samples of two frames).

    The first convolutions only put neighbouring samples into channels; the last strided one sees
    two frames, 16 columns of 80 samples, and does it all.
    """
    _pass_on(model.encoder.layers)
    first, *stacks, transform, last = _convolutions(model.encoder.layers)
    weight = torch.zeros_like(first.conv.weight)
    weight[0, 0, weight.shape[2] // 2] = 1.0
    _set(first, weight, torch.full_like(first.conv.bias, _OFFSET))
    for layer, channels in zip(stacks, _SAMPLES_PER_COLUMN[:-1], strict=True):
        weight = torch.zeros_like(layer.conv.weight)
        _stack(weight, channels)
        _set(layer, weight, torch.zeros_like(layer.conv.bias))
    column = _SAMPLES_PER_COLUMN[-1]
    weight = torch.zeros_like(transform.conv.weight)
    weight[:_COMPONENTS, :column] = analysis.unflatten(1, (-1, column)).transpose(1, 2) / _LOUDEST
    _set(transform, weight, _OFFSET * (1 - weight.sum((1, 2))))
    weight = torch.zeros_like(last.conv.weight)
    weight[:, :_COMPONENTS, weight.shape[2] // 2] = _LOUDEST * torch.eye(_COMPONENTS)
    _set(last, weight, torch.full_like(last.conv.bias, -_LOUDEST * _OFFSET))


def _set_decoder(model: EncodecModel, synthesis: Tensor) -> None:
    """`synthesis` is (samples of two frames, _COMPONENTS).

    Channels without a component hold the offset alone, with weights that cancel what the offset
    of the others would add.
    """
    _pass_on(model.decoder.layers)
    first, transform, *stacks, last = _convolutions(model.decoder.layers)
    weight = torch.zeros_like(first.conv.weight)
    weight[:_COMPONENTS, :, weight.shape[2] // 2] = torch.eye(_COMPONENTS) / _LOUDEST
    _set(first, weight, torch.full_like(first.conv.bias, _OFFSET))
    column = _SAMPLES_PER_COLUMN[-1]
    weight = torch.zeros_like(transform.conv.weight)
    weight[:_COMPONENTS, :column] = _LOUDEST * synthesis.T.unflatten(1, (-1, column)).transpose(
        1, 2
    )
    weight[_COMPONENTS:] = -weight[:_COMPONENTS].sum(0) / (len(weight) - _COMPONENTS)
    _set(transform, weight, torch.full_like(transform.conv.bias, _OFFSET))
    for layer, channels in zip(stacks, reversed(_SAMPLES_PER_COLUMN[:-1]), strict=True):
        weight = torch.zeros_like(layer.conv.weight)
        _stack(weight, channels)
        _set(layer, weight, torch.zeros_like(layer.conv.bias))
    weight = torch.zeros_like(last.conv.weight)
    weight[0, 0, weight.shape[2] // 2] = 1.0
    _set(last, weight, torch.full_like(last.conv.bias, -_OFFSET))


def _stack(weight: Tensor, channels: int) -> None:
    """Let a convolution put the `channels` channels of neighbouring columns on top of another.

    `weight` is (many, few, kernel), also for the transposed one, which takes them apart again.
    """
    stride = weight.shape[2] // 2
    before = stride - stride // 2
    for place in range(stride):
        for channel in range(channels):
            weight[place * channels + channel, channel, before + place] = 1.0


def _set_codebooks(model: EncodecModel, latents: Tensor) -> None:
    residual = latents
    for layer in model.quantizer.layers:
        centres = _kmeans(residual)
        layer.codebook.embed.copy_(centres)
        layer.codebook.embed_avg.copy_(centres)
        layer.codebook.cluster_size.fill_(1.0)
        residual = residual - centres[torch.cdist(residual, centres).argmin(1)]
        left_db = 10 * torch.log10(residual.square().sum() / latents.square().sum())
        print(f"left over {left_db:.1f} dB", flush=True)


def _kmeans(vectors: Tensor) -> Tensor:
    """CODES centres of vectors (count, size); those that lose all vectors move onto far ones."""
    centres = vectors[torch.randperm(len(vectors))[:CODES]].clone()
    for _ in range(_KMEANS_ROUNDS):
        distances, nearest = torch.cdist(vectors, centres).min(1)
        counts = torch.bincount(nearest, minlength=CODES)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = counts == 0
        if empty.any():
            chosen = torch.multinomial(distances.square(), int(empty.sum()))
            centres[empty] = vectors[chosen]
    return centres


if __name__ == "__main__":
    fit_codec()
