"""The small EnCodec, and what transformers does not have: the training of its quantiser."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from transformers import EncodecConfig, EncodecModel

from .sounds import FRAME_SAMPLES, RATE_HZ

CODEBOOKS = 4
CODES = 256
_BITS = 8
_FRAMES_PER_S = RATE_HZ // FRAME_SAMPLES

CONFIG = EncodecConfig(
    target_bandwidths=[CODEBOOKS * _BITS * _FRAMES_PER_S / 1000],
    sampling_rate=RATE_HZ,
    audio_channels=1,
    hidden_size=64,
    num_filters=12,
    upsampling_ratios=[8, 5, 4, 4],
    use_causal_conv=False,
    use_conv_shortcut=False,
    num_lstm_layers=1,
    codebook_size=CODES,
)


class Quantiser:
    """Trains the codebooks of an EncodecModel by moving averages of what falls on each entry.

    Entries that hardly anything falls on are moved onto vectors of the batch. All processes of a
    training learn the same codebooks, from the batches of all of them.
    """

    def __init__(self, model: EncodecModel, decay: float = 0.98, least_use: float = 0.2) -> None:
        self.books = [layer.codebook for layer in model.quantizer.layers]
        self.decay = decay
        self.least_use = least_use

    @property
    def started(self) -> bool:
        return bool(self.books[0].cluster_size.any())

    @torch.no_grad()
    def start(self, latents: Tensor, rounds: int = 12) -> None:
        """Set all codebooks by k-means of latents (batch, hidden_size, frames), one by one."""
        residual = latents.transpose(1, 2).reshape(-1, latents.shape[1])
        for book in self.books:
            centres = residual[torch.randperm(len(residual))[:CODES]].clone()
            for _ in range(rounds):
                nearest = torch.cdist(residual, centres).argmin(1)
                counts = torch.bincount(nearest, minlength=CODES).float()
                sums = torch.zeros_like(centres).index_add_(0, nearest, residual)
                centres = torch.where(
                    counts[:, None] > 0,
                    sums / counts.clamp(min=1)[:, None],
                    residual[torch.randint(len(residual), (CODES,))],
                )
            distributed.broadcast(centres, 0)
            book.embed.copy_(centres)
            book.embed_avg.copy_(centres)
            book.cluster_size.fill_(1.0)
            residual = residual - centres[torch.cdist(residual, centres).argmin(1)]

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise (batch, hidden_size, frames) and learn from it.

        Returns the quantised latents, whose gradient goes straight through, and the commitment
        loss that pulls the latents to what they were quantised to.
        """
        flat = latents.transpose(1, 2).reshape(-1, latents.shape[1])
        residual, total = flat.detach(), torch.zeros_like(flat)
        commitment = flat.new_zeros(())
        for book in self.books:
            chosen = book.quantize(residual)
            quantised = book.embed[chosen]
            commitment = commitment + (flat - (total + quantised)).square().mean()
            self._learn(book, residual, chosen)
            total = total + quantised
            residual = residual - quantised
        straight = flat + (total - flat).detach()
        batch, size, frames = latents.shape
        return straight.view(batch, frames, size).transpose(1, 2), commitment / len(self.books)

    @torch.no_grad()
    def _learn(self, book: nn.Module, vectors: Tensor, chosen: Tensor) -> None:
        counts = torch.bincount(chosen, minlength=CODES).float()
        sums = torch.zeros_like(book.embed).index_add_(0, chosen, vectors)
        distributed.all_reduce(counts)
        distributed.all_reduce(sums)
        book.cluster_size.lerp_(counts, 1 - self.decay)
        book.embed_avg.lerp_(sums, 1 - self.decay)
        unused = book.cluster_size < self.least_use
        if unused.any():
            fresh = vectors[torch.randint(len(vectors), (int(unused.sum()),))]
            distributed.broadcast(fresh, 0)
            book.cluster_size[unused] = 1.0
            book.embed_avg[unused] = fresh
        book.embed.copy_(book.embed_avg / book.cluster_size[:, None])


def build_codec() -> EncodecModel:
    """A codec with random weights."""
    return EncodecModel(CONFIG)


class SpectralLoss(nn.Module):
    """How far two sounds are apart: their samples, and their spectra at several resolutions."""

    def __init__(self, windows: tuple[int, ...] = (512, 2048)) -> None:
        super().__init__()
        self.windows = [torch.hann_window(size) for size in windows]

    def forward(self, estimate: Tensor, sound: Tensor) -> Tensor:
        """Both of shape (batch, samples)."""
        loss = 3.0 * (estimate - sound).abs().mean()
        for window in self.windows:
            theirs, ours = self._spectrum(sound, window), self._spectrum(estimate, window)
            loss = loss + (theirs - ours).norm() / theirs.norm() / len(self.windows)
            logs = (theirs + 1e-2).log() - (ours + 1e-2).log()
            loss = loss + 0.5 * logs.abs().mean() / len(self.windows)
        return loss

    @staticmethod
    def _spectrum(sound: Tensor, window: Tensor) -> Tensor:
        size = len(window)
        spectrum = torch.stft(
            sound, size, size // 4, window=window, normalized=True, return_complex=True
        )
        return (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()
