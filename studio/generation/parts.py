"""Reads a model's directory, as `save_pretrained` of transformers writes it, part by part.

Only safetensors are read, and no code that a directory might hold is run.
"""

import json
from pathlib import Path
from typing import Any

from studio.generation.model import CodecSpec

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
MELODY = "musicgen_melody"
# What the released models oversee and are guided by, where a directory does not say it.
WINDOW_FRAMES = 1500
GUIDANCE_SCALE = 3.0


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; empty where there are none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, LookupError, AttributeError):
        return []


def missing(folder: Path) -> list[str]:
    """Names of files that a model needs and that its directory lacks."""
    files = weight_files(folder)
    absent = [name for name in (CONFIG, TOKENIZER) if not (folder / name).is_file()]
    return absent + ([path.name for path in files if not path.is_file()] if files else [WEIGHTS])


def takes_melody(folder: Path) -> bool:
    """Whether the model also listens to a melody; False where its config cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        return bool(config["model_type"] == MELODY)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def unknown_word(folder: Path) -> str:
    """What the tokenizer writes for a word that it does not know."""
    try:
        token = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["unk_token"]
    except (OSError, ValueError, LookupError, TypeError):
        return "<unk>"
    return str(token["content"] if isinstance(token, dict) else token)


def read_config(folder: Path) -> Any:
    """The configuration with all defaults: MusicgenConfig or MusicgenMelodyConfig."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    name = "MusicgenMelodyConfig" if takes_melody(folder) else "MusicgenConfig"
    return getattr(transformers, name).from_pretrained(str(folder), local_files_only=True)


def read_codec_spec(folder: Path, config: Any) -> CodecSpec:
    """What the model makes. Raises ValueError where it is no MusicGen."""
    audio, decoder = config.audio_encoder, config.decoder
    if audio.audio_channels != 1 or audio.normalize or audio.chunk_length_s is not None:
        raise ValueError("its codec is not the mono EnCodec of MusicGen")
    if decoder.num_codebooks > audio.num_quantizers * decoder.audio_channels:
        raise ValueError("its decoder has more codebooks than its codec")
    return CodecSpec(
        int(audio.sampling_rate),
        int(decoder.audio_channels),
        int(audio.hop_length),
        int(decoder.num_codebooks),
        int(decoder.vocab_size),
        _window_frames(folder, int(audio.frame_rate)),
        _guidance_scale(folder),
    )


def _guidance_scale(folder: Path) -> float:
    """The guidance that `generate` of transformers takes by itself, within the API's limits."""
    try:
        settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
        return min(15.0, max(1.0, float(settings["guidance_scale"])))
    except (OSError, ValueError, LookupError, TypeError):
        return GUIDANCE_SCALE


def _window_frames(folder: Path, frames_per_s: int) -> int:
    """The length, in whole seconds, that `generate` of transformers makes by itself."""
    try:
        settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
        length = int(settings["max_length"])
    except (OSError, ValueError, LookupError, TypeError):
        return WINDOW_FRAMES
    return max(1, length // frames_per_s) * frames_per_s


def read_state(folder: Path, prefix: str) -> dict[str, Any]:
    """The weights whose names begin with `prefix`, without it, in float32."""
    import torch
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in weight_files(folder):
        with safe_open(str(path), "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                if name.startswith(prefix):
                    found[name[len(prefix) :]] = file.get_tensor(name).to(torch.float32)
    return found


def read_part(folder: Path, part: str, config: Any) -> Any:
    """A part of the model (text_encoder, audio_encoder, decoder) as a module of transformers.

    Raises ValueError where weights are missing: transformers would make some up.
    """
    import torch
    import transformers
    from transformers.models.musicgen_melody.modeling_musicgen_melody import (
        MusicgenMelodyForCausalLM,
    )

    kinds = {
        "t5": transformers.T5EncoderModel,
        "encodec": transformers.EncodecModel,
        "musicgen_decoder": transformers.MusicgenForCausalLM,
        "musicgen_melody_decoder": MusicgenMelodyForCausalLM,
    }
    settings = getattr(config, part)
    state = read_state(folder, f"{part}.")
    module, info = kinds[settings.model_type].from_pretrained(
        None, config=settings, state_dict=state, dtype=torch.float32, output_loading_info=True
    )
    if missing := sorted(info["missing_keys"]):
        raise ValueError(f"{part} lacks {len(missing)} weights, {missing[0]} among them")
    return module.eval().requires_grad_(False)
