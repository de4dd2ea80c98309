"""Integrated loudness by ITU-R BS.1770-4, in one pass over the blocks of a track."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.audio.sound import Sound

BLOCK_S = 0.4
HOP_S = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691


class LoudnessMeter:
    """Measures a stream of blocks float32 (channels, samples)."""

    def __init__(self, rate_hz: int) -> None:
        self._hop = round(HOP_S * rate_hz)
        self._sections = _weighting(rate_hz)
        self._state: npt.NDArray[np.float64] | None = None
        self._powers: list[npt.NDArray[np.float64]] = []
        self._held = np.zeros(0)

    def add(self, block: Sound) -> None:
        """Measure the next block. All blocks have the same number of channels."""
        from scipy.signal import sosfilt

        if self._state is None:
            self._state = np.zeros((len(self._sections), block.shape[0], 2))
        weighted, self._state = sosfilt(
            self._sections, block.astype(np.float64), axis=1, zi=self._state
        )
        held = np.concatenate([self._held, (weighted**2).sum(axis=0)])
        whole = len(held) // self._hop
        self._powers.append(held[: whole * self._hop].reshape(whole, self._hop).mean(axis=1))
        self._held = held[whole * self._hop :]

    def integrated_lufs(self) -> float | None:
        """The loudness of all blocks in LUFS; None for silence, and below 0.4 s."""
        powers = np.concatenate([np.zeros(0), *self._powers])
        hops = round(BLOCK_S / HOP_S)
        if len(powers) < hops:
            return None
        blocks_power = np.convolve(powers, np.ones(hops) / hops, mode="valid")
        heard = blocks_power[_lufs(blocks_power) > ABSOLUTE_GATE_LUFS]
        if len(heard) == 0:
            return None
        gate = _lufs(heard.mean()) + RELATIVE_GATE_LU
        return float(_lufs(heard[_lufs(heard) > gate].mean()))


def integrated_lufs(blocks: Iterable[Sound], rate_hz: int) -> float | None:
    """The loudness of blocks float32 (channels, samples) in LUFS; None for silence."""
    meter = LoudnessMeter(rate_hz)
    for block in blocks:
        meter.add(block)
    return meter.integrated_lufs()


def _lufs(power: Any) -> Any:
    return OFFSET_LUFS + 10.0 * np.log10(np.maximum(power, 1e-20))


def _weighting(rate_hz: int) -> npt.NDArray[np.float64]:
    """The K weighting for any rate: a high shelf for the head, and a high-pass.

    The standard gives coefficients for 48 kHz only; these are the underlying analogue filters.
    """
    k = np.tan(np.pi * 1681.974450955533 / rate_hz)
    gain = 10 ** (3.999843853973347 / 20)
    middle = gain**0.4996667741545416
    q = 0.7071752369554196
    shelf = [
        gain + middle * k / q + k * k,
        2 * (k * k - gain),
        gain - middle * k / q + k * k,
        1 + k / q + k * k,
        2 * (k * k - 1),
        1 - k / q + k * k,
    ]
    k = np.tan(np.pi * 38.13547087602444 / rate_hz)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    high_pass = [scale, -2 * scale, scale, scale, 2 * (k * k - 1), 1 - k / q + k * k]
    return np.array([np.array(shelf) / shelf[3], np.array(high_pass) / scale])
