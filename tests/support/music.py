"""Real MusicGen models with random weights, small enough to run in an instant.

Their music is noise, but noise that follows the prompt, the seed and the options.
"""

from pathlib import Path
from typing import Any

from tests.support.server import Server
from tests.support.sounds import Sound, read_sound

CODEBOOKS = 4
VOCABULARY = 64
WORDS = [
    "slow", "fast", "piano", "guitar", "drums", "bass", "happy", "sad", "with", "without", "low",
    "high", "and", "a", "the",
]  # fmt: skip


def make_music_model(
    folder: Path,
    *,
    channels: int = 1,
    is_melody: bool = False,
    is_causal: bool = False,
    hidden: int = 32,
    seed: int = 7,
) -> Path:
    """Write a model as `save_pretrained` does, with its tokenizer: 50 frames of 640 samples."""
    import torch

    torch.manual_seed(seed)
    model = random_model(channels, is_melody, is_causal, hidden)
    # Untrained networks tend to say the same whatever they hear; larger weights make them listen.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(("text_encoder", "decoder", "enc_to_dec", "audio_enc_to_dec")):
                weight.normal_(0.0, 0.15) if weight.ndim > 1 else None
        for layer in model.audio_encoder.quantizer.layers:
            layer.codebook.embed.normal_(0.0, 1.0)
    model.save_pretrained(str(folder))
    write_tokenizer(folder)
    return folder


def random_model(channels: int, is_melody: bool, is_causal: bool, hidden: int) -> Any:
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        MusicgenMelodyConfig,
        MusicgenMelodyForConditionalGeneration,
        T5Config,
    )

    text = T5Config(
        vocab_size=len(WORDS) + 3, d_model=24, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    audio = EncodecConfig(
        sampling_rate=32_000, target_bandwidths=[1.2], normalize=False, hidden_size=16,
        num_filters=4, upsampling_ratios=[8, 5, 4, 4], codebook_size=VOCABULARY,
        codebook_dim=16, use_causal_conv=is_causal, use_conv_shortcut=False,
    )  # fmt: skip
    decoder = {
        "vocab_size": VOCABULARY, "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": 2, "ffn_dim": 48, "max_position_embeddings": 2048,
        "num_codebooks": CODEBOOKS * channels, "audio_channels": channels,
        "pad_token_id": VOCABULARY, "bos_token_id": VOCABULARY,
    }  # fmt: skip
    parts = {"text_encoder": text.to_dict(), "audio_encoder": audio.to_dict(), "decoder": decoder}
    if is_melody:
        config = MusicgenMelodyConfig(**parts, num_chroma=12, chroma_length=235)
        model = MusicgenMelodyForConditionalGeneration(config)
    else:
        model = MusicgenForConditionalGeneration(MusicgenConfig(**parts))
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = VOCABULARY
    settings.do_sample, settings.guidance_scale, settings.max_length = True, 3.0, 1500
    return model.eval()


def write_tokenizer(folder: Path) -> None:
    """Words of a closed vocabulary; ids as those of T5: padding 0, end 1, unknown 2."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import EncodecFeatureExtractor, PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>"]
    ids = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    wrapped.save_pretrained(str(folder))
    EncodecFeatureExtractor(feature_size=1, sampling_rate=32_000).save_pretrained(str(folder))


def prompt(server: Server, text: str = "slow piano") -> str:
    """Upload a prompt; its id."""
    answer = server.post("/upload", files={"file": ("prompt.txt", text.encode())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


def make(server: Server, file_id: str, **options: Any) -> dict[str, Any]:
    """Let MusicGen play a second; the completed job."""
    answer = server.process(file_id, "musicgen", **{"duration": 1, **options})
    assert answer.status_code in (200, 202), answer.text
    status = server.wait(file_id)
    assert status["status"] == "completed", status
    return dict(status["jobs"][0])


def heard(server: Server, folder: Path, file_id: str, track: str = "music") -> Sound:
    """A track as it is downloaded."""
    path = folder / f"{file_id}-{track}.wav"
    path.write_bytes(server.get(f"/download/{file_id}/{track}?format=wav").content)
    return read_sound(path)
