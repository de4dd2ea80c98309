"""The arithmetic of the CUDA decoder, on the CPU: it computes what transformers computes.

What only a device can show (recorded graphs, half precision) is measured by `bench.gpu`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.generation import parts
from studio.generation.codec_run import CodecRun
from studio.generation.cuda.decoder import CudaDecoder
from studio.generation.cuda.network import Network
from studio.generation.cuda.run import MAX_GRAPHS, Run, choose
from studio.generation.model import CodecSpec, Codes, Decoder, Decoding, Flags, States
from studio.generation.sampling import Sampler, Sampling
from studio.generation.shape import shape_of
from studio.generation.torch_engine import TorchCodec, TorchDecoder
from studio.generation.windows import Run as Windows
from studio.generation.windows import plan
from studio.inference.device_use import device_use
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


def test_a_prompt_may_have_more_tokens_than_the_run_has_positions(folder: Path) -> None:
    """Such as one of 600 words, for a model that oversees few seconds."""
    exact, network = decoders(folder)
    if network.shape.is_prefixed:
        pytest.skip("the prompt takes positions of the run")
    count = LENGTH + TOKENS
    rng = np.random.default_rng(4)
    states = rng.normal(size=(1, count, network.shape.hidden)).astype(np.float32)
    tokens = rng.integers(0, network.shape.vocabulary + 1, (1, network.shape.codebooks, 3))
    with torch.inference_mode():
        expected = exact.begin(states, 1, guided=False)(tokens)
        run = Run(network, (1, count + 8, LENGTH))
        run.attend(torch.from_numpy(rng.normal(size=states.shape).astype(np.float32)))
        run.attend(torch.from_numpy(states))
        found = logits(network, run, tokens, 0)
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


def test_a_run_keeps_the_graphs_that_were_used_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a device can record them, so here they are plain objects."""
    run = Run(decoders(folder)[1], (2, 8, LENGTH))
    monkeypatch.setattr(run, "_recorded", lambda *_: object())
    first = run.graph(1, Sampling())
    for number in range(3 * MAX_GRAPHS):
        run.graph(1, Sampling(temperature=1 + number / 1000))
        assert run.graph(1, Sampling()) is first
    assert len(run._graphs) == MAX_GRAPHS


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(guidance_scale=1.0, top_k=0),
        Sampling(temperature=0.0),
        Sampling(temperature=1e-300),
        Sampling(temperature=1e-38),
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


def test_scores_that_are_not_numbers_choose_a_code() -> None:
    """An index outside of the codes would make the device unusable for the whole process."""
    scores = torch.full((2, 4, 300), torch.nan)
    draws = torch.full((2, 4), 0.5, dtype=torch.float64)
    found = choose(scores, draws, Sampling(guidance_scale=1.0))
    assert ((found >= 0) & (found < 300)).all()


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
    codec.device = "cuda"
    with_memory = codec._moved
    monkeypatch.setattr(codec, "_moved", out_of_memory)
    codes = np.random.default_rng(0).integers(0, 64, (2, 4, 20))
    sounds = []
    run = CodecRun(codec)
    with device_use() as use:
        for one in (exact, run):
            hidden, state = one.recur(one.embed(codes), None)
            again, _ = one.recur(hidden, state)
            sounds.append(one.synthesise(again))
    assert np.array_equal(sounds[0], sounds[1])
    assert "out of memory" in (use.note or "")
    codec.device = "cpu"
    monkeypatch.setattr(codec, "_moved", with_memory)
    with device_use() as use:
        run.embed(codes)
    assert use.note is None, "of another job"


def out_of_memory(_values: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


class ShortOfMemory:
    """A run on a device that draws so many codes, and then has no memory left."""

    def __init__(self, decoding: Decoding, most: int) -> None:
        self._decoding, self._most = decoding, most

    def __call__(self, tokens: Codes) -> Any:
        return self._decoding(tokens)

    def fill(self, grid: Codes, is_code: Flags, first: int, sampler: Sampler) -> Iterator[int]:
        tokens = grid[:, :, :first]
        for position in range(first, min(first + self._most, grid.shape[2])):
            drawn = is_code[:, position]
            grid[:, drawn, position] = sampler(self._decoding(tokens))[:, drawn]
            yield position
            tokens = grid[:, :, position : position + 1]
        out_of_memory(None)


def short_windows(folder: Path) -> CodecSpec:
    kind = parts.read_codec_spec(folder, parts.read_config(folder))
    return replace(kind, window_frames=40)


def codes_of(decoder: Decoder, kind: CodecSpec, hidden: int) -> tuple[Codes, str]:
    """Two windows of the likeliest codes, and the notes on the device."""
    states = np.random.default_rng(3).normal(size=(2, TOKENS, hidden)).astype(np.float32)
    nothing = np.zeros((2, kind.codebooks, 0), np.int64)
    sampler = Sampler(Sampling(temperature=0.0), 0, 2)
    windows = plan(kind, kind.window_frames + 5)
    assert len(windows) == 2
    run = Windows(kind, decoder, lambda _: states, windows, nothing, sampler, True)
    steps: list[int] = []
    with device_use() as use:
        found = np.concatenate(list(run.frames(lambda: steps.append(1))), axis=2)
    assert len(steps) == sum(window.frames + max(kind.delays) for window in windows)
    return found, use.note or ""


@pytest.mark.parametrize("most", [0, 1, 30])
def test_music_goes_on_where_the_device_runs_out_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Every window fails after so many codes; those are kept, and the CPU draws the others."""
    exact, network = decoders(folder)
    kind = short_windows(folder)
    expected, note = codes_of(exact, kind, network.shape.hidden)
    assert note == ""
    decoder = CudaDecoder(folder, network.shape, kind, "cpu", lambda: exact)
    monkeypatch.setattr(decoder, "_begin", lambda *run: ShortOfMemory(exact.begin(*run), most))
    found, note = codes_of(decoder, kind, network.shape.hidden)
    assert np.array_equal(found, expected)
    assert "out of memory" in note
    monkeypatch.setattr(decoder, "_begin", exact.begin)
    assert codes_of(decoder, kind, network.shape.hidden)[1] == "", "of another job"


def test_a_device_without_memory_for_a_run_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, network = decoders(folder)
    kind = short_windows(folder)
    decoder = CudaDecoder(folder, network.shape, kind, "cpu", lambda: exact)
    monkeypatch.setattr(decoder, "_begin", lambda *_: out_of_memory(None))
    found, note = codes_of(decoder, kind, network.shape.hidden)
    assert np.array_equal(found, codes_of(exact, kind, network.shape.hidden)[0])
    assert "out of memory" in note


@pytest.mark.parametrize("most", [0, 30])
def test_a_network_of_transformers_goes_on_on_the_cpu(folder: Path, most: int) -> None:
    """As on the GPU of a Mac, or with weights that cannot be converted."""
    exact, network = decoders(folder)
    kind = short_windows(folder)
    decoder = TorchDecoder(folder, parts.read_config(folder), "cpu")
    calls: list[int] = []

    def check(*_: object) -> None:
        calls.append(1)
        if len(calls) > most:
            out_of_memory(None)

    decoder.module.model.register_forward_pre_hook(check)
    found, note = codes_of(decoder, kind, network.shape.hidden)
    assert np.array_equal(found, codes_of(exact, kind, network.shape.hidden)[0])
    assert "out of memory" in note


def test_errors_that_no_device_made_end_the_music(folder: Path) -> None:
    _, network = decoders(folder)
    kind = short_windows(folder)
    decoder = TorchDecoder(folder, parts.read_config(folder), "cpu")
    decoder.module.model.register_forward_pre_hook(wrong_shape)
    with pytest.raises(RuntimeError, match="shapes"):
        codes_of(decoder, kind, network.shape.hidden)


def wrong_shape(*_: object) -> None:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
