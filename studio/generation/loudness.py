"""Integrated loudness of a track, by ITU-R BS.1770-4, in one pass over its blocks."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.audio import Sound

BLOCK_S = 0.4
HOP_S = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691


def integrated_lufs(blocks: Iterable[Sound], rate_hz: int) -> float | None:
    """The loudness of blocks float32 (channels, samples) in LUFS; None for silence."""
    powers = _hop_powers(blocks, rate_hz)
    hops = round(BLOCK_S / HOP_S)
    if len(powers) < hops:
        return None
    window = np.ones(hops) / hops
    blocks_power = np.convolve(powers, window, mode="valid")
    heard = blocks_power[_lufs(blocks_power) > ABSOLUTE_GATE_LUFS]
    if len(heard) == 0:
        return None
    gate = _lufs(heard.mean()) + RELATIVE_GATE_LU
    return float(_lufs(heard[_lufs(heard) > gate].mean()))


def _lufs(power: Any) -> Any:
    return OFFSET_LUFS + 10.0 * np.log10(np.maximum(power, 1e-20))


def _hop_powers(blocks: Iterable[Sound], rate_hz: int) -> npt.NDArray[np.float64]:
    """The power of each hop of the weighted audio, summed over the channels."""
    from scipy.signal import sosfilt

    hop = round(HOP_S * rate_hz)
    sections = _weighting(rate_hz)
    state: npt.NDArray[np.float64] | None = None
    found: list[float] = []
    held = np.zeros(0)
    for block in blocks:
        if state is None:
            state = np.zeros((len(sections), block.shape[0], 2))
        weighted, state = sosfilt(sections, block.astype(np.float64), axis=1, zi=state)
        held = np.concatenate([held, (weighted**2).sum(axis=0)])
        whole = len(held) // hop
        found += held[: whole * hop].reshape(whole, hop).mean(axis=1).tolist()
        held = held[whole * hop :]
    return np.array(found)


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
