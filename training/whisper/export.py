"""Writes `pretrained/whisper-mini` from the averaged weights of the saved state.

Run it as `python -m training.whisper.export`. The result is a CTranslate2 folder (int8) with all
51,865 tokens, which both engines read.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from ctranslate2.specs import common_spec, transformer_spec, whisper_spec
from torch import Tensor
from whisper.model import MultiHeadAttention, ResidualAttentionBlock, Whisper

from .. import together
from . import tokens
from .network import ALIGNED_LAYERS, DIMENSIONS, MiniWhisper
from .tokenizer_file import token_names, write_tokenizer
from .train import STATE_FILE

CARD_FOLDER = Path(__file__).parents[2] / "pretrained" / "whisper-mini"
CTRANSLATE2_FOLDER = CARD_FOLDER / "ctranslate2"
TRAINING_FILE = CARD_FOLDER / "training.json"
MAX_BYTES = 40_000_000


def full_model(state_file: Path) -> Whisper:
    """The averaged weights of a training state as a Whisper with its whole vocabulary."""
    state = torch.load(state_file, weights_only=True)
    trained = MiniWhisper()
    trained.load_state_dict(state["average"])
    with torch.no_grad():
        table = trained.embeddings()
        weights = trained.whisper.state_dict()
        whole = table[tokens.UNUSED].repeat(tokens.VOCABULARY_SIZE, 1)
        whole[torch.tensor(tokens.text_tokens())] = table[: tokens.UNUSED]
        whole[-tokens.TIMESTAMPS :] = table[tokens.FIRST_TIMESTAMP :]
        weights["decoder.token_embedding.weight"] = whole
    model = Whisper(DIMENSIONS)
    model.load_state_dict(weights)
    return model.eval()


def write_ctranslate2(
    model: Whisper,
    folder: Path = CTRANSLATE2_FOLDER,
    aligned_layers: Iterable[int] = ALIGNED_LAYERS,
) -> None:
    """Write the folder that `faster_whisper.WhisperModel` reads.

    The heads of `aligned_layers` of the decoder are the ones that tell word times.
    """
    sizes = model.dims
    spec = whisper_spec.WhisperSpec(
        sizes.n_audio_layer, sizes.n_audio_head, sizes.n_text_layer, sizes.n_text_head
    )
    encoder, decoder = model.encoder, model.decoder
    _copy_linear(spec.encoder.conv1, encoder.conv1)
    _copy_linear(spec.encoder.conv2, encoder.conv2)
    spec.encoder.position_encodings.encodings = encoder.positional_embedding
    _copy_norm(spec.encoder.layer_norm, encoder.ln_post)
    for layer, block in zip(spec.encoder.layer, encoder.blocks, strict=True):
        _copy_block(layer, block)
    spec.decoder.embeddings.weight = decoder.token_embedding.weight.detach()
    spec.decoder.projection.weight = decoder.token_embedding.weight.detach()
    spec.decoder.position_encodings.encodings = decoder.positional_embedding.detach()
    _copy_norm(spec.decoder.layer_norm, decoder.ln)
    for layer, block in zip(spec.decoder.layer, decoder.blocks, strict=True):
        _copy_block(layer, block)
        assert block.cross_attn is not None
        _copy_attention(layer.attention, block.cross_attn, across=True)
        _copy_norm(layer.attention.layer_norm, block.cross_attn_ln)
    names = tokens.tokenizer()
    spec.config.suppress_ids = sorted({
        *names.non_speech_tokens, names.transcribe, names.translate, names.sot, names.sot_prev,
        names.sot_lm, names.no_speech,
    })  # fmt: skip
    spec.config.suppress_ids_begin = [*names.encode(" "), names.eot]
    spec.config.lang_ids = sorted(names.all_language_tokens)
    spec.config.alignment_heads = [
        list(pair) for pair in itertools.product(aligned_layers, range(sizes.n_text_head))
    ]
    spec.register_vocabulary(token_names())
    spec.validate()
    spec.optimize(quantization="int8")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    write_tokenizer(folder / "tokenizer.json")
    settings = {
        "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": sizes.n_mels, "hop_length": 160, "n_fft": 400, "n_samples": 480000,
        "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
        "processor_class": "WhisperProcessor", "return_attention_mask": False,
        "sampling_rate": 16000,
    }  # fmt: skip
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text)


def _copy_linear(
    spec: common_spec.LinearSpec | common_spec.Conv1DSpec, layer: torch.nn.Module
) -> None:
    spec.weight = layer.weight.detach()
    if layer.bias is not None:
        spec.bias = layer.bias.detach()


def _copy_norm(spec: common_spec.LayerNormSpec, norm: torch.nn.LayerNorm) -> None:
    spec.gamma, spec.beta = norm.weight.detach(), norm.bias.detach()


def _copy_block(
    spec: transformer_spec.TransformerEncoderLayerSpec, block: ResidualAttentionBlock
) -> None:
    _copy_attention(spec.self_attention, block.attn, across=False)
    _copy_norm(spec.self_attention.layer_norm, block.attn_ln)
    _copy_linear(spec.ffn.linear_0, block.mlp[0])
    _copy_linear(spec.ffn.linear_1, block.mlp[2])
    _copy_norm(spec.ffn.layer_norm, block.mlp_ln)


def _copy_attention(spec: object, attention: MultiHeadAttention, across: bool) -> None:
    """CTranslate2 wants one matrix for query, key and value, or one for key and value."""
    layers = [attention.query, attention.key, attention.value]
    weights: list[Tensor] = [layer.weight.detach() for layer in layers]
    biases = [
        torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()
        for layer in layers
    ]
    groups = [slice(0, 1), slice(1, 3)] if across else [slice(0, 3)]
    for linear, group in zip(spec.linear, groups, strict=False):  # type: ignore[attr-defined]
        linear.weight, linear.bias = torch.cat(weights[group]), torch.cat(biases[group])
    _copy_linear(spec.linear[-1], attention.out)  # type: ignore[attr-defined]


def export(state_file: Path = STATE_FILE) -> int:
    """Write the model; returns its size in bytes."""
    CARD_FOLDER.mkdir(parents=True, exist_ok=True)
    model = full_model(state_file)
    write_ctranslate2(model)
    state = torch.load(state_file, weights_only=True)
    together.write_facts(TRAINING_FILE, state, "windows")
    size_bytes = sum(path.stat().st_size for path in CARD_FOLDER.rglob("*") if path.is_file())
    if size_bytes > MAX_BYTES:
        raise ValueError(f"the model takes {size_bytes} bytes, over {MAX_BYTES}")
    return size_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE_FILE)
    print(f"whisper-mini: {export(parser.parse_args().state)} bytes")


if __name__ == "__main__":
    main()
