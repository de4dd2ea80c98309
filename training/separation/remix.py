"""Batches of mixtures on a GPU: stems of any songs, with what records do to them.

Every stem gets its own speed, equaliser, room, compression, saturation, width and place. The
mixture gets a bus compressor and clipping, which scale all stems alike: they still add up to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from training.mix import RATE_HZ

from . import packed

STEMS = len(packed.CHANNELS)
COHERENT = 0.4
SILENT = (0.06, 0.08, 0.08, 0.16)
"""How often a stem is silent, in the order of SOURCES."""
EQUALISER_DB = (4.5, 7.0, 4.5, 4.5)
"""Standard deviation of each band's gain. The basses of sound chips have little fundamental."""
HIGH_PASS_OCTAVES = (2.0, 3.0, 2.0, 2.0)
"""How far above 25 Hz a high-pass filter may begin."""
BANDS = 12
LOWEST_HZ, HIGHEST_HZ = 30.0, 16_000.0
TAIL_S = 1.2
# Where the samples of a stem's left and right channel are in a packed song.
_LEFT = (0, 2, 3, 5)
_RIGHT = (1, 2, 4, 5)


class Songs:
    """Packed songs in the memory of a device, as int16 of shape (songs, channels, samples)."""

    def __init__(self, songs: Sequence[npt.NDArray[np.int16]], device: str) -> None:
        self.samples = min(song.shape[1] for song in songs)
        self.count = len(songs)
        self.audio = torch.stack([
            torch.from_numpy(song[:, : self.samples]).to(device) for song in songs
        ])  # fmt: skip

    def cut(self, song: Tensor, start: Tensor, speed: Tensor, length: int) -> Tensor:
        """Segments of stems at a speed: float32 of shape (batch, STEMS, 2, length).

        All arguments are of shape (batch, STEMS); cubic interpolation (Catmull and Rom 1974).
        """
        # In float32, places far into a song would be sixteenths of a sample.
        steps = torch.arange(length, device=song.device, dtype=torch.float64)
        places = start[..., None].double() + steps * speed[..., None].double()
        whole = places.floor().long().clamp(1, self.samples - 3)
        part = (places - whole).float()[:, :, None]
        sides = torch.tensor([_LEFT, _RIGHT], device=song.device).T
        first = (song[..., None] * self.audio.shape[1] + sides) * self.samples
        index = first[..., None] + whole[:, :, None]
        flat = self.audio.view(-1)
        before, here, after, last = (flat[index + step].float() for step in (-1, 0, 1, 2))
        slope, bend = after - before, 2 * before - 5 * here + 4 * after - last
        cubic = here + 0.5 * part * (
            slope + part * (bend + part * (3 * (here - after) + last - before))
        )
        return cubic / 32768.0


class Remixer:
    """Draws batches; the same seed gives the same ones."""

    def __init__(self, songs: Songs, segment_samples: int, seed: int) -> None:
        self.songs = songs
        self.length = segment_samples
        self.device = songs.audio.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.padded = next_fast_len(segment_samples + round(TAIL_S * RATE_HZ), real=True)
        hertz = torch.fft.rfftfreq(self.padded, 1 / RATE_HZ, device=self.device)
        self.hertz = hertz.clamp(min=1.0)
        octaves = torch.log2(self.hertz.clamp(LOWEST_HZ, HIGHEST_HZ) / LOWEST_HZ)
        place = octaves / math.log2(HIGHEST_HZ / LOWEST_HZ) * (BANDS - 1)
        self.bands = (1 - (place - torch.arange(BANDS, device=self.device)[:, None]).abs()).clamp(0)

    def batch(self, size: int) -> Tensor:
        """Stems as float32 of shape (size, STEMS, 2, segment_samples); their sum is the mixture."""
        stems = self._segments(size)
        before = _level(stems)
        stems = self._filter(stems)
        stems = self._compress(stems)
        stems = self._saturate(stems)
        stems = self._place(stems)
        spread_db = torch.where(self._chance(size, 1, part=0.5), 2.0, 4.5)
        gain = 10 ** (self._normal(size, STEMS) * spread_db / 20)
        silent = self._uniform(size, STEMS) < torch.tensor(SILENT, device=self.device)
        stems = stems * (gain * before / (_level(stems) + 1e-5) * ~silent)[..., None, None]
        return self._master(stems)

    def _segments(self, size: int) -> Tensor:
        """In `COHERENT` of the segments, all stems come from one place of a song, at one speed."""
        together = self._chance(size, 1, part=COHERENT)
        speed = 2 ** (self._uniform(size, STEMS) * 0.7 - 0.35)
        speed = torch.where(self._chance(size, STEMS, part=0.35), 1.0, speed)
        speed = torch.where(together, speed[:, :1], speed)
        song = (self._uniform(size, STEMS) * self.songs.count).long()
        room = self.songs.samples - 4 - (self.length * speed).ceil()
        start = 1 + (self._uniform(size, STEMS) * room.clamp(min=1)).floor()
        song = torch.where(together, song[:, :1], song)
        start = torch.where(together, start[:, :1], start)
        stems = self.songs.cut(song, start, speed, self.length)
        swapped = self._chance(size, STEMS, 1, 1, part=0.5)
        stems = torch.where(swapped, stems.flip(2), stems)
        return torch.where(self._chance(size, STEMS, 1, 1, part=0.5), -stems, stems)

    def _filter(self, stems: Tensor) -> Tensor:
        """Equaliser, low and high cut, room and doubling, as one filter in frequency."""
        size = len(stems)
        spread_db = torch.tensor(EQUALISER_DB, device=self.device)[:, None]
        curve_db = self._normal(size, STEMS, BANDS) * spread_db @ self.bands
        curve_db = curve_db * self._chance(size, STEMS, 1, part=0.7)
        gain = 10 ** (curve_db / 20) * self._cuts(size)
        spectrum = torch.fft.rfft(stems, self.padded) * gain[:, :, None]
        return torch.fft.irfft(spectrum * self._rooms(size), self.padded)[..., : self.length]

    def _cuts(self, size: int) -> Tensor:
        """Magnitudes of random low-pass and high-pass filters: (size, STEMS, frequencies)."""
        top_hz = 2500 * 2 ** (3 * self._uniform(size, STEMS, 1))
        low_pass = 1 / (1 + (self.hertz / top_hz) ** 8).sqrt()
        low_pass = torch.where(self._chance(size, STEMS, 1, part=0.15), low_pass, 1.0)
        octaves = torch.tensor(HIGH_PASS_OCTAVES, device=self.device)[:, None]
        bottom_hz = 25 * 2 ** (octaves * self._uniform(size, STEMS, 1))
        high_pass = 1 / (1 + (bottom_hz / self.hertz) ** 4).sqrt()
        return low_pass * torch.where(self._chance(size, STEMS, 1, part=0.4), high_pass, 1.0)

    def _rooms(self, size: int) -> Tensor:
        """Frequency responses of random rooms, 1 where there is none: (size, STEMS, 2, ...)."""
        samples = round(TAIL_S * RATE_HZ)
        times_s = torch.arange(samples, device=self.device) / RATE_HZ
        decay_s = 0.1 * 2 ** (3.6 * self._uniform(size, STEMS, 1))
        noise = self._normal(size, STEMS, 2, samples)
        tail = noise * torch.exp(-6.9 * times_s / decay_s)[:, :, None]
        begin_s = 0.002 + 0.03 * self._uniform(size, STEMS, 1)
        tail = tail * (times_s > begin_s)[:, :, None]
        tail = tail / (tail.square().sum(-1, keepdim=True).sqrt() + 1e-6)
        wet = 10 ** (-(4 + 22 * self._uniform(size, STEMS, 1, 1)) / 20)
        chance = torch.tensor((0.4, 0.1, 0.4, 0.6), device=self.device)[:, None, None]
        wet = wet * (self._uniform(size, STEMS, 1, 1) < chance)
        delay_s = 0.008 + 0.02 * self._uniform(size, STEMS, 1)
        late = torch.polar(torch.ones(1, device=self.device), -2 * math.pi * self.hertz * delay_s)
        doubled = self._chance(size, STEMS, 1, part=0.12) * 0.6 * self._uniform(size, STEMS, 1)
        sides = torch.tensor([1.0, -1.0], device=self.device)[:, None]
        response = 1 + wet * torch.fft.rfft(tail, self.padded)
        return response + (doubled * late)[:, :, None] * sides

    def _compress(self, stems: Tensor) -> Tensor:
        """A compressor for some of the stems."""
        size = len(stems)
        gain = self._gain(stems.square().mean(2).flatten(0, 1)).view(size, STEMS, 1, -1)
        return torch.where(self._chance(size, STEMS, 1, 1, part=0.35), stems * gain, stems)

    def _gain(self, power: Tensor) -> Tensor:
        """The gain of a compressor for power of shape (rows, samples)."""
        hop = 512
        slow = functional.avg_pool1d(power[:, None], 2 * hop, hop, hop // 2)
        threshold = slow.mean(-1, keepdim=True) * 2 ** (4 * self._uniform(len(power), 1, 1) - 2.5)
        ratio = 0.5 * (0.2 + 0.6 * self._uniform(len(power), 1, 1))
        gain = (slow / (threshold + 1e-9)).clamp(min=1.0) ** -ratio
        return functional.interpolate(gain, power.shape[1], mode="linear")[:, 0]

    def _saturate(self, stems: Tensor) -> Tensor:
        """A soft curve, driven by up to 18 dB."""
        size = len(stems)
        peak = stems.abs().amax((2, 3), keepdim=True) + 1e-5
        drive = 10 ** (18 * self._uniform(size, STEMS, 1, 1) / 20)
        soft = (stems / peak * drive).tanh() * peak
        return torch.where(self._chance(size, STEMS, 1, 1, part=0.2), soft, stems)

    def _place(self, stems: Tensor) -> Tensor:
        """Width and place in stereo; some mixtures are mono."""
        size = len(stems)
        width = torch.where(
            self._chance(size, STEMS, part=0.4), 1.8 * self._uniform(size, STEMS), 1.0
        )
        mono = self._chance(size, 1, part=0.12)
        width = torch.where(mono, 0.0, width)[..., None]
        middle, side = stems.mean(2), (stems[:, :, 0] - stems[:, :, 1]) / 2 * width
        most = torch.tensor((15.0, 10.0, 42.0, 15.0), device=self.device)
        degrees = most * (2 * self._uniform(size, STEMS) - 1)
        degrees = degrees * self._chance(size, STEMS, part=0.6) * ~mono
        angle = (degrees * math.pi / 180 + math.pi / 4)[..., None]
        left, right = (middle + side) * angle.cos(), (middle - side) * angle.sin()
        return math.sqrt(2) * torch.stack([left, right], 2)

    def _master(self, stems: Tensor) -> Tensor:
        size = len(stems)
        mixture = stems.sum(1)
        gain = self._gain(mixture.square().mean(1))[:, None]
        gain = torch.where(self._chance(size, 1, 1, part=0.5), gain, 1.0)
        loud = (mixture * gain).abs()
        limit = loud.amax((1, 2), keepdim=True) * 10 ** (-8 * self._uniform(size, 1, 1) / 20)
        clipped = (limit / (loud + 1e-6)).clamp(max=1.0)
        gain = gain * torch.where(self._chance(size, 1, 1, part=0.3), clipped, 1.0)
        peak = (mixture * gain).abs().amax((1, 2), keepdim=True) + 1e-5
        level = 10 ** (-12 * self._uniform(size, 1, 1) / 20)
        return stems * (gain * level / peak)[:, None]

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _chance(self, *shape: int, part: float) -> Tensor:
        return self._uniform(*shape) < part


def _level(stems: Tensor) -> Tensor:
    """RMS of each stem: (batch, STEMS)."""
    return stems.square().mean((2, 3)).sqrt()
