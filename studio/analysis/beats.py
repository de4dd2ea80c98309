"""Beats along a tempo path, by dynamic programming: Ellis, "Beat tracking by dynamic programming",
Journal of New Music Research, 2007.
"""

import numpy as np

from studio.analysis.frames import Floats
from studio.analysis.onsets import FPS, Onsets, at, smoothed
from studio.jobs.job import Report

# How much an uneven beat costs: TIGHTNESS * log(distance / period)².
TIGHTNESS = 1000.0
# The flux of an onset is strongest this long before the onset, in seconds.
LEAD_S = 0.004
# Beats through which a line is fitted, which removes the jitter of frames.
NEIGHBOURS = 5
REPORT_EVERY = 4096
# Beats at each end from which beats are continued where nothing is played.
END_BEATS = 9
# Where the off-beat lies between two beats: in the middle, or late if the song swings. First and
# last place that are tried, and the step.
OFF_BEAT_PLACES = (0.30, 0.70, 0.01)
OFF_BEAT_WIDTH = 0.15


def track(onsets: Onsets, periods: Floats, report: Report) -> Floats:
    """The times of beats in seconds, along `periods` (frames,), from the first sound to the last.

    Kick drums and basses count as much as everything together.
    """
    whole, low = onsets.band(0), onsets.band(1)
    strength = smoothed(whole / (whole.std() + 1e-9) + low / (low.std() + 1e-9), 1.5)
    strength = strength / (strength.std() + 1e-9)
    times_s = np.array(_best_path(strength, periods, report)) / FPS + LEAD_S
    return _extended(_even(times_s), onsets.audible_s or (0.0, 0.0))


def _best_path(strength: Floats, periods: Floats, report: Report) -> list[int]:
    count = len(strength)
    total = np.zeros(count)
    back = np.full(count, -1, np.int32)
    costs: dict[int, tuple[int, Floats]] = {}
    for frame in range(count):
        if frame % REPORT_EVERY == 0:
            report("finding beats", frame / count)
        # A tenth of a frame is close enough, so that costs are computed once for each length.
        key = round(10 * periods[frame])
        if key not in costs:
            costs[key] = _costs(key / 10)
        nearest, cost = costs[key]
        total[frame] = strength[frame]
        last = frame - nearest
        if last < 0:
            continue
        first = max(0, last - len(cost) + 1)
        reached = total[first : last + 1] - cost[len(cost) - (last - first + 1) :]
        best = int(reached.argmax())
        if reached[best] > 0:
            total[frame] += reached[best]
            back[frame] = first + best
    # The last beat is within the last period.
    begin = max(0, count - int(periods[-1]))
    frame = begin + int(total[begin:].argmax())
    path = []
    while frame >= 0:
        path.append(frame)
        frame = int(back[frame])
    return path[::-1]


def _costs(period: float) -> tuple[int, Floats]:
    """The nearest distance of two beats, and the costs of all distances, the longest first."""
    nearest, longest = round(period / 2), round(2 * period)
    distances = np.arange(longest, nearest - 1, -1)
    costs: Floats = TIGHTNESS * np.log(distances / period) ** 2
    return nearest, costs


def _even(times_s: Floats) -> Floats:
    """Beats without the jitter of frames: on a line through their neighbours."""
    from scipy.signal import savgol_filter

    if len(times_s) < NEIGHBOURS:
        return times_s
    even_s: Floats = savgol_filter(times_s, NEIGHBOURS, 1)
    return even_s


def _extended(times_s: Floats, audible_s: tuple[float, float]) -> Floats:
    """Beats that also cover the sound before the first and after the last of them."""
    if len(times_s) < 2:
        return times_s
    first_s, last_s = gap_at_start_s(times_s), gap_at_start_s(-times_s[::-1])
    # A beat that is heard a moment before the sound begins is the beat on which it begins.
    count = int((times_s[0] - audible_s[0] + 0.2 * first_s) // first_s)
    before = times_s[0] - first_s * np.arange(max(0, count), 0, -1)
    count = int((audible_s[1] - times_s[-1]) // last_s)
    after = times_s[-1] + last_s * np.arange(1, max(0, count) + 1)
    extended_s: Floats = np.maximum(np.concatenate([before, times_s, after]), 0)
    return extended_s


def gap_at_start_s(times_s: Floats) -> float:
    """The usual distance of the first beats, with which they are continued before the first one."""
    return float(np.median(np.diff(times_s[:END_BEATS])))


def with_off_beats(onsets: Onsets, times_s: Floats) -> Floats:
    """Beats and, between them, off-beats: (2 * beats - 1,)."""
    gaps_s = np.diff(times_s)
    first, last, step = OFF_BEAT_PLACES
    places = np.arange(first, last + step / 2, step)
    strength = smoothed(onsets.band(0), 1.5)
    strengths = [at(strength, times_s[:-1] + place * gaps_s).mean() for place in places]
    likely = np.exp(-0.5 * ((places - 0.5) / OFF_BEAT_WIDTH) ** 2)
    place = places[int((np.array(strengths) * likely).argmax())]
    both = np.empty(2 * len(times_s) - 1)
    both[::2] = times_s
    both[1::2] = times_s[:-1] + place * gaps_s
    return both
