"""Mixes channels to mono without losing audio in opposite phase."""

import numpy as np
import numpy.typing as npt

from studio.audio.timeline import RENUMBER

# Options of `aresample`: channels are mixed as for integer samples, whose sum cannot exceed full
# scale. For float samples ffmpeg would add them up: 3 dB for two equal channels.
IN_SCALE = "rematrix_maxval=1"
Samples = npt.NDArray[np.float32]

WINDOW_S = 0.1
# Time constant of the channel levels.
MEMORY_S = 0.2
# The mean of uncorrelated channels has a relative power of 1. Below the first value the channels
# cancel out, until the power exceeds the second.
CANCELED, RESTORED = 0.06, 0.25
# Switch to another channel only if it has this much more power.
LOUDER = 2.0
# ffmpeg leaves the low-frequency effects (LFE) out of the mean, so a loud LFE channel does not mean
# that the others cancel out. With this weight, it is chosen only if the others are silent.
LFE_WEIGHT = 1e-6


def mono_graph(resampler: str, channels: int, renumber: str = RENUMBER) -> str:
    """A filter graph that outputs the mean of the first audio stream and then its channels."""
    # A stereo stream may change to mono, which `pan` alone would reject.
    layout = ":channel_layouts=stereo" if channels == 2 else ""
    # Channels without names stay in their order.
    copies = "|".join(f"c{number}=c{number}" for number in range(channels))
    return (
        f"[0:a:0]{renumber},asplit[a][b];"
        f"[a]{resampler}:ochl=mono:{IN_SCALE},aformat=sample_fmts=flt:channel_layouts=mono[mean];"
        f"[b]{resampler},aformat=sample_fmts=flt{layout},pan={channels}C|{copies}[each];"
        "[mean][each]amerge[out]"
    )


class MonoMixer:
    """The mean of the channels of a stream, or the loudest one where they cancel out.

    Voices in opposite phase are common: a cable with wrong polarity, or a balanced signal recorded
    as stereo.
    """

    def __init__(self, rate_hz: int, lfe: int | None = None) -> None:
        """`lfe` is the index of the LFE channel, if there is one."""
        self._window = max(1, round(WINDOW_S * rate_hz))
        self._memory = MEMORY_S * rate_hz
        self._lfe = lfe
        self._mean_energy = 0.0
        self._energies: npt.NDArray[np.float64] | None = None
        self._chosen: int | None = None

    def mix(self, mean: Samples, channels: Samples) -> Samples:
        """Mix the next samples: `mean` (samples,) of `channels` (channels, samples)."""
        mixed = mean
        for start in range(0, len(mean), self._window):
            window = slice(start, start + self._window)
            before = self._chosen
            self._choose(mean[window], channels[:, window])
            if before is None and self._chosen is None:
                continue
            if mixed is mean:
                mixed = mean.copy()
            old = mean[window] if before is None else channels[before, window]
            new = mean[window] if self._chosen is None else channels[self._chosen, window]
            fade = np.linspace(0, 1, len(new), dtype=np.float32)
            mixed[window] = new if before == self._chosen else old + fade * (new - old)
        return mixed

    def _choose(self, mean: Samples, channels: Samples) -> None:
        """Update the levels with a window, and choose the signal for it."""
        kept = float(np.exp(-len(mean) / self._memory))
        if self._energies is None:
            self._energies = np.zeros(len(channels))
        added = np.square(channels, dtype=float).sum(1)
        if self._lfe is not None:
            added[self._lfe] *= LFE_WEIGHT
        energies = self._energies = kept * self._energies + added
        self._mean_energy = kept * self._mean_energy + float(np.square(mean, dtype=float).sum())
        unrelated = float(energies.sum()) / len(channels) ** 2
        if self._mean_energy > RESTORED * unrelated:
            self._chosen = None
        elif self._mean_energy < CANCELED * unrelated or self._chosen is not None:
            loudest = int(energies.argmax())
            if self._chosen is None or energies[loudest] > LOUDER * energies[self._chosen]:
                self._chosen = loudest
