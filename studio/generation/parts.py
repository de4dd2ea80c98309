"""Reads the parts of a model directory in the format of `save_pretrained` of transformers.

Only safetensors are read, and no code in the directory is executed.
"""

import json
from pathlib import Path
from typing import Any

from studio.generation.model import CodecSpec

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
MELODY = "musicgen_melody"
# Defaults of the released models, if a directory does not specify them.
WINDOW_FRAMES = 1500
GUIDANCE_SCALE = 3.0


def weight_files(folder: Path) -> list[Path]:
    """The weights files; empty if there are none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, LookupError, AttributeError):
        return []


def settings_files(folder: Path) -> list[Path]:
    """The files besides the weights that results depend on, as far as they exist."""
    names = (CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG)
    return [folder / name for name in names if (folder / name).is_file()]


def missing(folder: Path) -> list[str]:
    """The names of required files that are missing in a directory."""
    files = weight_files(folder)
    absent = [name for name in (CONFIG, TOKENIZER) if not (folder / name).is_file()]
    return absent + ([path.name for path in files if not path.is_file()] if files else [WEIGHTS])


def takes_melody(folder: Path) -> bool:
    """Whether the model accepts a melody; False if its config cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        return bool(config["model_type"] == MELODY)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def closed_vocabulary(folder: Path) -> list[str] | None:
    """The words that a prompt may contain; None if any word may be used."""
    try:
        model = json.loads((folder / TOKENIZER).read_text("utf-8"))["model"]
        if model["type"] != "WordLevel":
            return None
        return [word for word in model["vocab"] if word.isalpha()]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def unknown_word(folder: Path) -> str:
    """The token for unknown words."""
    try:
        token = json.loads((folder / TOKENIZER_CONFIG).read_text("utf-8"))["unk_token"]
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
    """The format of the model's audio and codes. Raises ValueError if it is not a MusicGen."""
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
    """The default guidance of the model, within the limits of the API."""
    try:
        settings = json.loads((folder / GENERATION_CONFIG).read_text("utf-8"))
        return min(15.0, max(1.0, float(settings["guidance_scale"])))
    except (OSError, ValueError, LookupError, TypeError):
        return GUIDANCE_SCALE


def _window_frames(folder: Path, frames_per_s: int) -> int:
    """The context length of the model, in whole seconds."""
    try:
        settings = json.loads((folder / GENERATION_CONFIG).read_text("utf-8"))
        length = int(settings["max_length"])
    except (OSError, ValueError, LookupError, TypeError):
        return WINDOW_FRAMES
    return max(1, length // frames_per_s) * frames_per_s


def read_state(folder: Path, prefix: str) -> dict[str, Any]:
    """The float32 weights whose names begin with `prefix`, which is removed."""
    import torch
    from safetensors import safe_open

    weights: dict[str, Any] = {}
    for path in weight_files(folder):
        with safe_open(str(path), "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                if name.startswith(prefix):
                    weights[name[len(prefix) :]] = file.get_tensor(name).to(torch.float32)
    return weights


def read_part(folder: Path, part: str, config: Any) -> Any:
    """A part of the model (text_encoder, audio_encoder, decoder) as a module of transformers.

    Raises ValueError if weights are missing; transformers would initialise them randomly.
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
        raise ValueError(f"{part} lacks {len(missing)} weights, including {missing[0]}")
    return module.eval().requires_grad_(False)
