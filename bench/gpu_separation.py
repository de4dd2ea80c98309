"""Workers of `bench.gpu` for separation."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import material
from bench.gpu_measure import TOGETHER, Result, at_once_s, peak_bytes, relative


def separation_prepare(home: Path, seconds: float) -> Result:
    material.full_size_weights(home)
    for number in range(TOGETHER):
        material.song(home / f"song{number}.wav", seconds, start_s=number)
    material.song(home / "short.wav", 20.0)
    return {}


def separation_theirs(home: Path, songs: int) -> Result:
    """The command line of demucs; when it loads, and what each song takes, is watched."""
    import sys

    began_s = time.monotonic()
    from demucs import api, separate

    at_s: list[float] = []
    separate_file = api.Separator.separate_audio_file

    def watched(self: Any, file: Path) -> Any:
        at_s.append(time.monotonic())
        return separate_file(self, file)

    api.Separator.separate_audio_file = watched
    command = ["-n", "htdemucs", "-d", "cuda", "--repo", str(home / "demucs")]
    command += ["-o", str(home / "theirs"), *_songs(home, songs)]
    sys.argv = ["demucs.separate", *command]
    separate.main(command)
    at_s.append(time.monotonic())
    return {
        "load_s": at_s[0] - began_s,
        "songs_s": list(np.diff(at_s)),
        "device_bytes": peak_bytes(),
    }


def separation_ours(home: Path, songs: int) -> Result:
    """The server's engine on the same files; four songs also at once."""
    began_s = time.monotonic()
    bag = bag_of(home, "auto", "auto")
    load_s = time.monotonic() - began_s
    songs_s = [separated_s(bag, Path(song)) for song in _songs(home, songs)]
    found: Result = {"load_s": load_s, "songs_s": songs_s, "note": bag.note}
    found |= {"engine": bag.engine, "precision": bag.precision, "device_bytes": peak_bytes()}
    found["batch"] = [member.network.batch for member in bag.members]
    if songs > 1:
        found["together_s"] = at_once_s([
            partial(separated_s, bag, Path(song)) for song in _songs(home, songs)
        ])  # fmt: skip
        found["device_bytes"] = peak_bytes()
    return found


def separation_parity(home: Path, variant: str) -> Result:
    """The stems on the device against those on the CPU."""
    from studio.audio import read_blocks

    sounds = []
    for engine, device in (("torch", "cpu"), ("auto", "auto")):
        bag = bag_of(home, engine, device, variant)
        with tempfile.TemporaryDirectory(dir=home) as work:
            separated(bag, home / "short.wav", Path(work))
            sounds.append([
                np.concatenate(list(read_blocks(Path(work) / f"{stem}.wav")), axis=1)
                for stem in bag.sources
            ])  # fmt: skip
    exact, found = (np.stack(stems) for stems in sounds)
    return {"relative": relative(found, exact), "largest": float(np.abs(found - exact).max())}


def _songs(home: Path, count: int) -> list[str]:
    return [str(home / f"song{number}.wav") for number in range(count)]


def bag_of(home: Path, engine: str, device: str, variant: str = "htdemucs") -> Any:
    from studio.inference.engine_settings import EngineSettings
    from studio.separation.catalogue import DemucsCatalogue
    from studio.separation.load import load

    catalogue = DemucsCatalogue(material.ROOT / "pretrained" / "demucs-mini", home / "demucs", home)
    settings = EngineSettings(engine, "auto", 0, home / "graphs", device)
    return load(catalogue, variant, settings)


def separated_s(bag: Any, song: Path) -> float:
    with tempfile.TemporaryDirectory(dir=song.parent) as folder:
        began_s = time.monotonic()
        separated(bag, song, Path(folder))
        return time.monotonic() - began_s


def separated(bag: Any, song: Path, work: Path) -> Any:
    """The result of a job; its stems are in `work`."""
    from studio import audio
    from studio.family import JobContext
    from studio.separation.options import SeparationOptions
    from studio.separation.separate import separate
    from studio.sources import Source

    context = JobContext(SeparationOptions(), work)
    return separate(bag, Source(song, audio.duration_s(song)), context)
