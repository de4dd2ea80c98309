"""The PyTorch engine: the modules of transformers as they are, on the CPU or on a GPU."""

from pathlib import Path
from typing import Any

import numpy as np

from studio.generation import parts
from studio.generation.model import CodecSpec, Codes, Decoding, Hidden, Logits, Sounds, States
from studio.inference.device_use import CpuFallback
from studio.inference.devices import Device


class TorchDecoder:
    """The decoder of a MusicGen behind the `Decoder` protocol; half precision on CUDA."""

    def __init__(self, folder: Path, config: Any, device: str) -> None:
        import torch

        self.module = parts.read_part(folder, "decoder", config).to(device)
        self.is_prefixed = config.model_type == parts.MELODY
        self.device = device
        self._fallback = CpuFallback(lambda: TorchDecoder(folder, config, "cpu"))
        if Device(device).is_cuda:
            self.module = self.module.to(torch.float16)

    def rehearse(self, spec: CodecSpec) -> None:
        """Take one step. Raises RuntimeError if the device cannot."""
        states = np.zeros((2, 1, self.module.config.hidden_size), np.float32)
        self.begin(states, 1, True)(np.full((1, spec.codebooks, 1), spec.padding, np.int64))

    def begin(self, states: States, rows: int, guided: bool) -> Decoding:
        return _TorchDecoding(self, np.repeat(states[: 1 + guided], rows, axis=0))

    def on_cpu(self) -> "TorchDecoder":
        return self._fallback.get()


class _TorchDecoding:
    """One run: transformers' own cache remembers what was given."""

    def __init__(self, decoder: TorchDecoder, states: States) -> None:
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        self._torch = torch
        self._decoder = decoder
        module = decoder.module
        self._states = torch.from_numpy(states).to(decoder.device, module.dtype)
        caches = [DynamicCache(config=module.config) for _ in range(2)]
        self._cache = EncoderDecoderCache(*caches)

    def __call__(self, tokens: Codes) -> Logits:
        torch, module = self._torch, self._decoder.module
        branches = self._states.shape[0] // tokens.shape[0]
        ids = torch.from_numpy(np.tile(tokens, (branches, 1, 1))).to(self._decoder.device)
        rows, codebooks, length = ids.shape
        is_first = self._cache.get_seq_length() == 0
        # A prefix (of models with melody) is given once; other states are looked at in each step.
        hears = is_first or not self._decoder.is_prefixed
        with torch.inference_mode():
            hidden = module.model(
                ids.reshape(rows * codebooks, length),
                encoder_hidden_states=self._states if hears else None,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            logits = torch.stack([head(hidden) for head in module.lm_heads], dim=1)
            scores: Logits = logits.float().cpu().numpy()
            return scores


class TorchCodec:
    """EnCodec behind the `Codec` protocol."""

    def __init__(self, folder: Path, config: Any, device: str) -> None:
        import torch

        self._torch = torch
        self.device = device
        self.module = parts.read_part(folder, "audio_encoder", config).to(device)
        self.embedding, self.recurrent, self.synthesis = split(self.module)
        self._fallback = CpuFallback(lambda: TorchCodec(folder, config, "cpu"))

    def encode(self, sound: Sounds) -> Codes:
        with self._torch.inference_mode():
            values = self._moved(sound)[:, None]
            codes: Codes = self.module.encode(values).audio_codes[0].cpu().numpy()
            return codes

    def embed(self, codes: Codes) -> Hidden:
        hidden: Hidden = self._apply(self.embedding, codes)
        return hidden

    def recur(self, hidden: Hidden, state: Any) -> tuple[Hidden, Any]:
        if state is None:
            state = zero_state(self.recurrent.lstm, hidden.shape[0])
        with self._torch.inference_mode():
            output, *state = self.recurrent(self._moved(hidden), *map(self._moved, state))
            return output.cpu().numpy(), [part.cpu().numpy() for part in state]

    def synthesise(self, hidden: Hidden) -> Sounds:
        sounds: Sounds = self._apply(self.synthesis, hidden)
        return sounds

    def on_cpu(self) -> "TorchCodec":
        return self._fallback.get()

    def _apply(self, part: Any, values: Any) -> Any:
        with self._torch.inference_mode():
            return part(self._moved(values)).cpu().numpy()

    def _moved(self, values: Any) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def zero_state(lstm: Any, rows: int) -> list[Any]:
    """What an LSTM remembers at the beginning: hidden and cell state."""
    shape = (lstm.num_layers, rows, lstm.hidden_size)
    return [np.zeros(shape, np.float32) for _ in range(2)]


def split(codec: Any) -> tuple[Any, Any, Any]:
    """The decoding half of an EnCodecModel in three modules: before, in and behind its LSTM."""
    import torch

    before, recurrent, *behind = codec.decoder.layers

    class Embedding(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.quantizer, self.layer = codec.quantizer, before

        def forward(self, codes: Any) -> Any:
            return self.layer(self.quantizer.decode(codes.transpose(0, 1)))

    class Recurrence(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = recurrent.lstm

        def forward(self, hidden: Any, short: Any, long: Any) -> Any:
            values = hidden.permute(2, 0, 1)
            output, (short, long) = self.lstm(values, (short, long))
            return (output + values).permute(1, 2, 0), short, long

    class Synthesis(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(behind)

        def forward(self, hidden: Any) -> Any:
            for layer in self.layers:
                hidden = layer(hidden)
            return hidden[:, 0]

    return Embedding().eval(), Recurrence().eval(), Synthesis().eval()
