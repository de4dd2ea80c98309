"""The fast engine gives what PyTorch gives, keeps its graphs safely, and is replaced openly."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import studio.inference.graph_cache
from scripts.scores import sdr_db
from studio.errors import ModelUnusable
from studio.inference.engine_settings import EngineSettings
from studio.separation import engines
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import load
from studio.separation.mixture import Statistics
from studio.separation.network import Bag, Member, Stems
from studio.separation.openvino import network
from studio.separation.openvino.spectrum import Spectrogram
from studio.separation.stream import Separation
from studio.separation.torch_engine import TorchNetwork
from tests.support.server import ROOT
from tests.support.sounds import SONG, Sound, noise, read_sound

BUNDLED = ROOT / "pretrained" / "demucs-mini"
STEMS = ("drums", "bass", "other", "vocals")


def bag_of(weights: Path, name: str, graphs: Path, engine: str, precision: str = "f32") -> Bag:
    catalogue = DemucsCatalogue(BUNDLED, weights / "demucs")
    return load(catalogue, name, EngineSettings(engine, precision, 0, graphs))


def separated(bag: Bag, sound: Sound, **options: Any) -> Stems:
    statistics = Statistics.of(iter([sound]))
    separation = Separation(bag, iter([sound]), statistics, [0, 1, 2, 3], **options)
    return np.concatenate([stems for _, stems in separation.run(lambda _done: None)], axis=2)


@pytest.mark.parametrize("name", ["tiny", pytest.param("tiny_ft", marks=pytest.mark.slow)])
def test_openvino_equals_pytorch(weights: Path, graphs: Path, name: str) -> None:
    fast = bag_of(weights, name, graphs, "openvino")
    assert (fast.engine, fast.precision, fast.note) == ("openvino", "f32", None)
    sound = noise(7.3)
    expected = separated(bag_of(weights, name, graphs, "torch"), sound)
    assert np.abs(separated(fast, sound) - expected).max() < 1e-5


def test_memory_does_not_grow_with_the_number_of_cores() -> None:
    """OpenVINO itself computes no more windows at once than a machine has cores."""
    windows = [network.windows_at_once(cores) for cores in (1, 2, 4, 8, 16, 64)]
    assert windows == [1, 1, 2, 4, 4, 4]


@pytest.mark.slow
def test_openvino_equals_pytorch_on_the_bundled_model(weights: Path, graphs: Path) -> None:
    sound = read_sound(SONG / "mixture.flac")[:, : 44_100 * 8]
    fast = separated(bag_of(weights, "mini", graphs, "openvino"), sound)
    expected = separated(bag_of(weights, "mini", graphs, "torch"), sound)
    assert np.abs(fast - expected).max() < 1e-4


@pytest.mark.slow
def test_bf16_costs_less_than_a_fiftieth_of_a_decibel(weights: Path, graphs: Path) -> None:
    mixture = read_sound(SONG / "mixture.flac")
    exact = separated(bag_of(weights, "mini", graphs, "openvino", "f32"), mixture)
    rough = separated(bag_of(weights, "mini", graphs, "openvino", "bf16"), mixture)
    for number, stem in enumerate(STEMS):
        true = read_sound(SONG / f"{stem}.flac")
        assert sdr_db(true, exact[number]) - sdr_db(true, rough[number]) < 0.02


def test_the_spectrogram_is_that_of_htdemucs() -> None:
    import torch
    from demucs.htdemucs import HTDemucs

    network = HTDemucs(list(STEMS), channels=8, t_layers=0, segment=1)
    sound = noise(1.0)
    theirs = network._spec(torch.from_numpy(sound)[None])
    ours = Spectrogram(sound.shape[1], network.hop_length)
    spectrum = ours.forward(sound)
    assert np.abs(spectrum - network._magnitude(theirs)[0].numpy()).max() < 1e-5
    back = network._ispec(theirs, sound.shape[1])[0].numpy()
    pairs = spectrum.transpose(1, 2, 0)
    assert np.abs(ours.inverse(pairs) - back).max() < 1e-5


def test_a_graph_is_converted_once(
    weights: Path, graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag_of(weights, "tiny", graphs, "openvino")
    key = network.key(weights / "demucs" / "tiny0.safetensors", None)
    calls: list[object] = []

    def converted_before(*given: Any) -> bool:
        calls.append(given)
        shutil.copytree(graphs / key, tmp_path / key)
        return True

    monkeypatch.setattr(engines, "keep_graph", converted_before)
    for _ in range(3):
        bag_of(weights, "tiny", tmp_path, "openvino")
    assert len(calls) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_graph_is_named_after_weights_segment_and_versions(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = network.key
    first, second = (weights / "demucs" / f"tiny{n}.safetensors" for n in (0, 1))
    keys = {key(first, None), key(second, None), key(first, 0.8)}
    assert len(keys) == 3
    monkeypatch.setattr(studio.inference.graph_cache, "version", lambda name: f"{name} of tomorrow")
    assert key(first, None) not in keys


@pytest.mark.parametrize(
    "damage",
    [
        "flipped",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("cut", "gone", "no description")),
    ],
)
def test_a_damaged_graph_is_converted_again(
    weights: Path, graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    sound = noise(2.0)
    before = separated(bag_of(weights, "tiny", graphs, "openvino"), sound)
    key = network.key(weights / "demucs" / "tiny0.safetensors", None)
    folder = Path(shutil.copytree(graphs / key, tmp_path / key))
    layers = folder / "graph.bin"
    if damage == "cut":
        os.truncate(layers, layers.stat().st_size // 2)
    elif damage == "flipped":
        content = bytearray(layers.read_bytes())
        content[len(content) // 2] ^= 0xFF
        layers.write_bytes(content)
    elif damage == "gone":
        layers.unlink()
    else:
        (folder / "graph.json").write_text("{}")
    calls: list[object] = []

    def converted_before(*given: Any) -> bool:
        calls.append(given)
        shutil.copytree(graphs / key, tmp_path / key, dirs_exist_ok=True)
        return True

    monkeypatch.setattr(engines, "keep_graph", converted_before)
    after = separated(bag_of(weights, "tiny", tmp_path, "openvino"), sound)
    assert len(calls) == 1
    assert np.array_equal(before, after)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_does_not_stop_the_engine(
    weights: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    bag = bag_of(weights, "tiny", blocked / "graphs", "openvino")
    assert bag.engine == "openvino"
    assert separated(bag, noise(1.5)).shape == (4, 2, 66_150)


def test_older_networks_stay_on_pytorch_and_say_so(weights: Path, graphs: Path) -> None:
    bag = bag_of(weights, "tiny_mixed", graphs, "auto", "auto")
    assert bag.engine == "torch"
    assert bag.note is not None
    assert "HDemucs" in bag.note


CHILD = """
import json, sys
sys.modules["openvino"] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: name != "openvino" and found(name, *more) or None
from pathlib import Path
from studio.errors import StudioError
from studio.separation.catalogue import DemucsCatalogue
from studio.inference.engine_settings import EngineSettings
from studio.separation.options import SeparationOptions
from studio.family import JobContext
from studio.sources import Source
from studio.separation.separate import separate
from studio.separation.load import load

weights, work, engine = sys.argv[1:]
catalogue = DemucsCatalogue(Path("pretrained/demucs-mini"), Path(weights) / "demucs")
try:
    bag = load(catalogue, "tiny", EngineSettings(engine, "auto", 0, Path(work) / "graphs"))
    song = Path("samples/song/mixture.flac")
    context = JobContext(SeparationOptions(), Path(work))
    result = separate(bag, Source(song, 60.0), context).to_dict()
except StudioError as error:
    result = {"code": error.code, "error": error.sentence}
print(json.dumps(result))
"""


def without_openvino(weights: Path, work: Path, engine: str) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, str(weights), str(work), engine]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_without_openvino_a_song_is_separated_and_the_answer_says_how(
    weights: Path, tmp_path: Path
) -> None:
    result = without_openvino(weights, tmp_path, "auto")
    assert (result["engine"], result["precision"]) == ("torch", "f32")
    assert "OpenVINO is not installed" in result["note"]
    assert (tmp_path / "vocals.wav").is_file()


def test_asking_for_openvino_without_it_says_what_to_install(weights: Path, tmp_path: Path) -> None:
    answer = without_openvino(weights, tmp_path, "openvino")
    assert answer["code"] == ModelUnusable.code
    assert f"{sys.executable} -m pip install openvino`" in answer["error"]


@pytest.mark.slow
def test_windows_in_batches_come_back_in_order(weights: Path, graphs: Path) -> None:
    """What a CUDA device gets, on the CPU: several windows at once, for two lanes at a time."""
    bag = bag_of(weights, "tiny_mixed", graphs, "torch")
    batched = []
    for member in bag.members:
        network = member.network
        assert isinstance(network, TorchNetwork)
        batched.append(Member(TorchNetwork(network.module, "cpu", batch=3), member.weights))
    sound = noise(3.2)
    expected = separated(bag, sound, shifts=2)
    found = separated(dataclasses.replace(bag, members=tuple(batched)), sound, shifts=2)
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.slow
def test_many_threads_share_one_compiled_network(weights: Path, graphs: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bag = bag_of(weights, "tiny", graphs, "openvino")
    sounds = [noise(4.0, seed=seed) for seed in range(6)]
    alone = [separated(bag, sound) for sound in sounds]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda sound: separated(bag, sound), sounds))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
