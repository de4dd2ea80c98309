"""The arithmetic of the CUDA decoder, on the CPU: it computes what transformers computes.

What only a device can show (recorded graphs, half precision) is measured by `bench.gpu`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.generation import parts
from studio.generation.cuda.network import Network
from studio.generation.cuda.run import Run, choose
from studio.generation.model import States
from studio.generation.openvino.conversion import shape_of
from studio.generation.sampling import Sampler, Sampling
from studio.generation.torch_engine import TorchCodec, TorchDecoder
from tests.support.music import make_music_model

torch = pytest.importorskip("torch")
LENGTH = 64
TOKENS = 5


@pytest.fixture(scope="module", params=["plain", "stereo", "melody"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    channels = 2 if request.param == "stereo" else 1
    path = tmp_path_factory.mktemp(request.param)
    return make_music_model(path, channels=channels, is_melody=request.param == "melody")


def decoders(folder: Path) -> tuple[TorchDecoder, Network]:
    config = parts.read_config(folder)
    shape = shape_of(config, parts.read_codec_spec(folder, config))
    return TorchDecoder(folder, config, "cpu"), Network(folder, shape, "cpu", torch.float32)


def begun(network: Network, states: States) -> tuple[Run, int]:
    """A run with encoder states, and the number of states before the codes."""
    run = Run(network, (states.shape[0], 8, LENGTH))
    moved = torch.from_numpy(states)
    if network.shape.is_prefixed:
        run.prefix.fill_(TOKENS)
        run.append(moved, 0)
        return run, TOKENS
    run.attend(moved)
    return run, 0


def logits(network: Network, run: Run, tokens: Any, place: int) -> Any:
    hidden = network.embed(torch.from_numpy(tokens))
    return network.logits(run.append(hidden, place)[:, -1]).numpy()


def test_logits_are_those_of_transformers(folder: Path) -> None:
    exact, network = decoders(folder)
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, TOKENS, network.shape.hidden)).astype(np.float32)
    tokens = rng.integers(0, network.shape.vocabulary + 1, (2, network.shape.codebooks, 9))
    with torch.inference_mode():
        theirs = exact.begin(states, 1, guided=True)
        run, place = begun(network, states)
        for start, stop in ((0, 4), (4, 5), (5, 9)):
            part = np.ascontiguousarray(tokens[:, :, start:stop])
            # Both rows of a guided run are given the same codes.
            expected = theirs(part[:1])
            found = logits(network, run, np.repeat(part[:1], 2, axis=0), place + start)
            assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_steps_draw_the_codes_that_the_host_would_draw(folder: Path, scale: float) -> None:
    """The step that a device records, run as it is."""
    exact, network = decoders(folder)
    codebooks, padding, first, last, tracks = network.shape.codebooks, 64, 3, 12, 2
    rng = np.random.default_rng(1)
    states = rng.normal(size=(2, TOKENS, network.shape.hidden)).astype(np.float32)
    sampling = Sampling(guidance_scale=scale, top_k=20, top_p=0.9)
    grid = np.full((tracks, codebooks, last), padding)
    grid[:, :, 1:first] = rng.integers(0, 64, (tracks, codebooks, first - 1))
    is_code = np.ones((codebooks, last), bool)
    is_code[0, 7] = False
    theirs = exact.begin(states, tracks, sampling.is_guided)
    sampler = Sampler(sampling, 5, tracks)
    expected = grid.copy()
    tokens = expected[:, :, :first]
    for position in range(first, last):
        chosen = sampler(theirs(tokens))
        drawn = is_code[:, position]
        expected[:, drawn, position] = chosen[:, drawn]
        tokens = expected[:, :, position : position + 1]
    with torch.inference_mode():
        states = np.repeat(states[: 1 + sampling.is_guided], tracks, axis=0)
        run, place = begun(network, states)
        before = np.tile(grid[:, :, : first - 1], (states.shape[0] // tracks, 1, 1))
        run.append(network.embed(torch.from_numpy(before)), place)
        draws = Sampler(sampling, 5, tracks).draws(last - first, codebooks)
        run.grid[:tracks, :, :last] = torch.from_numpy(grid)
        run.is_code[:, :last] = torch.from_numpy(is_code)
        run.draws[:tracks, :, first:last] = torch.from_numpy(draws)
        run.place.fill_(first - 1)
        for _ in range(first, last):
            run._step(tracks, sampling)
        assert np.array_equal(run.grid[:tracks, :, :last].numpy(), expected)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(guidance_scale=1.0, top_k=0),
        Sampling(temperature=0.0),
        Sampling(temperature=0.5, top_k=7, top_p=0.3),
        Sampling(top_k=1),
    ],
)
def test_tensors_choose_as_arrays_do(sampling: Sampling) -> None:
    rows, codebooks = 3, 4
    branches = 1 + sampling.is_guided
    rng = np.random.default_rng(2)
    for seed in range(20):
        scores = rng.normal(0, 3, (rows * branches, codebooks, 300)).astype(np.float32)
        expected = Sampler(sampling, seed, rows)(scores)
        draws = Sampler(sampling, seed, rows).draws(1, codebooks)[:, :, 0]
        found = choose(torch.from_numpy(scores), torch.from_numpy(draws), sampling)
        assert np.array_equal(found.numpy(), expected)


def test_random_numbers_are_the_same_one_step_or_many_at_a_time() -> None:
    many = Sampler(Sampling(), 3, 2).draws(6, 4)
    single = Sampler(Sampling(), 3, 2)
    assert np.array_equal(np.concatenate([single.draws(1, 4) for _ in range(6)], axis=2), many)


def test_the_codec_goes_on_where_the_device_has_no_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parts.read_config(folder)
    exact, codec = TorchCodec(folder, config, "cpu"), TorchCodec(folder, config, "cpu")
    # Its networks are those of a device with too little memory.
    codec._device = "cuda"
    monkeypatch.setattr(codec, "_moved", out_of_memory)
    codes = np.random.default_rng(0).integers(0, 64, (2, 4, 20))
    sounds = []
    for one in (exact, codec):
        hidden, state = one.recur(one.embed(codes), None)
        again, _ = one.recur(hidden, state)
        sounds.append(one.synthesise(again))
    assert np.array_equal(sounds[0], sounds[1])
    assert exact.note is None
    assert "out of memory" in (codec.note or "")


def out_of_memory(_values: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
