"""`python -m bench.estimate`: what many songs a day need, from the figures of docs/benchmarks.md.

It prints the table of docs/scaling.md. Prices are assumptions; give your own.
"""

import argparse
import re
from dataclasses import dataclass

from bench.report import REPORT
from studio.audio import PEAKS_FORMATS

DAY_S = 86_400
# Stems are stored as stereo at 44.1 kHz with 32-bit samples.
STEMS, STEM_BYTES_PER_S = 4, 44_100 * 2 * 4
# The objects that a store lists in one answer.
LISTED_AT_ONCE = 1000
SEPARATION = "Separation: one song"
# The lengths of the songs that were measured.
CPU_SONG_S, GPU_SONG_S = 120, 240


@dataclass(frozen=True)
class Load:
    """Songs a day, their length, how much more than the mean the peak is, and how busy machines
    may be at the peak. Files are kept for `retention_h`."""

    songs: int
    minutes: float
    peak: float
    busy: float
    retention_h: float
    kbit_s: int

    def machines(self, seconds_per_song: float) -> float:
        return self.songs * seconds_per_song * self.peak / DAY_S / self.busy

    @property
    def upload_bytes(self) -> float:
        return self.kbit_s * 1000 / 8 * self.minutes * 60

    @property
    def stems_bytes(self) -> float:
        return STEMS * STEM_BYTES_PER_S * self.minutes * 60

    @property
    def kept_songs(self) -> float:
        return self.songs * self.retention_h / 24


def measured(pattern: str, *, title: str) -> dict[str, float]:
    """The figure that a pattern finds in each section with a title, by the machine."""
    sections = re.split(r"^## ", REPORT.read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, float] = {}
    for section in sections:
        heading = section.partition("\n")[0]
        match = re.search(pattern, section)
        if heading.startswith(f"{title} (") and match:
            found[heading.removeprefix(f"{title} (")[:-1]] = float(match[1].replace(",", ""))
    if not found:
        raise SystemExit(f"docs/benchmarks.md has no figure for {pattern!r} under {title!r}.")
    return found


def workers(load: Load, options: argparse.Namespace) -> list[str]:
    """A row for each processor that was measured."""
    rows = []
    cpu = measured(r"\| this server, `auto` \| ([\d.]+) s", title=SEPARATION)
    gpu = measured(r"\| this server, f16 \|(?:[^|]*\|){3} ([\d.]+) s", title="CUDA")
    kinds = [(cpu, CPU_SONG_S, "2 cores of", options.cpu_price)]
    kinds += [(gpu, GPU_SONG_S, "", options.gpu_price)]
    for figures, song_s, prefix, price in kinds:
        for machine, seconds in figures.items():
            each_s = seconds * load.minutes * 60 / song_s
            number = load.machines(each_s)
            cost = number * 24 * price
            rows.append(
                f"| workers with {prefix} {machine}".replace("  ", " ")
                + f" | {each_s:.1f} s per song | {number:,.0f} | ${cost:,.0f} |"
            )
    return rows


def estimate(load: Load, options: argparse.Namespace) -> list[str]:
    rate = load.songs / DAY_S
    peak = rate * load.peak
    queue = measured(r"≥ 40 jobs/s \| (\d+) jobs/s", title="Many machines")
    row_bytes = measured(r"([\d,]+) bytes per job", title="Many machines")
    slowest, largest = min(queue.values()), max(row_bytes.values())
    objects = load.kept_songs * (1 + STEMS * (1 + len(PEAKS_FORMATS)))
    kept_bytes = load.kept_songs * (load.upload_bytes + load.stems_bytes)
    return [
        f"{load.songs:,} songs of {load.minutes:.0f} minutes a day are {rate:.1f} jobs/s, and "
        f"{peak:.0f} jobs/s at a peak of {load.peak:.0f} times the mean. At the "
        f"peak, machines are {load.busy:.0%} busy. Uploads are encoded at {load.kbit_s} kbit/s and "
        "kept for "
        f"{load.retention_h:.0f} h (`RETENTION_HOURS`).",
        "",
        "| what | each | number | cost a day |",
        "|---|---:|---:|---:|",
        *workers(load, options),
        f"| queue, jobs/s at the peak | {slowest:.0f} jobs/s measured | {peak:.0f} jobs/s | |",
        f"| rows in `jobs` | {largest:,.0f} bytes | {load.kept_songs:,.0f}, "
        f"{load.kept_songs * largest / 1e9:.1f} GB | |",
        f"| files in the store | {(load.upload_bytes + load.stems_bytes) / 1e6:.0f} MB per song | "
        f"{kept_bytes / 1e12:,.0f} TB | ${kept_bytes / 1e12 * options.tb_price / 30:,.0f} |",
        f"| traffic from workers to the store | {load.stems_bytes / 1e6:.0f} MB per song | "
        f"{peak * load.stems_bytes * 8 / 1e9:,.0f} Gbit/s at the peak | |",
        f"| requests of a sweep | 1 per {LISTED_AT_ONCE:,} objects | "
        f"{objects / LISTED_AT_ONCE:,.0f} every 10 minutes | |",
        "",
        f"Assumed prices: ${options.cpu_price:.2f} an hour for a machine with 2 cores, "
        f"${options.gpu_price:.2f} for one with a GPU, ${options.tb_price:.2f} a month for 1 TB.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=1_000_000, help="songs a day")
    parser.add_argument("--minutes", type=float, default=4.0, help="length of a song")
    parser.add_argument(
        "--peak", type=float, default=3.0, help="peak load, in multiples of the mean"
    )
    parser.add_argument("--busy", type=float, default=0.7, help="load of the machines at the peak")
    parser.add_argument("--retention", type=float, default=24.0, help="hours that files are kept")
    parser.add_argument("--kbit", type=int, default=256, help="bit rate of uploads, in kbit/s")
    parser.add_argument("--cpu-price", type=float, default=0.08, help="dollars an hour for 2 cores")
    parser.add_argument("--gpu-price", type=float, default=3.0, help="dollars an hour for a GPU")
    parser.add_argument("--tb-price", type=float, default=23.0, help="dollars a month for 1 TB")
    options = parser.parse_args()
    load = Load(
        options.songs,
        options.minutes,
        options.peak,
        options.busy,
        options.retention,
        options.kbit,
    )
    print("\n".join(estimate(load, options)))


if __name__ == "__main__":
    main()
