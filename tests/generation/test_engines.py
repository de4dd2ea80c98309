"""Both engines say what transformers says, for every kind of MusicGen."""

import shutil
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.torch import load_file, save_file

from studio.errors import ModelUnusable
from studio.generation.catalogue import MusicGenCatalogue
from studio.generation.load import load
from studio.generation.model import Codes, MusicModel
from studio.generation.openvino import engine
from studio.generation.openvino.conversion import convert
from studio.generation.sampling import Sampler, Sampling
from studio.generation.stream import CodecStream
from studio.generation.windows import Run, plan, steps
from studio.inference.engine_settings import EngineSettings
from tests.support.music import make_music_model

FRAMES = 40
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stereo": {"channels": 2, "is_causal": True},
    "melody": {"is_melody": True},
}
PLAIN_UNLESS_SLOW = [
    "plain", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stereo", "melody")),
]  # fmt: skip


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    """A MODEL_DIR with a tiny model of each kind, and the graphs of this run."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "graphs").symlink_to(graphs)
    for name, about in KINDS.items():
        make_music_model(folder / "musicgen" / name, **about)
    return folder


@cache
def loaded(
    model_dir: Path, name: str, engine: str, precision: str = "f32", graphs: str = "graphs"
) -> MusicModel:
    catalogue = MusicGenCatalogue(model_dir / "none", model_dir / "musicgen")
    settings = EngineSettings(engine, precision, 1, model_dir / graphs)
    model = load(catalogue, name, settings)
    assert (model.engine, model.note) == (engine, None)
    return model


def codes_of(model: MusicModel, sampling: Sampling, seed: int = 1, rows: int = 1) -> Codes:
    """FRAMES frames of music to "slow piano"."""
    spec = model.spec
    states = model.listener.states("slow piano", None)
    nothing = np.zeros((rows, spec.codebooks, 0), np.int64)
    run = Run(
        spec, model.decoder, lambda _start_s: states, plan(spec, FRAMES), nothing,
        Sampler(sampling, seed, rows), sampling.is_guided,
    )  # fmt: skip
    return np.concatenate(list(run.frames(lambda: None)), axis=2)


def theirs(model_dir: Path, name: str) -> npt.NDArray[np.float32]:
    """What `generate` of transformers makes of "slow piano" without chance."""
    import torch
    import transformers
    from tokenizers import Tokenizer

    folder = model_dir / "musicgen" / name
    kind = "MusicgenMelody" if name == "melody" else "Musicgen"
    module = getattr(transformers, f"{kind}ForConditionalGeneration").from_pretrained(str(folder))
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("slow piano").ids
    given = torch.tensor([ids])
    made: npt.NDArray[np.float32] = module.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=FRAMES + 3,
        guidance_scale=3.0,
        do_sample=False,
    ).numpy()
    return made


@pytest.mark.parametrize("name", PLAIN_UNLESS_SLOW)
def test_the_likeliest_music_is_that_of_transformers(model_dir: Path, name: str) -> None:
    """Token by token, with guidance; the sound is decoded in pieces and equals theirs too."""
    expected = theirs(model_dir, name)
    for runtime in ("torch", "openvino"):
        model = loaded(model_dir, name, runtime)
        codes = codes_of(model, Sampling(temperature=0.0))
        stream = CodecStream(model.codec, model.spec)
        pieces = [
            stream.push(codes[:, :, a:b], b == FRAMES) for a, b in ((0, 1), (1, 25), (25, 40))
        ]
        sound = np.concatenate(pieces, axis=2)
        assert sound.shape == expected.shape
        assert np.abs(sound - expected).max() < 1e-5, runtime


@pytest.mark.parametrize("name", PLAIN_UNLESS_SLOW)
def test_the_engines_agree_about_what_comes_next(model_dir: Path, name: str) -> None:
    """Logits behind a long beginning, then step by step, of two tracks with guidance."""
    models = [loaded(model_dir, name, engine) for engine in ("torch", "openvino")]
    states = models[0].listener.states("fast drums", None)
    assert np.array_equal(states, models[1].listener.states("fast drums", None))
    tokens = np.random.default_rng(3).integers(0, 64, (2, models[0].spec.codebooks, 30))
    runs = [model.decoder.begin(states, 2, guided=True) for model in models]
    for start, end in ((0, 20), (20, 21), (21, 22), (22, 30)):
        exact, fast = (run(tokens[:, :, start:end]) for run in runs)
        assert exact.shape == fast.shape == (4, models[0].spec.codebooks, 64)
        assert np.abs(exact - fast).max() < 1e-4


def test_one_prompt_and_seed_give_the_same_codes_on_both_engines(model_dir: Path) -> None:
    sampling = Sampling(top_p=0.9)
    exact, fast = (
        codes_of(loaded(model_dir, "plain", engine), sampling) for engine in ("torch", "openvino")
    )
    assert (exact == fast).mean() > 0.95


@pytest.mark.slow
def test_the_default_engine_repeats_a_seed_and_a_track_is_its_own(model_dir: Path) -> None:
    """The same whether it is made again, or as one of several."""
    model = loaded(model_dir, "plain", "openvino", "int8")
    once, again, several = (codes_of(model, Sampling(), rows=rows) for rows in (1, 1, 3))
    assert np.array_equal(once, again)
    assert np.array_equal(once[0], several[0])
    assert not np.array_equal(several[0], several[1])
    assert not np.array_equal(once, codes_of(model, Sampling(), seed=2))


@pytest.mark.slow
def test_graphs_are_converted_elsewhere_and_here_only_where_they_cannot_be_kept(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted_here: list[str] = []

    def counted(folder: Path, *rest: Any) -> Any:
        converted_here.append(folder.name)
        return convert(folder, *rest)

    monkeypatch.setattr(engine, "convert", counted)
    elsewhere = loaded.__wrapped__(model_dir, "plain", "openvino", "int8")
    assert converted_here == []
    (model_dir / "no-folder").write_text("a file, where the graphs' folder should be")
    here = loaded.__wrapped__(model_dir, "plain", "openvino", "int8", "no-folder")
    assert converted_here == ["plain"]
    assert np.array_equal(codes_of(elsewhere, Sampling()), codes_of(here, Sampling()))


def test_a_conversion_that_cannot_run_is_no_refusal(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    catalogue = MusicGenCatalogue(model_dir / "none", model_dir / "musicgen")
    model = load(catalogue, "plain", EngineSettings("openvino", "f32", 1, tmp_path / "graphs"))
    assert model.engine == "torch"
    assert model.note is not None and "could not be started (No such file" in model.note
    assert "refused" not in model.note


def times_of_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_graph_is_kept_and_its_weights_may_have_8_bits(model_dir: Path) -> None:
    """8-bit weights cost a little accuracy, and are chosen by default."""
    exact = loaded(model_dir, "plain", "openvino", "f32")
    small = loaded(model_dir, "plain", "openvino", "auto")
    assert (exact.precision, small.precision) == ("f32", "int8")
    # Other tests add to the graphs of this run.
    kept = model_dir / "kept"
    shutil.copytree(model_dir / "graphs", kept, ignore=shutil.ignore_patterns(".*"))
    before = times_of_files(kept)
    loaded.__wrapped__(model_dir, "plain", "openvino", "int8", "kept")
    assert before == times_of_files(kept)
    states = exact.listener.states("slow piano", None)
    tokens = np.random.default_rng(4).integers(0, 64, (1, 4, 20))
    logits = [model.decoder.begin(states, 1, True)(tokens) for model in (exact, small)]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.2 * np.abs(logits[0]).max()
    run = small.decoder.begin(states, 1, True)
    for step in range(20):
        last = run(tokens[:, :, step : step + 1])
    assert np.abs(logits[1] - last).max() < 0.05 * np.abs(last).max(), "at once, or step by step"


# Converting the stereo model takes long.
@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("torch", "plain"),
        ("torch", "stereo"),
        ("openvino", "plain"),
        pytest.param("openvino", "stereo", marks=pytest.mark.slow),
    ],
)
def test_sound_that_is_decoded_in_pieces_is_the_sound(
    model_dir: Path, engine: str, name: str
) -> None:
    """Whatever the pieces: streaming equals offline."""
    random = np.random.default_rng(5)
    model = loaded(model_dir, name, engine)
    codes = random.integers(0, 64, (2, model.spec.codebooks, 61))
    whole = CodecStream(model.codec, model.spec).push(codes, True)
    assert whole.shape == (2, model.spec.channels, 61 * 640)
    stream = CodecStream(model.codec, model.spec)
    cuts = [0, *sorted(random.choice(np.arange(1, 61), 6, replace=False)), 61]
    pieces = [stream.push(codes[:, :, a:b], b == 61) for a, b in pairwise(cuts)]
    assert np.abs(np.concatenate(pieces, axis=2) - whole).max() < 1e-5


@pytest.mark.parametrize("name", KINDS)
def test_text_and_guidance_are_heard(model_dir: Path, name: str) -> None:
    """Releases of transformers are known in which the melody variants heard neither."""
    model = loaded(model_dir, name, "torch")
    tokens = np.full((1, model.spec.codebooks, 1), model.spec.padding)
    logits = {
        text: model.decoder.begin(model.listener.states(text, None), 1, True)(tokens)
        for text in ("slow piano", "fast drums")
    }
    slow, fast = logits.values()
    assert np.abs(slow[0] - fast[0]).max() > 1e-2, "two prompts"
    assert np.abs(slow[0] - slow[1]).max() > 1e-2, "with and without a prompt"
    assert np.abs(slow[1] - fast[1]).max() < 1e-4, "without a prompt they are the same"


def test_a_melody_is_heard(model_dir: Path) -> None:
    model = loaded(model_dir, "melody", "torch")
    scale = np.eye(12, dtype=np.float32)
    tokens = np.full((1, 4, 1), model.spec.padding)
    logits = [
        model.decoder.begin(model.listener.states("piano", melody), 1, False)(tokens)
        for melody in (None, scale, scale[:, ::-1])
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(logits[one] - logits[other]).max() > 1e-3


def test_the_steps_are_the_frames_and_the_delays(model_dir: Path) -> None:
    spec = loaded(model_dir, "plain", "torch").spec
    assert spec.frames_per_s == 50
    assert steps(spec, plan(spec, 500)) == 503
    long = plan(spec, 15_000)
    assert [(w.start, w.kept, w.frames) for w in long[:3]] == [
        (0, 0, 1500), (900, 600, 900), (1800, 600, 900),
    ]  # fmt: skip
    assert sum(window.frames for window in long) == 15_000
    assert plan(spec, 100, given=600)[0].start == 0
    stereo = loaded(model_dir, "stereo", "torch").spec
    assert stereo.delays == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_results_of_other_settings_are_not_reused(model_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_dir / "musicgen" / "plain", tmp_path / "plain")
    catalogue = MusicGenCatalogue(tmp_path / "none", tmp_path)
    seen = [MusicGenCatalogue(tmp_path, model_dir / "musicgen").find("plain").fingerprint()]
    assert catalogue.find("plain").fingerprint() == seen[0], "a copy"
    for name in (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        (folder / name).write_text((folder / name).read_text() + "\n")
        seen.append(catalogue.find("plain").fingerprint())
    assert len({tuple(one) for one in seen}) == 5


# What a conversion process says of lost weights, test_convert_process knows too.
@pytest.mark.parametrize(
    ("engine", "lost"),
    [
        ("torch", "decoder.lm_heads.0.weight"),
        ("torch", "audio_encoder.decoder.layers.0.conv.bias"),
        pytest.param(
            "openvino", "audio_encoder.decoder.layers.0.conv.bias", marks=pytest.mark.slow
        ),
    ],
)
def test_a_model_that_lacks_weights_is_not_run(tmp_path: Path, engine: str, lost: str) -> None:
    folder = tmp_path / "musicgen" / "plain"
    make_music_model(folder)
    tensors = load_file(str(folder / "model.safetensors"))
    del tensors[lost]
    save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
    with pytest.raises(ModelUnusable, match="cannot be loaded"):
        loaded.__wrapped__(tmp_path, "plain", engine)
