"""What the benchmarks run on: a song of any length, and full-size weights."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from studio.audio import ffmpeg_path


class WhisperSize(NamedTuple):
    """Layers of encoder and of decoder, width, heads, and mel bands of a Whisper."""

    layers: int
    width: int
    heads: int
    mels: int


WHISPER_SIZES = {
    "base": WhisperSize(6, 512, 8, 80),
    "large-v3": WhisperSize(32, 1280, 20, 128),
}
ROOT = Path(__file__).resolve().parent.parent
MIXTURE = ROOT / "samples" / "song" / "mixture.flac"
SIGNATURE = "955717e8"
SOURCES = ["drums", "bass", "other", "vocals"]
SEGMENT = Fraction(39, 5)
# The arguments of the released htdemucs that differ from the class's defaults.
HTDEMUCS: dict[str, Any] = {"sources": SOURCES, "bottom_channels": 512, "t_layers": 5}


def song(path: Path, seconds: float, start_s: float = 0.0) -> Path:
    """The bundled song, repeated up to a length, in the format of the path's ending."""
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-stream_loop", "-1"]
    command += ["-i", str(MIXTURE), "-ss", str(start_s), "-t", str(seconds)]
    command += ["-b:a", "192k"] if path.suffix == ".mp3" else []
    subprocess.run([*command, str(path)], check=True)
    return path


def full_size_weights(folder: Path) -> Path:
    """A MODEL_DIR with a full-size htdemucs of random weights, for both programs.

    Speed and memory do not depend on the values. Written once as safetensors (this server) and
    once as the pickled checkpoint that `python -m demucs.separate --repo` reads.
    """
    import torch
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file

    repository = folder / "demucs"
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "htdemucs.yaml").write_text(yaml.safe_dump({"models": [SIGNATURE]}))
    torch.manual_seed(0)
    network = HTDemucs(**HTDEMUCS, segment=SEGMENT)
    segment = {
        "_type": "fraction",
        "numerator": SEGMENT.numerator,
        "denominator": SEGMENT.denominator,
    }
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps({**HTDEMUCS, "segment": segment}),
    }
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(state, str(repository / f"{SIGNATURE}.safetensors"), metadata)
    package = {
        "klass": HTDemucs,
        "args": (),
        "kwargs": {**HTDEMUCS, "segment": SEGMENT},
        "state": state,
    }
    torch.save(package, repository / f"{SIGNATURE}.th")
    return folder


def bundled_checkpoint(folder: Path) -> Path:
    """A repository for `python -m demucs.separate --repo` with the bundled variant `mini`."""
    import torch

    from studio.separation.checkpoints import load_file

    network = load_file(ROOT / "pretrained" / "demucs-mini" / "model.safetensors", None)
    arguments, named = network._init_args_kwargs
    package = {"klass": type(network), "args": arguments, "kwargs": named}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({**package, "state": network.state_dict()}, folder / f"{SIGNATURE}.th")
    (folder / "mini.yaml").write_text(yaml.safe_dump({"models": [SIGNATURE]}))
    return folder


def random_musicgen(folder: Path) -> Path:
    """A MusicGen of the size of facebook/musicgen-small with random weights.

    The sizes are those of its config.json: T5-base, EnCodec at 32 kHz, 24 layers of 1,024.
    """
    import torch
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    from tests.support.music import write_tokenizer

    text = T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    audio = EncodecConfig(
        target_bandwidths=[2.2],
        sampling_rate=32_000,
        num_filters=64,
        upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False,
        codebook_size=2048,
        use_conv_shortcut=False,
    )
    decoder = MusicgenDecoderConfig(is_decoder=True, add_cross_attention=True)
    torch.manual_seed(0)
    model = MusicgenForConditionalGeneration(
        MusicgenConfig(text_encoder=text, audio_encoder=audio, decoder=decoder)
    )
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = 2048
    settings.max_length = 1500
    model.save_pretrained(str(folder))
    write_tokenizer(folder)
    return folder


def random_whisper_ctranslate2(folder: Path, size: str) -> Path:
    """A CTranslate2 directory of a size with random weights in float16.

    Vocabulary and tokenizer are those of the bundled model.
    """
    import torch
    from ctranslate2.specs import whisper_spec

    layers, width, heads, mels = WHISPER_SIZES[size]
    bundled = ROOT / "pretrained" / "whisper-mini" / "ctranslate2"
    vocabulary = json.loads((bundled / "vocabulary.json").read_text("utf-8"))
    config = json.loads((bundled / "config.json").read_text("utf-8"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)

    def random(*shape: int) -> Any:
        return (torch.randn(shape, device=device) * 0.02).half().cpu().numpy()

    def linear(spec: Any, outputs: int, inputs: int) -> None:
        spec.weight, spec.bias = random(outputs, inputs), random(outputs)

    def norm(spec: Any) -> None:
        spec.gamma, spec.beta = 1 + random(width), random(width)

    def attention(spec: Any, groups: tuple[int, ...]) -> None:
        for layer, group in zip(spec.linear, (*groups, 1), strict=True):
            linear(layer, group * width, width)
        norm(spec.layer_norm)

    spec = whisper_spec.WhisperSpec(layers, heads, layers, heads)
    for conv, inputs in ((spec.encoder.conv1, mels), (spec.encoder.conv2, width)):
        conv.weight, conv.bias = random(width, inputs, 3), random(width)
    spec.encoder.position_encodings.encodings = random(1500, width)
    spec.decoder.position_encodings.encodings = random(448, width)
    table = random(len(vocabulary), width)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = table
    for part in (spec.encoder, spec.decoder):
        norm(part.layer_norm)
        for block in part.layer:
            attention(block.self_attention, (3,))
            if part is spec.decoder:
                attention(block.attention, (1, 2))
            linear(block.ffn.linear_0, 4 * width, width)
            linear(block.ffn.linear_1, width, 4 * width)
            norm(block.ffn.layer_norm)
    spec.config.suppress_ids = config["suppress_ids"]
    spec.config.suppress_ids_begin = config["suppress_ids_begin"]
    spec.config.lang_ids = config["lang_ids"]
    spec.config.alignment_heads = [[layers - 1, head] for head in range(heads)]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization="float16")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    shutil.copy(bundled / "tokenizer.json", folder)
    settings = json.loads((bundled / "preprocessor_config.json").read_text("utf-8"))
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "feature_size": mels}))
    return folder
