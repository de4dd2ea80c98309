"""Turns the weights of a CTranslate2 directory back into a checkpoint of openai-whisper."""

from pathlib import Path
from typing import Any

from studio.transcription.openvino.weights import MODEL_FILE, Weights, read_weights

CHECKPOINT_FILE = "openai.pt"
FRAMES = 1500
TEXT_TOKENS = 448
# Parts of a layer: their names in CTranslate2, and the places they have in openai-whisper.
_NORMS = {
    "self_attention/layer_norm": "attn_ln",
    "attention/layer_norm": "cross_attn_ln",
    "ffn/layer_norm": "mlp_ln",
}
_LINEARS = {
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}


def openai_checkpoint(folder: Path) -> Path:
    """The checkpoint beside the weights of `folder`, written the first time."""
    import torch

    path = folder / CHECKPOINT_FILE
    if not path.exists():
        encoder, decoder = read_weights(folder / MODEL_FILE)
        width = encoder.shape("layer_norm/gamma")[0]
        sizes = {
            "n_mels": encoder.shape("conv1/weight")[1],
            "n_audio_ctx": FRAMES,
            "n_audio_state": width,
            "n_audio_head": encoder.number("num_heads"),
            "n_audio_layer": encoder.layers,
            "n_vocab": decoder.shape("embeddings/weight")[0],
            "n_text_ctx": TEXT_TOKENS,
            "n_text_state": width,
            "n_text_head": decoder.number("num_heads"),
            "n_text_layer": decoder.layers,
        }
        state = {**_encoder(encoder), **_decoder(decoder)}
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        part = path.with_suffix(".part")
        torch.save({"dims": sizes, "model_state_dict": tensors}, part)
        part.rename(path)
    return path


def _encoder(weights: Weights) -> dict[str, Any]:
    state = {"encoder.positional_embedding": weights.floats("position_encodings/encodings")}
    for name in ("conv1", "conv2"):
        state[f"encoder.{name}.weight"] = weights.floats(f"{name}/weight")
        state[f"encoder.{name}.bias"] = weights.floats(f"{name}/bias")
    return state | _norm(weights, "layer_norm", "encoder.ln_post") | _layers(weights, "encoder")


def _decoder(weights: Weights) -> dict[str, Any]:
    state = {
        "decoder.token_embedding.weight": weights.floats("embeddings/weight"),
        "decoder.positional_embedding": weights.floats("position_encodings/encodings"),
    }
    return state | _norm(weights, "layer_norm", "decoder.ln") | _layers(weights, "decoder")


def _layers(weights: Weights, half: str) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for number in range(weights.layers):
        here, there = f"layer_{number}", f"{half}.blocks.{number}"
        for name, place in _NORMS.items():
            if half == "decoder" or not name.startswith("attention"):
                state |= _norm(weights, f"{here}/{name}", f"{there}.{place}")
        for name, places in _LINEARS.items():
            if half == "decoder" or not name.startswith("attention"):
                state |= _linear(weights, f"{here}/{name}", [f"{there}.{one}" for one in places])
    return state


def _norm(weights: Weights, name: str, place: str) -> dict[str, Any]:
    return {
        f"{place}.weight": weights.floats(f"{name}/gamma"),
        f"{place}.bias": weights.floats(f"{name}/beta"),
    }


def _linear(weights: Weights, name: str, places: list[str]) -> dict[str, Any]:
    """CTranslate2 stacks the matrices that read the same input."""
    import numpy as np

    state = {}
    matrices = np.split(weights.floats(f"{name}/weight"), len(places))
    biases = np.split(weights.floats(f"{name}/bias"), len(places))
    for place, matrix, bias in zip(places, matrices, biases, strict=True):
        state[f"{place}.weight"] = matrix
        # openai-whisper's keys have no bias.
        if not place.endswith(".key"):
            state[f"{place}.bias"] = bias
    return state
