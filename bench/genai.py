"""`WhisperPipeline` of openvino-genai on the weights of a CTranslate2 directory.

`pip install openvino-genai==2026.4.1.0` adds to the packages of `requirements-dev.txt` and changes
none of them. Its graphs are made by optimum-intel, which needs an older transformers: that is
installed into a temporary folder that only the exporting process sees.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.transcription.openai_weights import read_checkpoint

# Without their dependencies: the others, torch and OpenVINO among them, are installed already.
EXPORT_PACKAGES = (
    "optimum-intel==2.2.0",
    "optimum==2.3.0",
    "transformers==5.5.4",
    "tokenizers==0.22.2",
    "huggingface-hub==1.21.0",
    "httpx==0.28.1",
    "httpcore==1.0.9",
    "h11==0.16.0",
    "openvino-tokenizers==2026.4.1.0",
    "nncf==3.4.0",
    "ninja==1.13.2",
    "tabulate==0.10.0",
    "pydot==4.0.1",
    "pyparsing==3.3.3",
    "scikit-learn==1.9.1",
    "narwhals==2.29.0",
    "joblib==1.6.0",
    "cloudpickle==3.1.3",
    "threadpoolctl==3.8.0",
)
TASK = "automatic-speech-recognition-with-past"
TIMEOUT_S = 1200
TIMESTAMPS = 1501
TIMESTAMP_S = 0.02
# openai-whisper: the first timestamp is at most one second into the window.
MAX_FIRST_TIMESTAMP = 50
# Parts of a name in openai-whisper's checkpoint and in transformers'. The order matters.
_NAMES = {
    "blocks": "layers",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "cross_attn": "encoder_attn",
    "attn_ln": "self_attn_layer_norm",
    "mlp_ln": "final_layer_norm",
    ".attn.": ".self_attn.",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "attn.out": "attn.out_proj",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "decoder.ln.": "decoder.layer_norm.",
    "encoder.ln_post.": "encoder.layer_norm.",
    "token_embedding": "embed_tokens",
    "positional_embedding": "embed_positions.weight",
}


def make_graphs(weights: Path, folder: Path) -> None:
    """Write graphs with 8-bit weights and the tokenizer and settings that WhisperPipeline reads."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        packages, model, graphs = (Path(name) / part for part in ("packages", "model", "graphs"))
        install = ["pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
        _python([*install, *EXPORT_PACKAGES], None)
        # OpenVINO and NNCF send nothing where this cannot be imported.
        (packages / "openvino_telemetry.py").write_text("raise ImportError\n")
        _python(["bench.genai", str(weights), str(model)], packages)
        export = ["optimum.commands.optimum_cli", "export", "openvino", "--model", str(model)]
        _python([*export, "--task", TASK, "--weight-format", "int8", str(graphs)], packages)
        shutil.copytree(graphs, folder, dirs_exist_ok=True)


def _python(arguments: list[str], packages: Path | None) -> None:
    """Run a module; its imports look into `packages` first."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if packages:
        environment["PYTHONPATH"] = str(packages)
    subprocess.run(
        [sys.executable, "-m", *arguments], check=True, timeout=TIMEOUT_S, env=environment
    )


def transcriber(folder: Path, beam_size: int) -> Callable[[npt.NDArray[np.float32]], str]:
    """A loaded pipeline: the text of float32 (samples,) at 16 kHz, with the times of its words."""
    import openvino_genai

    pipeline = openvino_genai.WhisperPipeline(str(folder), "CPU", word_timestamps=True)
    config = pipeline.get_generation_config()
    config.num_beams = beam_size
    config.return_timestamps = True
    config.word_timestamps = True

    def run(sound: npt.NDArray[np.float32]) -> str:
        return str(pipeline.generate(sound, config))

    return run


def _save_model(weights: Path, folder: Path) -> None:
    """The weights as transformers keeps them."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    checkpoint = read_checkpoint(weights)
    sizes = checkpoint["dims"]
    tokenizer, ids = _tokenizer(weights / "tokenizer.json")
    special = {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "decoder_start_token_id": ids["<|startoftranscript|>"],
    }
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=sizes["n_vocab"],
            num_mel_bins=sizes["n_mels"],
            d_model=sizes["n_audio_state"],
            encoder_layers=sizes["n_audio_layer"],
            encoder_attention_heads=sizes["n_audio_head"],
            encoder_ffn_dim=4 * sizes["n_audio_state"],
            decoder_layers=sizes["n_text_layer"],
            decoder_attention_heads=sizes["n_text_head"],
            decoder_ffn_dim=4 * sizes["n_text_state"],
            max_source_positions=sizes["n_audio_ctx"],
            max_target_positions=sizes["n_text_ctx"],
            **special,
        )
    )
    state = {_renamed(name): value for name, value in checkpoint["model_state_dict"].items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state)
    settings = json.loads((weights / "config.json").read_text("utf-8"))
    model.generation_config = GenerationConfig(
        **special,
        alignment_heads=settings["alignment_heads"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        suppress_tokens=settings["suppress_ids"],
        is_multilingual=True,
        lang_to_id={text: ids[text] for text in ids if ids[text] in set(settings["lang_ids"])},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=MAX_FIRST_TIMESTAMP,
        max_length=sizes["n_text_ctx"],
        return_timestamps=False,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=sizes["n_mels"]).save_pretrained(folder)


def _renamed(name: str) -> str:
    for part, other in _NAMES.items():
        name = name.replace(part, other)
    return f"model.{name}"


def _tokenizer(path: Path) -> tuple[Any, dict[str, int]]:
    """The tokenizer with all its timestamps, and the numbers of its added tokens."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import WhisperTokenizer

    inner = Tokenizer.from_file(str(path))
    times = [f"<|{number * TIMESTAMP_S:.2f}|>" for number in range(TIMESTAMPS)]
    inner.add_tokens([AddedToken(time, normalized=False) for time in times])
    end = "<|endoftext|>"
    tokenizer = WhisperTokenizer(
        tokenizer_object=inner, unk_token=end, bos_token=end, eos_token=end, pad_token=end
    )
    return tokenizer, {token.content: id for id, token in inner.get_added_tokens_decoder().items()}


if __name__ == "__main__":
    _save_model(Path(sys.argv[1]), Path(sys.argv[2]))
