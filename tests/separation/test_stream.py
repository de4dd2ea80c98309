"""The streamed separation is that of demucs itself, sample for sample."""

import copy
import dataclasses
import json
import random
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from demucs import apply
from demucs.hf import load_safetensors_model

from studio.errors import UnknownStem
from studio.separation.arrays import TorchArrays
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.group_norm import spread_group_norms
from studio.separation.load import load
from studio.separation.mixture import Statistics
from studio.separation.network import Bag, Stems, Windows
from studio.separation.stream import SHIFT_SEED, Separation
from studio.separation.torch_engine import TorchNetwork
from tests.support.demucs_models import TORCH
from tests.support.server import ROOT
from tests.support.sounds import SONG, Sound, decode_all, noise, read_sound, write_wav

BUNDLED = ROOT / "pretrained" / "demucs-mini"
TOLERANCE = 1e-4
ALL = [0, 1, 2, 3]
SEGMENT = 44_100  # of the bag `tiny`
STRIDE = int(0.75 * SEGMENT)


@cache
def bag_of(weights: Path, name: str) -> Bag:
    return load(DemucsCatalogue(BUNDLED, weights / "demucs"), name, TORCH)


@cache
def demucs_bag(weights: Path, name: str) -> apply.BagOfModels:
    """The same bag as demucs builds it."""
    if name == "mini":
        return apply.BagOfModels([load_safetensors_model(BUNDLED / "model.safetensors")])
    bag = yaml.safe_load((weights / "demucs" / f"{name}.yaml").read_text())
    files = [weights / "demucs" / f"{signature}.safetensors" for signature in bag["models"]]
    return apply.BagOfModels(list(map(load_safetensors_model, files)), bag.get("weights"))


def reference(bag: apply.BagOfModels, sound: Sound, **options: Any) -> Stems:
    """Stems of a whole song in memory, normalised as `python -m demucs.separate` does.

    The mean is given back once, in equal shares, where that program gives it to every stem.
    """
    mixture = torch.from_numpy(sound)
    mono = mixture.mean(0)
    deviation = mono.std() if len(mono) > 1 else torch.tensor(0.0)
    normalised = (mixture - mono.mean()) / (deviation + 1e-8)
    stems = apply.apply_model(bag, normalised[None], **{"shifts": 0, **options})[0]
    result: Stems = (stems * (deviation + 1e-8) + mono.mean() / len(stems)).numpy()
    return result


def blocks_of(sound: Sound) -> Iterator[Sound]:
    """The sound in blocks of uneven lengths, as a decoder might give them."""
    lengths = random.Random(1)
    start = 0
    while start < sound.shape[1]:
        stop = start + lengths.choice([1, 777, 44_100, 131_072])
        yield sound[:, start:stop]
        start = stop


def streamed(bag: Bag, sound: Sound, stems: list[int] | None = None, **options: Any) -> Stems:
    statistics = Statistics.of(blocks_of(sound))
    separation = Separation(bag, blocks_of(sound), statistics, stems or ALL, **options)
    mixtures, parts = zip(*separation.run(lambda _done: None), strict=True)
    assert np.array_equal(np.concatenate(mixtures, axis=1), sound)
    return np.concatenate(parts, axis=2)


def assert_same(ours: Stems, theirs: Stems) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert np.abs(theirs).max() > 100 * TOLERANCE, "the reference is too quiet to compare with"
    assert np.abs(ours - theirs).max() < TOLERANCE


LONG = 5 * STRIDE + 4_321


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        *(("tiny", samples) for samples in (2, 1_000, SEGMENT - 1, SEGMENT, SEGMENT + 1)),
        *(("tiny", samples) for samples in (STRIDE, STRIDE + 1, 2 * STRIDE, LONG)),
        *(("tiny_mixed", samples) for samples in (2, SEGMENT + 1, 2 * STRIDE)),
        *(("swift", samples) for samples in (2, 1_000)),
        *(pytest.param(name, LONG, marks=pytest.mark.slow) for name in ("tiny_mixed", "swift")),
    ],
)
def test_the_stream_equals_demucs(weights: Path, name: str, samples: int) -> None:
    sound = noise(samples / 44_100) + np.float32(0.1)
    ours = streamed(bag_of(weights, name), sound)
    assert_same(ours, reference(demucs_bag(weights, name), sound))


def test_a_single_sample(weights: Path) -> None:
    sound = np.array([[0.5], [0.25]], np.float32)
    ours = streamed(bag_of(weights, "tiny"), sound)
    assert_same(ours, reference(demucs_bag(weights, "tiny"), sound))


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 0.75])
@pytest.mark.parametrize("name", ["tiny", pytest.param("tiny_mixed", marks=pytest.mark.slow)])
def test_any_overlap_equals_demucs(weights: Path, name: str, overlap: float) -> None:
    sound = noise(1.7)
    ours = streamed(bag_of(weights, name), sound, overlap=overlap)
    assert_same(ours, reference(demucs_bag(weights, name), sound, overlap=overlap))


@pytest.mark.parametrize("samples", [500, 100_000])
@pytest.mark.parametrize(
    ("name", "shifts"),
    [("tiny", 1), ("tiny", 3), pytest.param("tiny_mixed", 2, marks=pytest.mark.slow)],
)
def test_shifts_equal_demucs_with_the_same_offsets(
    weights: Path, monkeypatch: pytest.MonkeyPatch, name: str, shifts: int, samples: int
) -> None:
    # The networks draw from the module `random` as well; only the offsets are to be the same.
    monkeypatch.setattr(apply, "random", random.Random(SHIFT_SEED))
    sound = noise(samples / 44_100)
    bag = bag_of(weights, name)
    ours = streamed(bag, sound, shifts=shifts)
    assert_same(ours, reference(demucs_bag(weights, name), sound, shifts=shifts))
    assert np.array_equal(ours, streamed(bag, sound, shifts=shifts))


def test_memory_does_not_grow_with_the_number_of_shifts(weights: Path) -> None:
    sound, bag = noise(1.5), bag_of(weights, "tiny")
    statistics = Statistics.of([sound])

    def peak_bytes(shifts: int) -> int:
        tracemalloc.start()
        try:
            separation = Separation(bag, iter([sound]), statistics, ALL, shifts=shifts)
            for _ in separation.run(lambda _done: None):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    streamed(bag, sound)  # what is imported and kept
    assert peak_bytes(8) < 2 * peak_bytes(1)


@pytest.mark.slow
def test_the_bundled_model_on_the_held_out_song(weights: Path) -> None:
    song = read_sound(SONG / "mixture.flac")[:, : 10 * 44_100]
    ours = streamed(bag_of(weights, "mini"), song)
    assert_same(ours, reference(demucs_bag(weights, "mini"), song))


def test_a_bag_may_shorten_the_segments(weights: Path, tmp_path: Path) -> None:
    for network in (weights / "demucs").glob("*.safetensors"):
        (tmp_path / network.name).symlink_to(network)
    names = ["tiny0", "hybrid0"]
    bag = {"models": names, "segment": 0.8}
    (tmp_path / "shorter.yaml").write_text(yaml.safe_dump(bag))
    sound = noise(2.5)
    ours = load(DemucsCatalogue(BUNDLED, tmp_path), "shorter", TORCH)
    networks = [load_safetensors_model(tmp_path / f"{name}.safetensors") for name in names]
    theirs = apply.BagOfModels(networks, segment=0.8)
    assert {member.network.segment_samples for member in ours.members} == {35_280}
    assert_same(streamed(ours, sound), reference(theirs, sound))


class Counted:
    """A real network that counts its calls."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.segment_samples = network.segment_samples
        self.batch, self.parallel = network.batch, network.parallel
        self.calls = 0

    def window_samples(self, length: int) -> int:
        return int(self._network.window_samples(length))

    def __call__(self, windows: Windows) -> Stems:
        self.calls += 1
        stems: Stems = self._network(windows)
        return stems


def counted(bag: Bag) -> tuple[Bag, list[Counted]]:
    networks = [Counted(member.network) for member in bag.members]
    members = tuple(
        dataclasses.replace(member, network=network)
        for member, network in zip(bag.members, networks, strict=True)
    )
    return dataclasses.replace(bag, members=members), networks


@pytest.mark.parametrize(
    "name", ["tiny", "tiny_ft", pytest.param("tiny_mixed", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("stems", "shifts"), [([3], 0), pytest.param([0, 2], 2, marks=pytest.mark.slow)]
)
def test_some_stems_are_those_of_the_full_run(
    weights: Path, name: str, stems: list[int], shifts: int
) -> None:
    sound = noise(1.6)
    bag = bag_of(weights, name)
    full = streamed(bag, sound, shifts=shifts)
    some = streamed(bag, sound, stems, shifts=shifts)
    assert np.abs(some - full[stems]).max() < 1e-6


@pytest.mark.parametrize("stems", [[0], [3], [1, 2]])
def test_only_the_specialists_that_are_needed_run(weights: Path, stems: list[int]) -> None:
    bag, networks = counted(bag_of(weights, "tiny_ft"))
    sound = noise(2.0)
    streamed(bag, sound, stems)
    segments = len(range(0, sound.shape[1], STRIDE))
    assert [n.calls for n in networks] == [segments if i in stems else 0 for i in ALL]


def test_each_network_of_a_bag_runs_once_a_segment(weights: Path) -> None:
    bag, networks = counted(bag_of(weights, "tiny_mixed"))
    sound = noise(3.0)
    separation = Separation(bag, blocks_of(sound), Statistics.of([sound]), ALL)
    reports: list[int] = []
    for _ in separation.run(reports.append):
        pass
    strides = [int(0.75 * network.segment_samples) for network in networks]
    assert [n.calls for n in networks] == [len(range(0, sound.shape[1], s)) for s in strides]
    assert reports == list(range(1, separation.segments + 1))
    assert separation.segments == sum(n.calls for n in networks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stems", "options"),
    [
        (ALL, {}),
        ([1, 3], {"overlap": 0.5}),
        (ALL, {"shifts": 2}),
    ],
)
def test_sums_in_pytorch_are_those_in_numpy(
    weights: Path, stems: list[int], options: dict[str, Any]
) -> None:
    """As they are made on a CUDA device, with networks that take several windows at once."""
    bag, sound = bag_of.__wrapped__(weights, "tiny_mixed"), noise(4.6) + np.float32(0.1)
    exact = streamed(bag, sound, stems, **options)
    for member in bag.members:
        assert isinstance(member.network, TorchNetwork)
        member.network.max_batch = 3
    found = streamed(bag, sound, stems, arrays=TorchArrays("cpu"), **options)
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()


@pytest.mark.parametrize("shape", [(2, 8, 1000), (3, 8, 40, 5), (16, 8, 30)])
@pytest.mark.parametrize("groups", [1, 4])
def test_spread_group_norms_are_those_of_pytorch(shape: tuple[int, ...], groups: int) -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(groups, shape[1])
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    values = 3 * torch.randn(shape) + 5
    exact = norm(values)
    network = torch.nn.Sequential(norm)
    spread_group_norms(network)
    for one in (network, copy.deepcopy(network)):
        assert (one(values) - exact).abs().max() < 1e-5
        assert (one(values.half()) - exact).abs().max() < 0.02


@pytest.mark.parametrize("level", [0.0, -0.9])
@pytest.mark.parametrize(
    "name",
    ["tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tiny_mixed", "mini"))],
)
def test_silence_and_a_constant_give_numbers(weights: Path, name: str, level: float) -> None:
    sound = np.full((2, 100_000), level, np.float32)
    stems = streamed(bag_of(weights, name), sound)
    assert np.isfinite(stems).all()
    assert np.abs(stems - level / 4).max() < 1e-3
    assert np.abs(stems.sum(axis=0) - level).max() < 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        pytest.param("tiny_ft", marks=pytest.mark.slow),
        pytest.param("tiny_mixed", marks=pytest.mark.slow),
        pytest.param("mini", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("offset", "shifts"), [(0.004, 0), (-0.3, 1)])
def test_an_offset_is_shared_among_the_stems(
    weights: Path, name: str, offset: float, shifts: int
) -> None:
    sound = noise(1.5)
    sound -= sound.mean()
    bag = bag_of(weights, name)
    without = streamed(bag, sound, shifts=shifts)
    shifted = streamed(bag, sound + np.float32(offset), shifts=shifts)
    assert np.abs(shifted.sum(axis=0) - without.sum(axis=0) - offset).max() < 3e-4
    some = streamed(bag, sound + np.float32(offset), [3, 0], shifts=shifts)
    assert np.abs(some - shifted[[3, 0]]).max() < 1e-6


def test_an_8_bit_wav_has_its_offset_once(weights: Path, tmp_path: Path) -> None:
    """Rounding down to 8 bits moves a song by half a step."""
    steps = np.floor(128 * noise(3.0)) / 128
    path = write_wav(tmp_path / "song.wav", steps.astype(np.float32), subtype="PCM_U8")
    sound = decode_all(path)
    offset = float(sound.mean())
    assert offset < -0.003
    bag = bag_of(weights, "tiny")
    added = streamed(bag, sound).sum(axis=0) - streamed(bag, sound - np.float32(offset)).sum(axis=0)
    assert added.mean() == pytest.approx(offset, rel=0.01)


def test_stems_are_asked_of_the_model(weights: Path) -> None:
    bag = bag_of(weights, "tiny")
    metadata = json.dumps(bag.sources)
    assert metadata == '["drums", "bass", "other", "vocals"]'
    assert bag.indices([]) == ALL
    assert bag.indices(["vocals", "drums"]) == [0, 3]
    with pytest.raises(UnknownStem, match="'guitar'"):
        bag.indices(["vocals", "guitar"])
