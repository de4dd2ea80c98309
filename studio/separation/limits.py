"""Bounds on the networks that weights files describe.

Anyone can publish a bag on the Hugging Face hub, and the arguments of its networks and the length
of its segments decide how much memory the server needs. The released models set the scale.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

# The released hdemucs_mmi, mdx and mdx_extra use 44 s.
MAX_SEGMENT_S = 44.0
MIN_SEGMENT_S = 0.1
MAX_NETWORKS = 16
MAX_STEMS = 16
# The largest network of the demucs package has 134 million.
MAX_PARAMETERS = 200_000_000
# Samples of a segment times channels of the first layer: Demucs with 64 channels and 44 s.
MAX_ACTIVATIONS = 44 * 44_100 * 64
# Attention weights of one layer: htdemucs has 58 million.
MAX_ATTENTION = 256_000_000
# The largest release, mdx, has 0.7 GB.
MAX_DOWNLOAD_BYTES = 1_000_000_000
MAX_BAG_BYTES = 1 << 16

_NAME = re.compile(r"\w[\w.-]{0,63}")
_STEM = re.compile(r"\w[\w-]{0,31}")
# Inclusive ranges of the constructors' arguments that shape a network.
_RANGES: dict[str, tuple[float, float]] = {
    "audio_channels": (1, 8),
    "channels": (1, 512),
    "channels_time": (1, 512),
    "growth": (1, 2),
    "nfft": (64, 16_384),
    "wiener_iters": (0, 0),
    "end_iters": (0, 0),
    "depth": (1, 8),
    "lstm_layers": (0, 4),
    "kernel_size": (1, 32),
    "stride": (2, 8),
    "time_stride": (2, 8),
    "context": (0, 8),
    "context_enc": (0, 8),
    "norm_groups": (1, 64),
    "multi_freqs_depth": (0, 8),
    "dconv_mode": (0, 3),
    "dconv_depth": (0, 8),
    "dconv_comp": (1, 64),
    "bottom_channels": (0, 2048),
    "t_layers": (0, 16),
    "t_heads": (1, 32),
    "t_hidden_scale": (0.125, 8),
    "t_max_positions": (1, 100_000),
    # Sparse attention builds its masks densely first.
    "t_sparse_self_attn": (0, 0),
    "t_sparse_cross_attn": (0, 0),
    "samplerate": (8_000, 96_000),
    "segment": (MIN_SEGMENT_S, MAX_SEGMENT_S),
}


class OutOfBounds(ValueError):
    """A bag or a network that could take the server's memory; the text says what is too much."""


def check_bag(bag: Mapping[str, Any], file_name: str) -> None:
    """Raise OutOfBounds when a bag names too much, or its segment or weights cannot be used."""
    models = bag["models"]
    if len(models) > MAX_NETWORKS:
        raise OutOfBounds(
            f"{file_name} names {len(models)} networks; the maximum is {MAX_NETWORKS}"
        )
    if unusable := [name for name in models if not _NAME.fullmatch(name)]:
        raise OutOfBounds(
            f"{file_name} names the network {unusable[0]!r}, which is not a file name"
        )
    segment_s = bag.get("segment")
    if segment_s is not None:
        check_segment(segment_s, f"`segment` in {file_name}")
    weights = bag.get("weights")
    if weights is not None and not _is_matrix(weights):
        raise OutOfBounds(f"`weights` in {file_name} must have a row of numbers for each network")


def check_segment(segment_s: Any, where: str) -> None:
    """Raise OutOfBounds when a segment is not a number of seconds within the bounds."""
    if not _is_number(segment_s) or not MIN_SEGMENT_S <= segment_s <= MAX_SEGMENT_S:
        raise OutOfBounds(
            f"{where} is {_shown(segment_s)}; it must be between {MIN_SEGMENT_S} and "
            f"{MAX_SEGMENT_S:.0f} seconds"
        )


def check_arguments(arguments: Mapping[str, Any], segment_s: float | None = None) -> None:
    """Raise OutOfBounds when a network would take more memory than a released one may.

    `arguments` are those of its constructor, with their defaults; `segment_s` is the bag's own,
    which replaces the network's.
    """
    for name, (minimum, maximum) in _RANGES.items():
        value = arguments.get(name)
        if value is not None and not (_is_number(value, bool) and minimum <= value <= maximum):
            raise OutOfBounds(
                f"the argument {name} is {_shown(value)}; it must be between {minimum:g} and "
                f"{maximum:g}"
            )
    _check_stems(arguments.get("sources"))
    _check_bands(arguments.get("multi_freqs"))
    samples = float(segment_s or arguments["segment"]) * float(arguments["samplerate"])
    channels = max(arguments["channels"], arguments.get("channels_time") or 0)
    if samples * channels > MAX_ACTIVATIONS:
        raise OutOfBounds(
            f"{samples:,.0f} samples per segment with {channels} channels are too many; the "
            f"maximum of their product is {MAX_ACTIVATIONS:,}"
        )
    if arguments.get("t_layers"):
        _check_attention(arguments, samples)


def _check_attention(arguments: Mapping[str, Any], samples: float) -> None:
    reduced = float(arguments["stride"]) ** float(arguments["depth"])
    bins, frames = arguments["nfft"] / 2, 4 * samples / arguments["nfft"]
    positions = max(math.ceil(bins / reduced) * frames, samples / reduced)
    if positions**2 * arguments["t_heads"] > MAX_ATTENTION:
        raise OutOfBounds(
            f"attention over {positions:,.0f} positions with {arguments['t_heads']} heads is too "
            f"large; the maximum of heads times positions squared is {MAX_ATTENTION:,}"
        )


def _check_stems(sources: Any) -> None:
    """Stems become names of files and of tracks."""
    if (
        not isinstance(sources, list | tuple)
        or not 1 <= len(sources) <= MAX_STEMS
        or not all(isinstance(name, str) and _STEM.fullmatch(name) for name in sources)
        or len(set(sources)) < len(sources)
    ):
        raise OutOfBounds(
            f"the argument sources must be 1 to {MAX_STEMS} distinct names of letters and digits"
        )


def _check_bands(multi_freqs: Any) -> None:
    if multi_freqs and (
        not isinstance(multi_freqs, list | tuple)
        or len(multi_freqs) > 16
        or not all(_is_number(ratio) and 0 < ratio < 1 for ratio in multi_freqs)
    ):
        raise OutOfBounds("the argument multi_freqs must be at most 16 ratios between 0 and 1")


def _is_matrix(rows: Any) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) <= MAX_NETWORKS
        and all(isinstance(row, list) and len(row) <= MAX_STEMS for row in rows)
        and all(_is_number(weight) and weight >= 0 for row in rows for weight in row)
    )


def _is_number(value: Any, *also: type) -> bool:
    """Whether a value is a finite number; truth values are none unless `also` has their type."""
    if isinstance(value, bool) and bool not in also:
        return False
    return isinstance(value, int | float | Fraction) and math.isfinite(value)


def _shown(value: Any) -> str:
    text = f"{float(value):g}" if _is_number(value) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
