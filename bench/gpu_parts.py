"""The parts of `bench.gpu`: each calls workers and gives the lines of its section."""

from collections.abc import Callable, Iterator
from math import log10
from statistics import median
from typing import Any

from bench.gpu_bench import Bench, PartFailed, Result

SONG_S = 240.0
TOKENS = 25
SIZES = ("base", "large-v3")
SPEECH = {"faster-whisper": "transcription_theirs", "this server": "transcription_ours"}
GB = 1e9
_SONGS = ("separation_prepare", {"seconds": SONG_S})
_MUSIC: tuple[str, dict[str, Any]] = ("generation_prepare", {})
_SPEECH = [("transcription_prepare", {"size": size}) for size in SIZES]
PREPARATION: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "separation": [_SONGS],
    "generation": [_MUSIC],
    "transcription": _SPEECH,
    "memory": [_SONGS, _MUSIC, *_SPEECH],
}
"""Workers that make what those of the parts need."""


def separation(bench: Bench) -> Iterator[str]:
    rounds: dict[str, list[Result]] = {"separation_theirs": [], "separation_ours": []}
    for _ in range(bench.rounds):
        for worker, costs in rounds.items():
            costs.append(bench.call(worker, 60, songs=1))
    theirs = bench.call("separation_theirs", 90, songs=4)
    ours = bench.call("separation_ours", 90, songs=4)
    whole = [median(cost["wall_s"] for cost in costs) for costs in rounds.values()]
    yield (
        f"htdemucs of full size, random weights; a song of {SONG_S:.0f} s as WAV. The command line "
        "of demucs writes 16-bit files, this server 32-bit ones. `Process`: a process that "
        f"separates one song, from its start to its end, median of {bench.rounds} that take turns. "
        "`Further songs`: the median of what each took after the first, in one process. `4 songs`: "
        "demucs one after the other, this server at once; loading is not counted. demucs does not "
        "wait until files are on the disk, and neither do these figures."
    )
    yield ""
    yield "| | process | load | first song | further songs | 4 songs | device memory |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    rows = [
        ("`python -m demucs.separate -d cuda`, f32", whole[0], theirs, sum(theirs["songs_s"])),
        (f"this server, {ours['precision']}", whole[1], ours, ours["together_s"]),
    ]
    for name, wall_s, cost, four_s in rows:
        yield (
            f"| {name} | {wall_s:.1f} s | {cost['load_s']:.1f} s | {cost['songs_s'][0]:.2f} s | "
            f"{median(cost['songs_s'][1:]):.2f} s | {four_s:.1f} s | {_gb(cost)} |"
        )
    ratios = [
        whole[0] / whole[1],
        theirs["songs_s"][0] / ours["songs_s"][0],
        median(theirs["songs_s"][1:]) / median(ours["songs_s"][1:]),
        rows[0][3] / rows[1][3],
    ]
    yield (
        f"| times as fast | {ratios[0]:.2f} | | {ratios[1]:.2f} | {ratios[2]:.2f} | "
        f"{ratios[3]:.2f} | |"
    )
    yield ""
    yield "Against its own result on the CPU in f32, 20 s (full scale is 1):"
    yield ""
    yield "| weights | relative error | below the stems | largest difference |"
    yield "|---|---:|---:|---:|"
    variants = {"htdemucs": "random, full size", "mini": "bundled, trained"}
    parities = bench.at_once(90, [("separation_parity", {"variant": name}) for name in variants])
    for weights, parity in zip(variants.values(), parities, strict=True):
        error = parity["relative"]
        yield (
            f"| {weights} | {error:.1e} | {-20 * log10(max(error, 1e-12)):.1f} dB | "
            f"{parity['largest']:.1e} |"
        )


def generation(bench: Bench) -> Iterator[str]:
    ours = bench.call("generation_ours", 120, seconds=bench.music_s)
    rows = [(f"this server, {ours['precision']}", ours, median(ours["songs_s"]))]
    steps = round(bench.music_s * 50) + 3
    # Full runs would take too long, above all in half precision.
    for precision, share in (("f16", 6), ("f32", 2)):
        theirs = bench.call(
            "generation_theirs", 110, seconds=bench.music_s / share, precision=precision
        )
        step_s = theirs["song_s"] / (round(bench.music_s / share * 50) + 3)
        rows.append((f"`generate` of transformers, {precision}", theirs, step_s * steps))
    yield (
        f"MusicGen of small size, random weights; {bench.music_s:.0f} s of music with guidance and "
        f"sampling, {steps} steps and the codec. This server: median of {len(ours['songs_s'])} "
        "runs. transformers: one run after a short warm-up, half as long (a sixth in half "
        "precision), extrapolated to the full length."
    )
    yield ""
    yield "| | load | music | a step | device memory | times as fast as f16 | as f32 |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, cost, wall_s in rows:
        yield (
            f"| {name} | {cost['load_s']:.1f} s | {wall_s:.1f} s | "
            f"{1000 * wall_s / steps:.2f} ms | {_gb(cost)} | {rows[1][2] / wall_s:.2f} | "
            f"{rows[2][2] / wall_s:.2f} |"
        )
    yield ""
    yield (
        f"Four jobs at once on this server: {ours['together_s']:.1f} s, "
        f"{4 * rows[0][2] / ours['together_s']:.2f} times as fast as one after the other, with "
        f"{ours['device_bytes_together'] / GB:.1f} GB of device memory."
    )
    parity = bench.call("generation_parity", 90, steps=50)
    yield ""
    yield (
        f"Against its own result on the CPU in f32, {parity['steps']} steps on the same "
        f"codes: relative error of the logits {parity['logits']:.1e}, the likeliest code the same "
        f"in {parity['same']:.1%}; of the codec's sound {parity['codec']:.1e}."
    )


def transcription(bench: Bench) -> Iterator[str]:
    yield (
        "Random weights with the vocabulary of the bundled model; 8 windows of 29 s, "
        f"{TOKENS} tokens each, beam 5, without word times. `One by one`: 4 of them, one at a "
        "time; `8 together`: "
        "`BatchedInferencePipeline` of faster-whisper, and `batch_size` 8 on this server. "
        f"Medians of {bench.rounds} processes of each, which take turns; `4 jobs at once`: in the "
        "last one."
    )
    yield ""
    yield "| size | | load | one by one | 8 together | 4 jobs at once | device memory |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    notes: list[str] = []
    for size in SIZES:
        costs = _speech_costs(bench, size, notes)
        for name, cost in costs.items():
            notes += [f"This server, {size}: {cost['note']}"] if cost.get("note") else []
            yield (
                f"| {size} | {name}, {cost['precision']} | {cost['load_s']:.1f} s | "
                f"{cost['single_s']:.2f} s | {cost['batch_s']:.2f} s | "
                f"{cost['together_s']:.2f} s | {_gb(cost)} |"
            )
        if len(costs) == 2:
            ratios = [
                f"{costs['faster-whisper'][key] / costs['this server'][key]:.2f}"
                for key in ("single_s", "batch_s", "together_s")
            ]
            yield f"| {size} | times as fast | | {' | '.join(ratios)} | |"
    parities = bench.at_once(60, [("transcription_parity", {"size": size}) for size in SIZES])
    for size, parity in zip(SIZES, parities, strict=True):
        notes.append(
            f"{size}: relative error of the encoder on the device in float16 against the CPU in "
            f"float32 {parity['relative']:.1e}."
        )
    yield ""
    yield from notes


def _speech_costs(bench: Bench, size: str, notes: list[str]) -> dict[str, Result]:
    """What each program takes, by name; one that fails is left out, and noted."""
    rounds: dict[str, list[Result]] = {name: [] for name in SPEECH}
    for number in range(bench.rounds):
        is_last = number == bench.rounds - 1
        for name in list(rounds):
            try:
                cost = bench.call(SPEECH[name], 75, size=size, tokens=TOKENS, together=is_last)
            except PartFailed as error:
                notes.append(f"{name}, {size}: {error}.")
                del rounds[name]
            else:
                rounds[name].append(cost)
    timed = ("load_s", "single_s", "batch_s")
    return {
        name: {**costs[-1], **{key: median(cost[key] for cost in costs) for key in timed}}
        for name, costs in rounds.items()
    }


def memory(bench: Bench) -> Iterator[str]:
    yield (
        "After the model is loaded, a tensor fills the card's memory except for the amount given. "
        "Errors are relative to the same work with enough memory."
    )
    yield ""
    yield "| | memory left | time | relative error | `note` of the result |"
    yield "|---|---:|---:|---:|---|"
    for title, worker, given in (
        ("separation of 20 s", "separation_full", {"left_mib": [600, 100]}),
        ("codec, 10 s of music", "generation_full", {"left_mib": [20]}),
        ("speech, 8 windows", "transcription_full", {"left_mib": [150, 10], "size": "base"}),
    ):
        for cost in bench.call(worker, 75, **given)["cases"]:
            error = f"{cost['relative']:.1e}" if "relative" in cost else ""
            yield (
                f"| {title} | {cost['left_mib']} MiB | {cost['full_s']:.1f} s | {error} | "
                f"{cost['note']} |"
            )


def _gb(cost: Result) -> str:
    return f"{cost['device_bytes'] / GB:.1f} GB"


PARTS: dict[str, tuple[str, Callable[[Bench], Iterator[str]]]] = {
    "separation": ("Separation", separation),
    "generation": ("Music", generation),
    "transcription": ("Speech to text", transcription),
    "memory": ("Too little memory", memory),
}
